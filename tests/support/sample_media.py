"""Small videos and sounds for tests: slides of text with subtitles, and tones."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.subtitles.subtitle import SubtitleSet
from PIL import Image, ImageDraw, ImageFont

SIZE = (640, 360)
HEADER = b"[Script Info]\n[V4+ Styles]\nFormat: Name\nStyle: Default\n[Events]\nFormat: Layer, Text\n"
Timed = Sequence[tuple[float, str]]


def slide(text: str, ground: str = "white") -> Image.Image:
    """A picture with lines of text."""
    image = Image.new("RGB", SIZE, ground)
    ImageDraw.Draw(image).multiline_text((40, 40), text, "black", ImageFont.load_default(36), spacing=12)  # type: ignore[arg-type]
    return image


def film(
    path: Path,
    shown: Sequence[tuple[int, Image.Image]],
    said: Timed = (),
    tone: float = 0,
    gop: int = 5,
    turned: int = 0,
    **options: str,
) -> Path:
    """A video of one frame a second; what it is comes from the path's suffix.

    shown: each picture and for how many seconds. said: subtitles of two seconds and their start.
    tone: seconds of sound. gop: frames from one key frame to the next. turned: degrees by which it is to be
    shown. options: of the container.
    """
    with av.open(str(path), "w", options=options) as made:
        video = _video(made, "libvpx" if path.suffix == ".webm" else "mpeg4", gop, turned) if shown else None
        subtitles = (
            made.add_stream("mov_text" if path.suffix in (".mp4", ".mov") else "srt") if said else None
        )
        if subtitles is not None:
            subtitles.codec_context.subtitle_header = HEADER
        sound = made.add_stream("aac", rate=16_000, layout="mono") if tone else None
        frames = [image for seconds, image in shown for _ in range(seconds)]
        for at, image in enumerate(frames):
            frame = av.VideoFrame.from_image(image)
            frame.pts = at
            made.mux(video.encode(frame))
        if video is not None:
            made.mux(video.encode())
        for number, (start, text) in enumerate(said):
            line = SubtitleSet.create(
                f"{number},0,Default,,0,0,0,,{text}".encode(), 0, 2000, int(start * 1e6)
            )
            packet = subtitles.codec_context.encode_subtitle(line)
            packet.stream, packet.time_base = subtitles, Fraction(1, 1000)
            packet.pts = packet.dts = int(start * 1000)
            packet.duration = 2000
            made.mux(packet)
        if sound is not None:
            _add_tone(made, sound, tone)
    return path


def _video(made: av.container.OutputContainer, codec: str, gop: int, turned: int) -> av.VideoStream:
    video = made.add_stream(codec, rate=1)
    video.width, video.height = SIZE
    video.pix_fmt, video.gop_size, video.bit_rate = "yuv420p", gop, 2_000_000
    if turned:
        video.set_display_rotation(turned)
    return video


def song(path: Path, seconds: float) -> Path:
    """A sound, as its suffix says: WAV, MP3, M4A, OGG or FLAC."""
    codec = {".wav": "pcm_s16le", ".mp3": "libmp3lame", ".ogg": "libopus", ".flac": "flac"}
    with av.open(str(path), "w") as made:
        sound = made.add_stream(codec.get(path.suffix, "aac"), rate=48_000, layout="mono")
        _add_tone(made, sound, seconds)
    return path


def _add_tone(made: av.container.OutputContainer, sound: av.AudioStream, seconds: float) -> None:
    """440 Hz in a second, silence in the next, and so on."""
    rate = sound.rate
    at = np.arange(int(seconds * rate)) / rate
    wave = (0.3 * np.sin(2 * np.pi * 440 * at) * (at.astype(int) % 2 == 0) * 32767).astype(np.int16)
    for start in range(0, len(wave), 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        made.mux(sound.encode(frame))
    made.mux(sound.encode())


def subtitle_file(path: Path, said: Timed) -> Path:
    """An .srt or .vtt file."""
    point, head = ("," if path.suffix == ".srt" else "."), ("" if path.suffix == ".srt" else "WEBVTT\n\n")
    cues = (f"{_time(start)}{point}000 --> {_time(start + 2)}{point}000\n{text}\n" for start, text in said)
    path.write_text(head + "\n".join(cues), encoding="utf-8")
    return path


def _time(seconds: float) -> str:
    return f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"
