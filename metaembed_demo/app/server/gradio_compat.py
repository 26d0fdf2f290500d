"""All uses of Gradio's internals, with a version check.

Gradio copies the page's configuration, about 200 kB, for every tab and every call over plain HTTP, and keeps
ten thousand copies (2 GB). Beyond that, API calls would evict the state of idle tabs. `Kept` drops copies
that are no longer needed.

Tested with the oldest and the newest Gradio that requirements.txt allows. If a name is missing in another
version, the app runs without the feature that needs it and logs a warning once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import http_server
from gradio.utils import get_upload_folder
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.types import Scope

from metaembed_demo.core.config import Limits

from .connections import Connections
from .refusals import FAILED

PLAIN = (gr.HTML, gr.Slider, gr.Textbox)  # components whose values are sent as they are
TESTED = ((6, 20), (6, 31))  # major and minor version: the oldest and the newest
log = logging.getLogger(__name__)


def check_version(version: str = gr.__version__) -> bool:
    """Whether this Gradio version is within the tested range. Otherwise logs a warning."""
    here = tuple(int(part) for part in version.split(".")[:2])
    known = TESTED[0] <= here <= TESTED[1]
    if not known:
        oldest, newest = (".".join(map(str, each)) for each in TESTED)
        log.warning(
            "Gradio %s was not tested (%s to %s were): memory of closed tabs may not be freed.",
            version,
            oldest,
            newest,
        )
    return known


def upload_folder() -> Path:
    """Gradio's upload folder."""
    return Path(get_upload_folder()).resolve()


def takes_requests(blocks: gr.Blocks) -> bool:
    """Whether the server is up and its queue runs."""
    return bool(blocks.is_running) and not getattr(blocks._queue, "stopped", False)


def hide_last_event(blocks: gr.Blocks) -> None:
    """Hide the last added event from the API, for listeners without the argument `api_visibility`."""
    blocks.fns[max(blocks.fns)].api_visibility = "private"


def direct(blocks: gr.Blocks) -> dict[int, Any]:
    """The events with a handler in Python that do not go through the queue, by their number."""
    return {number: fn for number, fn in blocks.fns.items() if fn.fn is not None and not fn.queue}


def queue_in_turn(blocks: gr.Blocks, limits: Limits, client_of: Callable[[Any], str]) -> None:
    """Have the queue of `blocks` serve client addresses in turn, each with its share. Call after `queue()`.

    client_of: the client address of a request.
    """
    from .gradio_queue import FairQueue  # not at the top, as names of another version may differ

    blocks._queue.__class__ = FairQueue
    blocks._queue.begin(limits, client_of)  # type: ignore[attr-defined]


async def receive_upload(blocks: gr.Blocks, request: Request, folder: Path) -> list[str]:
    """Store the files of an upload request below `folder`, as Gradio's route does. Returns their paths.

    Raises:
        ValueError: when it is no form, or a file is too large; the message is for the client.
    """
    from gradio.route_utils import MultiPartException, upload_fn

    try:
        found, _, _ = await upload_fn(request, str(folder), blocks.max_file_size or math.inf, None)
    except (MultiPartException, HTTPException) as error:
        raise ValueError(getattr(error, "message", None) or getattr(error, "detail", "")) from error
    return [str(path) for path in found]


def user_of(scope: Scope) -> str | None:
    """Who is logged in, by the cookie of a request to the app. Empty without a password, None: nobody."""
    app, cookies = scope["app"], HTTPConnection(scope).cookies
    if app.auth is None:
        return ""
    token = cookies.get(f"access-token-{app.cookie_id}") or cookies.get(
        f"access-token-unsecure-{app.cookie_id}"
    )
    user: str | None = app.tokens.get(token)
    return user


def is_let_in(request: Request) -> bool:
    """Whether a request to the app carries the cookie of a login, or there is no password."""
    return user_of(request.scope) is not None


NOT_UPLOADED = (
    "Files are to be uploaded, as gradio_client.handle_file does it. One of these was not uploaded here, or "
    "is gone."
)


def uploaded_file(path: Any) -> Path | None:
    """The uploaded file that a client names by `path`, None when there is none."""
    try:
        found = Path(path).resolve()
        return found if found.is_relative_to(upload_folder()) and found.is_file() else None
    except (TypeError, ValueError, OSError, RuntimeError):  # no text, a NUL, too long, links in a circle
        return None


def check_files(value: Any) -> None:
    """Raises gr.Error when a file among the inputs of an event, as Gradio recognises it, is no uploaded one.

    Gradio's own error for it has a traceback in the log.
    """
    if isinstance(value, dict):
        meta = value.get("meta")
        if isinstance(meta, dict) and "_type" in meta and uploaded_file(value.get("path")) is None:
            raise gr.Error(NOT_UPLOADED, print_exception=False)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        check_files(inner)


class Events:
    """The events of a `gr.Blocks` and of its queue, by what a client can name."""

    def __init__(self, blocks: Any) -> None:
        """blocks: `gr.Blocks`, wired."""
        self._blocks = blocks

    @cached_property
    def _calls(self) -> set[str]:
        return {fn.api_name for fn in self._blocks.fns.values() if fn.api_visibility != "private"}

    def has_call(self, name: str) -> bool:
        """Whether the API has a function of that name."""
        return name in self._calls

    def has_event(self, number: Any) -> bool:
        """Whether there is an event of that number."""
        return isinstance(number, int) and number in self._blocks.fns

    def tab_of(self, event_id: str) -> str | None:
        """The name of the tab that an event belongs to; of a plain call the event's own; None if unknown."""
        queue = self._blocks._queue
        event = queue.event_ids_to_events.get(event_id)
        if event is not None:
            return str(event.session_hash)
        waiting: dict[str, set[str]] = queue.pending_event_ids_session
        return next((tab for tab, events in list(waiting.items()) if event_id in events), None)


@contextmanager
def _served_through(connections: Connections) -> Iterator[None]:
    """Let Gradio start its web server with our `connections`."""
    kept: Any = getattr(http_server, "Server", object)

    class Server(kept):
        def __init__(self, config: Any, *args: Any, **more: Any) -> None:
            connections.set_up(config)
            super().__init__(config, *args, **more)

    http_server.Server = Server  # type: ignore[misc]
    try:
        yield
    finally:
        http_server.Server = kept  # type: ignore[misc]


class Page(gr.Blocks):
    """`gr.Blocks` with bounded connections, errors in our log, and a fast path for plain outputs.

    Gradio rebuilds every output that an event does not update, and postprocesses each updated value in a
    thread and into a copy of the page's configuration. This took most of the time of a dial move. HTML
    strings and numbers do not need it.
    """

    tells_of_mcp = False

    def get_config_file(self, *args: Any, **more: Any) -> Any:
        """As Gradio's. It tells the hub and clients of an MCP server that is not Gradio's, too."""
        return {**super().get_config_file(*args, **more), "mcp_server": self.tells_of_mcp}

    def launch(
        self, *args: Any, connections: Connections | None = None, tells_of_mcp: bool = False, **more: Any
    ) -> Any:
        """As Gradio's, with the limits of `connections`. tells_of_mcp: whether there is an MCP server."""
        self.tells_of_mcp = tells_of_mcp
        if connections is None:
            return super().launch(*args, **more)
        with _served_through(connections):
            launched = super().launch(*args, **more)
        if not connections.used:
            log.warning(
                "Gradio %s starts its server in another way: connections are not bounded.", gr.__version__
            )
        return launched

    async def process_api(self, *args: Any, **more: Any) -> dict[str, Any]:
        """As Gradio's, which prints errors to the terminal as they are, with what a visitor sent."""
        try:
            return await super().process_api(*args, **more)
        except gr.Error as error:
            if error.print_exception:
                log.warning("An event of the page failed: %s", error.message)
                error.print_exception = False
            raise
        except Exception:
            log.exception("An event of the page failed")
            raise gr.Error(FAILED, print_exception=False) from None

    def validate_inputs(self, block_fn: Any, inputs: list[Any]) -> None:
        """As Gradio's, after values for the inputs that a caller of the API leaves out at the end.

        So an input can be added to a named call without breaking those who make it as it was.
        """
        if block_fn.api_name:
            inputs.extend(block.value for block in block_fn.inputs[len(inputs) :] if hasattr(block, "value"))
        super().validate_inputs(block_fn, inputs)
        check_files(inputs)

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """As Gradio's, with a fast path for {component: text or number} without `gr.skip()`."""
        if predictions == gr.skip():
            return [gr.skip() for _ in block_fn.outputs]
        if isinstance(predictions, dict) and all(
            isinstance(key, PLAIN) and isinstance(value, str | int | float)
            for key, value in predictions.items()
        ):
            known = {block._id for block in block_fn.outputs}
            values = {key._id: value for key, value in predictions.items()}
            if values and values.keys() <= known:
                return [values.get(block._id, gr.skip()) for block in block_fn.outputs]
        return await super().postprocess_data(block_fn, predictions, state)


class Kept:
    """Drops the state that a `gr.Blocks` and its queue keep of closed tabs and finished calls."""

    def __init__(self, blocks: Any = None) -> None:
        """blocks: `gr.Blocks`; has state once it is served."""
        self._blocks = blocks
        self._strays: set[str] = set()

    def __len__(self) -> int:
        holder = self._holder()
        return len(holder.session_data) if holder else 0

    def drop(self, name: str | None) -> None:
        """Drop the state of a tab or call by Gradio's `name`. A running event keeps its own reference."""
        holder = self._holder()
        if holder is None or name is None:
            return
        with holder.lock:
            holder.session_data.pop(name, None)
            holder.time_last_used.pop(name, None)

    def sweep(self, tabs: Container[str]) -> None:
        """Drop all state except of `tabs` and of names new since the last sweep (tabs that are loading)."""
        holder = self._holder()
        if holder is None:
            return
        with holder.lock:
            names = set(holder.session_data)
        waiting: dict[str, set[str]] = self._blocks._queue.pending_event_ids_session
        names |= {name for name, events in list(waiting.items()) if not events}  # Gradio leaves those behind
        strays = {name for name in names if name not in tabs}
        for name in strays & self._strays:
            self.drop(name)
            if not waiting.get(name, True):
                del waiting[name]
        self._strays = strays - self._strays

    def _holder(self) -> Any:
        return getattr(self._blocks, "state_holder", None)
