"""Subtitles: what is said when, from a text stream of a video or from a file beside it (.srt, .vtt)."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from metaembed_demo.core import moments
from metaembed_demo.core.text import bytes_text, clean
from metaembed_demo.core.types import Upload

from .office import text_of

SUFFIXES = (".srt", ".vtt")
MOST_BYTES = 5_000_000  # of a file of subtitles; a film's has a hundredth
MOST_CUES = 50_000  # of a stream
DRAWN = ("dvdsub", "dvbsub", "pgssub", "xsub")  # codecs of subtitles that are pictures
TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
SPAN = re.compile(rf"\s*{TIME}\s*-->\s*{TIME}")
MARKUP = re.compile(r"<rt>[^<]*|<[^>]*>|\{\\[^}]*\}")  # of WebVTT, with how a word is read, and of ASS
LANGUAGE = re.compile(r"\.[a-z]{2,3}(-\w{2,8})?$", re.IGNORECASE)  # as in talk.en.srt


class Cue(NamedTuple):
    """Some words and the second from which they are said. Without text: up to there nothing is."""

    start: float
    text: str


def paired(files: Sequence[Upload]) -> list[Upload]:
    """The files, in which subtitles no longer stand beside the video or sound of their name but with it."""
    found = beside([file.name for file in files])
    paths, used = {file.name: file.path for file in files}, set(found.values())
    return [
        replace(file, subtitles=paths[found[file.name]]) if file.name in found else file
        for file in files
        if file.name not in used
    ]


def beside(names: Sequence[str]) -> dict[str, str]:
    """Video or sound -> the subtitles of its name, those without a language first.

    >>> beside(["a/talk.mp4", "b.mp3", "talk.srt", "a/talk.en.vtt", "a/talks.srt"])
    {'a/talk.mp4': 'a/talk.en.vtt'}
    """
    of_stem: dict[str, str] = {}
    for name in sorted((name for name in names if name.lower().endswith(SUFFIXES)), key=len):
        stem = name[:-4]
        for each in (stem, LANGUAGE.sub("", stem)):
            of_stem.setdefault(each, name)
    media = (name for name in names if moments.is_media(name))
    return {name: of_stem[stem] for name in media if (stem := name.rpartition(".")[0]) in of_stem}


def read_file(path: Path) -> list[Cue]:
    """The cues of an .srt or .vtt file in order of time; none where `fault` says why. Raises OSError."""
    if path.stat().st_size > MOST_BYTES:
        return []
    found: list[tuple[float, list[str]]] = []
    is_said = False
    for line in text_of(path.read_bytes()).splitlines():
        if at := SPAN.match(line):
            hours, minutes, seconds, rest = (int(part or 0) for part in at.groups()[:4])
            found.append((3600 * hours + 60 * minutes + seconds + rest / 10 ** len(at[4]), []))
            is_said = True
        elif not line.strip():
            is_said = False
        elif is_said:
            found[-1][1].append(line)
    return _plain(Cue(start, "\n".join(said)) for start, said in found)


def fault(path: Path) -> str:
    """Why `read_file` finds nothing: the rest of a sentence that begins with the subtitles."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        return (
            f"are {bytes_text(size)}, over the limit of {bytes_text(MOST_BYTES)}. Split them with the file."
        )
    return "hold none that can be read. Save them as .srt or .vtt, in UTF-8."


def read_stream(container: Any) -> list[Cue]:
    """The cues of the first stream of text in an open container, or of that which it shows by default."""
    streams = [
        stream
        for stream in container.streams.subtitles
        if stream.codec_context is not None and stream.codec_context.codec.name not in DRAWN
    ]
    if not streams:
        return []
    import av

    stream = next((each for each in streams if "default" in str(each.disposition)), streams[0])
    found: list[Cue] = []
    with contextlib.suppress(av.error.InvalidDataError):  # the end of what can be read
        for packet in container.demux(stream):
            if packet.pts is None or len(found) == MOST_CUES:
                continue
            start = float(packet.pts * packet.time_base) - (container.start_time or 0) / av.time_base
            for text in _lines(packet):
                found.append(Cue(max(0.0, start), text))
    return _plain(found)


def _lines(packet: Any) -> list[str]:
    """The texts in a packet of subtitles; none in one that is damaged."""
    import av

    try:
        texts = [getattr(part, "dialogue", b"") for part in packet.decode()]
    except av.error.InvalidDataError:
        return []
    return [text.decode("utf-8", "replace") for text in texts if text]


def _plain(cues: Iterable[Cue]) -> list[Cue]:
    """Cues in order, without markup, and without lines that a rolling caption shows again."""
    return [
        Cue(cue.start, text)
        for cue, text in _said(sorted(cues))
        if text and cue.start <= moments.MOST_SECONDS
    ]


def _said(cues: Iterable[Cue]) -> Iterator[tuple[Cue, str]]:
    before: list[str] = []
    for cue in cues:
        lines = [" ".join(html.unescape(MARKUP.sub("", line)).split()) for line in cue.text.splitlines()]
        yield cue, clean(" ".join(line for line in lines if line not in before))
        before = lines
