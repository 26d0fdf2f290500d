"""Moments of videos and sound: a page number of theirs says the second and what is read of it.

A video becomes pages of two modalities (documents/media.py): the picture that is shown from a second on, and
the speech from then on. Such a page's number is twice the second, and 1 more for the picture or 2 for the
speech. So wherever a page's source and number go, its time goes, and both pages of a moment know each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

Modality = Literal["picture", "speech"]
SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mp3", ".m4a", ".wav", ".ogg", ".flac")
MOST_SECONDS = 360_000  # of a file: a hundred hours


class Moment(NamedTuple):
    """Whole seconds from the start, and the modality of one page."""

    seconds: int
    modality: Modality

    @property
    def number(self) -> int:
        """The page's number.

        >>> Moment(83, "speech").number, moment_of("talk.mp4", 168)
        (168, Moment(seconds=83, modality='speech'))
        """
        return 2 * self.seconds + (1 if self.modality == "picture" else 2)


def is_media(source: str) -> bool:
    """Whether a document is a video or sound, by its name, which is checked against its content."""
    return source.lower().endswith(SUFFIXES)


def moment_of(source: str, number: int) -> Moment | None:
    """What a page's number says; None for pages of other documents, and for no page (0)."""
    if number < 1 or not is_media(source):
        return None
    return Moment((number - 1) // 2, "picture" if number % 2 else "speech")


def clock(seconds: float) -> str:
    """
    >>> clock(83.9), clock(3725)
    ('1:23', '1:02:05')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def spot(source: str, number: int, word: str = "p. ") -> str:
    """Where in its document a page is. word: what stands before a page number.

    >>> spot("a.pdf", 7), spot("a.pdf", 7, "page "), spot("talk.mp4", 167), spot("talk.mp4", 168)
    ('p. 7', 'page 7', '1:23 picture', '1:23 speech')
    """
    moment = moment_of(source, number)
    return f"{clock(moment.seconds)} {moment.modality}" if moment else f"{word}{number}"


def place(source: str, number: int) -> str:
    """A page with its document, in short.

    >>> place("a.pdf", 7), place("talk.mp4", 168)
    ('a.pdf p. 7', 'talk.mp4 1:23 speech')
    """
    return f"{source} {spot(source, number)}"


def named(source: str, number: int) -> str:
    """A page with its document, as the beginning of a sentence.

    >>> named("a.pdf", 7), named("talk.mp4", 168)
    ('Page 7 of a.pdf', 'talk.mp4 at 1:23 (speech)')
    """
    moment = moment_of(source, number)
    at = f"at {clock(moment.seconds)} ({moment.modality})" if moment else ""
    return f"{source} {at}" if moment else f"Page {number} of {source}"


def times(numbers: Sequence[int]) -> str:
    """The times of some pages of one video, ascending.

    >>> times([1, 2, 167])
    '0:00, 1:23'
    """
    return ", ".join(dict.fromkeys(clock((number - 1) // 2) for number in numbers))


def as_json(source: str, number: int) -> dict[str, Any]:
    """Seconds and modality of a page for callers of the API; nothing for pages of other documents."""
    moment = moment_of(source, number)
    return moment._asdict() if moment else {}
