"""Short events of the page, answered in one request: those wired with `queue=False`.

Gradio's page POSTs such an event to `/run/predict`. Gradio's own handler of that address takes 5 ms of a
processor: it validates, inspects the Python handler and copies the page's configuration. This route takes
the same requests and gives the same answers, for handlers that use no progress, no state and no warnings. As
the queue's limits do not apply here, events take turns by client address. Answers are numbered, so that
web/direct_events.js can put them in order.
"""

from __future__ import annotations

import inspect
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_type_hints

import gradio as gr
from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from metaembed_demo.app.visitors.shares import Busy, Turns

from . import gradio_compat
from .access import RUN
from .rate_limit import Recent, client_of
from .refusals import FAILED

log = logging.getLogger(__name__)


class Asked(BaseModel):
    """The part of a request that is used."""

    fn_index: int
    session_hash: str = Field(max_length=64)  # Gradio's name of the tab
    data: list[Any] = []
    event_data: Any = None


@dataclass(frozen=True)
class Event:
    """A handler, and how its arguments are made."""

    block_fn: Any  # Gradio's record of the event
    arguments: tuple[Callable[[gr.Request, Asked], Any], ...]

    @classmethod
    def of(cls, block_fn: Any) -> Event:
        """Inspects the handler: it gets the request, the event's data by their class, and its inputs."""
        hints, inputs = get_type_hints(block_fn.fn), enumerate(block_fn.inputs)
        arguments: list[Callable[[gr.Request, Asked], Any]] = []
        for name in inspect.signature(block_fn.fn).parameters:
            hint = hints.get(name)
            if hint is gr.Request:
                arguments.append(_request)
            elif isinstance(hint, type) and issubclass(hint, gr.EventData):
                arguments.append(partial(_event_data, hint))
            else:
                arguments.append(partial(_input, *next(inputs)))
        return cls(block_fn, tuple(arguments))

    def is_whole(self, asked: Asked) -> bool:
        return len(asked.data) == len(self.block_fn.inputs)


def _request(request: gr.Request, asked: Asked) -> gr.Request:
    return request


def _event_data(kind: type[gr.EventData], request: gr.Request, asked: Asked) -> gr.EventData:
    return kind(None, asked.event_data)


def _input(at: int, component: Any, request: gr.Request, asked: Asked) -> Any:
    return component.preprocess(asked.data[at])


class DirectEvents:
    """The endpoint."""

    def __init__(self, blocks: gradio_compat.Page, turns: Turns) -> None:
        """turns: which handlers may run concurrently."""
        self._blocks, self._turns = blocks, turns
        self._events = {number: Event.of(fn) for number, fn in gradio_compat.direct(blocks).items()}
        self._threads = CapacityLimiter(turns.most)
        self._numbers, self._last = itertools.count(1), Recent[int]()  # tab -> the turn of its last answer

    def route(self) -> Route:
        return Route(RUN, self.answer, methods=["POST"])

    async def answer(self, request: Request) -> Response:
        """200 with the outputs, otherwise a message that the page shows."""
        if not gradio_compat.is_let_in(request):
            return _refused(401, "Not authenticated")
        try:
            asked = Asked.model_validate_json(await request.body())
        except ValidationError:
            return _refused(422, "This is no event of the page.")
        event = self._events.get(asked.fn_index)
        if event is None or not event.is_whole(asked):
            return _refused(404, "There is no such event.")
        try:
            given = gr.Request(request, session_hash=asked.session_hash)
            arguments = [argument(given, asked) for argument in event.arguments]
            async with self._turns.turn_async(client_of(request)):
                found = await to_thread.run_sync(event.block_fn.fn, *arguments, limiter=self._threads)
            outputs = await self._blocks.postprocess_data(event.block_fn, found, None)
        except Busy as busy:
            return _refused(503, str(busy), **{"Retry-After": str(busy.retry_s)})
        except gr.Error as error:
            return _refused(500, error.message)
        except Exception:
            log.exception("An event of the page failed")
            return _refused(500, FAILED)
        turn, after = next(self._numbers), self._last.get(asked.session_hash, 0)
        self._last.put(asked.session_hash, turn)
        return JSONResponse({"data": outputs}, headers={"X-Turn": str(turn), "X-After": str(after)})


def _refused(status: int, why: str, **headers: str) -> Response:
    return JSONResponse({"error": why, "detail": why}, status, headers)
