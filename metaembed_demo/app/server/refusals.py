"""Refused requests, as the answers that the page, Gradio's clients and others understand."""

from __future__ import annotations

import math

from starlette.responses import JSONResponse

from .rate_limit import in_words

FAILED = "Something went wrong on the server. Try again."


class Refused(Exception):
    """A refused request: the HTTP status and the reason. The reason never repeats what was sent."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        # The page shows `detail` of a queued event and of an upload, `error` of another event.
        self.answer = JSONResponse({"detail": why, "error": why}, status, headers)


def later(why: str, wait_s: float, status: int = 429) -> Refused:
    """A refusal for `wait_s` seconds."""
    seconds = str(max(1, math.ceil(wait_s)))
    return Refused(status, f"{why}. Try again in {in_words(wait_s)}.", **{"Retry-After": seconds})
