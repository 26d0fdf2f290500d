"""Video and sound as pages: key frames with their times, and what is said from each of them on.

As in CLaMR (arXiv 2506.06144) a moment has a candidate for each modality: the frame, read as any picture, and
the words, as a page of their own below it. A search keeps the better one (collection/ranker.py). Words are
subtitles, or else recognised by a local model. core/moments.py says how a page's number tells its time.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metaembed_demo.core.config import PATHS, RENDER, Limits
from metaembed_demo.core.moments import MOST_SECONDS, Moment, clock, named
from metaembed_demo.core.types import Box, Notice, Page, Problem, page_id

from . import speech, subtitles, transcript
from .file_types import HEAD, Checked, media_format
from .subtitles import Cue

EVERY, LOOK = 10.0, 5.0  # seconds from a frame to the next at least; between looks whether it is still shown
LONGEST = 60.0  # seconds of speech on a page at most
SMALL = (64, 36)  # pixels in which two frames are compared
APART, CHANGED = 24, 0.004  # of 255, from which a pixel differs; share of these from which a frame does
SPARSE = 60.0  # seconds between key frames from which is told that what lies between them is not seen
MISSING = 0.1  # share of the announced length that may lack
QUIET_SHARE = 0.25  # of the time for a page, after which a stretch without pages is told
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
BESIDE = "subtitles of the same name"
REMEDY = "Download or export it again."
KEYS = "Export it with a key frame every few seconds to have them all."
WORDS = (
    "add its subtitles as a file of the same name (.srt or .vtt) in the same upload, or set METAEMBED_SPEECH"
)


class MediaError(Exception):
    """A file that gives no page. The message completes a sentence that begins with its name."""


class Span(NamedTuple):
    """A stretch in seconds, the frame that is shown meanwhile, and whether it begins there."""

    start: float
    stop: float
    frame: Image.Image | None
    is_new: bool


class _Words:
    """What is said, taken in order of time, and where it comes from."""

    def __init__(self, cues: Iterable[Cue], reading: str) -> None:
        self.reading, self._cues = reading, iter(cues)
        self._next = next(self._cues, None)

    @property
    def start(self) -> float:
        """When the next words are said; never, where there are none left."""
        return math.inf if self._next is None else self._next.start

    def until(self, stop: float) -> str:
        """What is said before `stop` and was not taken yet."""
        said = []
        while self._next is not None and self._next.start < stop:
            said.append(self._next.text)
            self._next = next(self._cues, None)
        return " ".join(filter(None, said))


def count(path: Path, limits: Limits) -> int:
    """About as many as `pages` gives: what repeats is left out, and is not looked for here."""
    with _opened(path) as container:
        length = (container.duration or 0) / 1e6
        return max(1, min(math.ceil(length / LONGEST), limits.max_pages))


def pages(item: Checked, limits: Limits) -> Iterator[Page | Problem]:
    """The pages of a video or sound in order of time, and what was left out.

    Raises:
        MediaError: when there is nothing to read in it.
    """
    with contextlib.ExitStack() as held:
        shown = _Frames(held.enter_context(_opened(item.path)), limits)
        if not (shown.has_picture or shown.has_sound or shown.has_words or item.subtitles):
            raise MediaError(f"holds neither pictures nor sound. {REMEDY}")
        words, why = _words(item, shown, held)
        if item.subtitles and words.reading != BESIDE:
            yield Notice(item.name, f"The subtitles beside {item.name} {subtitles.fault(item.subtitles)}")
        found, last, told_at = 0, 0.0, monotonic()
        for span in _spans(shown, words):
            for each in _pages_at(item, span, words) if span.start < span.stop else ():
                if isinstance(each, Page) and found == limits.max_pages:
                    yield _too_long(item, span.start, limits)
                    return
                found += isinstance(each, Page)
                last, told_at = span.start, monotonic()
                yield each
            if monotonic() - told_at > QUIET_SHARE * limits.seconds_per_page:  # so that reading is not ended
                between = f"from {clock(last)} to {clock(span.stop)}"
                yield Notice(item.name, f"{item.name} has nothing new to read {between}.")
                last, told_at = span.stop, monotonic()
        if not found:
            raise MediaError(_empty(shown, why))
        if why:
            yield Notice(item.name, f"What is said in {item.name} was not read: {why}.")
        for lack in shown.lacks:
            yield Notice(item.name, f"{item.name} {lack}")


def _pages_at(item: Checked, span: Span, words: _Words) -> Iterator[Page | Problem]:
    """The picture of a moment if it is new, and its speech if there is any."""
    second = int(span.start)
    if span.frame is not None and span.is_new:
        number = Moment(second, "picture").number
        yield Page(page_id(span.frame), item.name, number, span.frame, pictures=(WHOLE,))
    if text := words.until(span.stop):
        number = Moment(second, "speech").number
        image, placed = transcript.drawn(text[: transcript.MOST_LETTERS], span.frame)
        read = (f"Its words: {words.reading}.",)
        yield Page(page_id(image, placed), item.name, number, image, placed, reading=read)
        if len(text) > transcript.MOST_LETTERS:
            left = f"has more than {transcript.MOST_LETTERS:,} letters; the rest was left out."
            yield Notice(item.name, f"{named(item.name, number)} {left}", number)


def _words(item: Checked, shown: _Frames, held: contextlib.ExitStack) -> tuple[_Words, str]:
    """What is said, and why that is not known ("" if it is, or there is no sound)."""
    if item.subtitles and (cues := subtitles.read_file(item.subtitles)):
        return _Words(cues, BESIDE), ""
    again = held.enter_context(_opened(item.path))  # each is read at a pace of its own
    with _decoding():
        if cues := subtitles.read_stream(again):
            return _Words(cues, "subtitles in the file"), ""
    if not shown.has_sound:
        return _Words((), ""), ""
    if not PATHS.speech:
        return _Words((), ""), f"there are no subtitles in it; {WORDS}"
    heard = held.enter_context(_opened(item.path))
    try:
        cues_heard = _heard(heard, PATHS.speech)
        return _Words(cues_heard, f"recognised by {Path(PATHS.speech).name}"), ""
    except speech.NoModel as error:
        return _Words((), ""), str(error)


def _heard(container: Any, folder: str) -> Iterator[Cue]:
    with _decoding(ends=True):
        yield from speech.recognise(container, folder)


def _spans(frames: Iterable[tuple[float, Image.Image | None]], words: _Words) -> Iterator[Span]:
    """Each frame up to the next one, and while it stays a stretch of LONGEST wherever words go on.

    Words before the first frame are with it. Without frames there are stretches of words alone.

    frames: a second and the frame that is new there; None where the one before is still shown, which gives
        an empty span.
    """
    ticks = iter(frames)
    start, frame = next(ticks, (words.start, None))
    at = start
    for second, image in chain(ticks, [(math.inf, None)]):
        ends = image is not None or second == math.inf
        while _begins_before(at, second) and (ends or at + LONGEST <= second):
            until = min(at + LONGEST, second)
            yield Span(at, until, frame, at == start)
            at = max(until, words.start)
        if image is not None:
            start, at, frame = second, second, image
        elif not ends:
            yield Span(second, second, frame, False)


def _begins_before(at: float, second: float) -> bool:
    """Whether a stretch from `at` has a moment of its own: in an earlier second than the next frame."""
    return at < second and (second == math.inf or int(at) < int(second))


class _Frames:
    """The frames of an open container as `_spans` takes them. Iterated once.

    `lacks` tells afterwards what is missing of it.
    """

    def __init__(self, container: Any, limits: Limits) -> None:
        self.container, self.limits, self.lacks = container, limits, list[str]()
        self._end, self._due = 0.0, -math.inf  # seconds: of the last packet; from which a frame is looked at
        self._key, self._gap = 0.0, (0.0, 0.0)  # seconds of the last key frame; the longest time without one
        self._began = (container.start_time or 0) / 1e6
        known = [each for each in container.streams if each.codec_context is not None]
        films = (s for s in known if s.type == "video" and "attached_pic" not in str(s.disposition))
        self.stream: Any = next(films, None)  # and not the cover of a song
        self.has_picture, self.has_sound = self.stream is not None, any(s.type == "audio" for s in known)
        self.has_words = any(s.type == "subtitle" for s in known)

    def __iter__(self) -> Iterator[tuple[float, Image.Image | None]]:
        if self.stream is not None:
            yield from self._new_frames()
        else:  # only to know where it ends
            with _decoding(ends=True):
                for packet in self.container.demux():
                    self._second(packet)
        length = min((self.container.duration or 0) / 1e6, MOST_SECONDS)
        if length - self._end > max(EVERY, MISSING * length):
            ends = f"but what can be read of it ends at {clock(self._end)}"
            self.lacks.append(f"says that it is {clock(length)} long, {ends}.")
        if self._gap[1] - self._gap[0] > SPARSE:
            between = f"from {clock(self._gap[0])} to {clock(self._gap[1])}"
            self.lacks.append(
                f"has no key frame {between}: a picture shown only meanwhile was not read. {KEYS}"
            )

    def _new_frames(self) -> Iterator[tuple[float, Image.Image | None]]:
        context, before = self.stream.codec_context, None
        self._check(context.width, context.height)
        for frame, second in self._key_frames():
            if second < self._due:
                continue
            small = frame.reformat(*SMALL, format="rgb24").to_ndarray()
            is_new = before is None or _differ(before, small)
            before = small if is_new else before
            self._due = second + (EVERY if is_new else LOOK)
            yield second, self._picture(frame) if is_new else None

    def _key_frames(self) -> Iterator[tuple[Any, float]]:
        import av

        self.stream.codec_context.skip_frame = "NONKEY"
        self.stream.codec_context.thread_count = 2
        with _decoding(ends=True):
            for packet in self.container.demux():
                at = self._second(packet)
                if packet.stream is not self.stream:
                    continue
                self._note_gap(packet, at)
                if packet.is_keyframe and at < self._due:
                    continue
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:  # one damaged packet
                    continue
                for frame in frames:
                    if frame.time is not None and frame.time - self._began <= MOST_SECONDS:
                        yield frame, max(0.0, frame.time - self._began)

    def _second(self, packet: Any) -> float:
        """When a packet is due, infinite if it does not say; the end of the file so far is noted."""
        if packet.pts is None:
            return math.inf
        at = float(packet.pts * packet.time_base) - self._began
        self._end = max(self._end, at)
        return at

    def _note_gap(self, packet: Any, at: float) -> None:
        if at < math.inf:
            self._gap = max(self._gap, (self._key, at), key=lambda gap: gap[1] - gap[0])
            self._key = at if packet.is_keyframe else self._key

    def _check(self, width: int, height: int) -> None:
        if width * height > self.limits.max_pixels:
            raise MediaError(
                f"has frames of {width} x {height} pixels, over the limit of {self.limits.max_pixels:,} in "
                "all. Save it smaller."
            )

    def _picture(self, frame: Any) -> Image.Image:
        """A frame upright, with square pixels, at most RENDER.max_side a side."""
        self._check(frame.width, frame.height)
        wide = frame.width * float(self.stream.sample_aspect_ratio or 1)
        scale = min(1.0, RENDER.max_side / max(wide, frame.height))
        size = max(1, round(wide * scale)), max(1, round(frame.height * scale))
        image = Image.fromarray(frame.reformat(*size, format="rgb24").to_ndarray())
        return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def _differ(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bool:
    return bool((np.abs(before.astype(int) - after).max(2) > APART).mean() > CHANGED)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The container of a file, as what its first bytes say it is. Raises MediaError."""
    import av

    with path.open("rb") as file:
        kind = media_format(file.read(HEAD))
    try:
        container = av.open(
            f"file:{path}",
            format=kind,
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(f"is cut off or damaged, and cannot be opened. {REMEDY}") from error
    with container:
        yield container


@contextlib.contextmanager
def _decoding(ends: bool = False) -> Iterator[None]:
    """FFmpeg's errors as MediaError; or as the end of what can be read."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        if not ends or isinstance(error, MemoryError):
            raise MediaError(f"is damaged ({error}). {REMEDY}") from error


def _empty(shown: _Frames, why: str) -> str:
    """Why nothing was read."""
    if why:
        return f"gives no pages. What is said in it was not read: {why}."
    if not (shown.has_picture or shown.has_sound):
        return f"holds no pictures or sound, and no subtitles of text. {REMEDY}"
    if shown.has_picture:
        return f"is damaged: none of its pictures can be decoded, and it has no words. {REMEDY}"
    return f"has no words that could be recognised; {WORDS}."


def _too_long(item: Checked, at: float, limits: Limits) -> Problem:
    return Problem(
        item.name,
        f"{item.name} has more than {limits.max_pages:,} pages, the limit. It was read up to {clock(at)}; "
        "split the file to add the rest.",
    )
