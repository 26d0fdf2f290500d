"""Speech to text of a video or sound, by a model in a folder of this machine (METAEMBED_SPEECH)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.text import clean

from .subtitles import Cue

RATE = 16_000  # samples a second
WINDOW, EDGE = 30 * RATE, 5 * RATE  # of what is recognised at a time; where in its end a pause is looked for
PAUSE = RATE // 5
SILENT = 1e-3  # root mean square, of a full scale of 1, below which the model is not asked
TIMESTAMPS: dict[str, Any] = {"seq2seq_whisper": True, "ctc": "word"}  # what kinds of models tell


class NoModel(Exception):
    """The model cannot be loaded or run. The message says which and why."""


@cache
def model(folder: str) -> Any:
    """The recogniser in `folder`, loaded once. Raises NoModel."""
    try:
        if not Path(folder).is_dir():
            raise OSError("there is no such folder")
        from transformers import pipeline

        return pipeline(
            "automatic-speech-recognition",
            model=folder,
            device="cpu",
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:
        raise NoModel(_failed(folder, "cannot be loaded", error)) from error


def _failed(folder: str, how: str, error: Exception) -> str:
    return f"the speech model {folder} (METAEMBED_SPEECH) {how} ({type(error).__name__}: {error})"


def recognise(container: Any, folder: str) -> Iterator[Cue]:
    """What is said in the first sound of an open container, one window of about 30 s after the other.

    A window without speech gives a cue without text. Raises NoModel.
    """
    recogniser, start = model(folder), 0
    for samples in _windows(container):
        end = (start + len(samples)) / RATE
        if np.sqrt(np.mean(samples**2)) >= SILENT:
            try:
                yield from _heard(recogniser, samples, start / RATE)
            except Exception as error:
                raise NoModel(_failed(folder, "fails", error)) from error
        yield Cue(end, "")
        start += len(samples)


def _heard(recogniser: Any, samples: NDArray[np.float32], start: float) -> Iterator[Cue]:
    asked = {"raw": samples, "sampling_rate": RATE}
    found = recogniser(asked, return_timestamps=TIMESTAMPS.get(recogniser.type))
    at = 0.0
    for part in found.get("chunks") or [{"text": found["text"], "timestamp": (0.0, None)}]:
        at = max(at, min(part["timestamp"][0] or 0.0, len(samples) / RATE))  # a model may tell anything
        if text := clean(" ".join(part["text"].split())):
            yield Cue(start + at, text)


def _windows(container: Any) -> Iterator[NDArray[np.float32]]:
    """Sound as (samples,) float32 of at most WINDOW, cut at the quietest place of the last seconds."""
    held = np.zeros(0, np.float32)
    for block in _blocks(container):
        held = np.concatenate([held, block])
        while len(held) >= WINDOW:
            quiet = (held[WINDOW - EDGE : WINDOW] ** 2).reshape(-1, PAUSE).mean(1)
            cut = WINDOW - EDGE + PAUSE * int(quiet.argmin()) + PAUSE // 2
            yield held[:cut]
            held = held[cut:]
    if len(held):
        yield held


def _blocks(container: Any) -> Iterator[NDArray[np.float32]]:
    """A few seconds each of the first sound, as 16 kHz in one channel. A damaged packet is left out."""
    import av

    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    parts: list[NDArray[np.float32]] = []
    first = next(each for each in container.streams.audio if each.codec_context is not None)
    for packet in container.demux(first):
        try:
            frames = [each for frame in packet.decode() for each in resampler.resample(frame)]
        except av.error.InvalidDataError:
            continue
        parts += [frame.to_ndarray().reshape(-1).astype(np.float32) for frame in frames]
        if sum(map(len, parts)) >= EDGE:
            yield np.concatenate(parts)
            parts = []
    if parts:
        yield np.concatenate(parts)
