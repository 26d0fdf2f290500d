"""The API as tools of the Model Context Protocol, over streamable HTTP. Files are sent inline.

A language model often writes a tool's arguments from untrusted text. So no tool takes a path or a URL, and no
call can make this server read its disk or fetch anything.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from metaembed_demo import __version__
from metaembed_demo.app.visitors.shares import Turns
from metaembed_demo.collection.filter_parts import LONGEST, MOST_PARTS
from metaembed_demo.core.budgets import OURS
from metaembed_demo.core.disk import FULL_DISK, is_full, scratch_prefix
from metaembed_demo.core.logs import plain
from metaembed_demo.core.types import Upload
from metaembed_demo.documents.file_types import SUFFIXES, sniff

from .access import TOOL_BODY
from .api import Answer, Api
from .mcp_messages import MOST_NAME
from .rate_limit import client_of

try:
    from mcp.server.fastmcp import FastMCP
    from mcp.server.fastmcp.exceptions import ToolError
    from mcp.server.transport_security import TransportSecuritySettings
    from mcp.types import ToolAnnotations

    AVAILABLE = True
except ImportError:  # the app runs without MCP
    AVAILABLE = False

NAME = "metaembed-demo"
ABOUT = (
    "Search pages (PDFs, pictures) by words or a picture with MetaEmbed. Without a session, tools see a "
    "sample corpus. new_session or index give a session token; pass it to later calls. Whoever has the token "
    "has the session, which ends by itself when it is unused."
)
BUDGET = str(OURS.full)
UPLOADS = 2  # concurrent calls with files to index, one of them of an address
MOST_FILES = 100  # of a call

Session = Annotated[
    str, Field(description="The token of a session. Empty: the sample corpus.", max_length=MOST_NAME)
]
OwnSession = Annotated[str, Field(description="The token of the session.", max_length=MOST_NAME)]
Words = Annotated[str, Field(description="What to look for. May be empty where there is a picture.")]
BudgetText = Annotated[
    str,
    Field(
        description='How many vectors to use, "r_q x r_c": 1x1, 2x4, 4x8, 8x16 or 16x64 of Mini; or "full".'
    ),
]
SearchBudget = Annotated[
    str,
    Field(
        description="How many vectors to use: 1x1, 2x4, 4x8, 8x16 or 16x64 of Mini, "
        '"full", or "auto": it sets itself.'
    ),
]
Picture = Annotated[str, Field(description="A picture to ask with, as base64. Addresses are not fetched.")]


Values = Annotated[list[Annotated[str, Field(max_length=LONGEST)]], FailFast(), Field(max_length=MOST_PARTS)]


class PagesOnly(BaseModel):
    """Pages to search. Values of one field are alternatives."""

    model_config = ConfigDict(extra="forbid")
    documents: Values = Field([], description="Names or patterns, as Annual*.pdf.")
    types: Values = Field([], description="Endings of files, as pdf.")
    languages: Values = Field([], description="ISO 639-1 codes.")
    pages: Values = Field([], description="Page numbers, as 3 or 3-10.")
    added: Values = Field([], description="Days, as 2026-11-01 or 2026-11-01..2026-11-30.")


Pages = Annotated[
    Annotated[str, Field(max_length=LONGEST)] | PagesOnly,
    Field(
        description='Pages to search, as: type:pdf lang:de document:"Annual*" pages:3-10 added:2026-11-01.. '
        "Parts of one kind are alternatives. Empty: all pages."
    ),
]


class InlineFile(BaseModel):
    """A file inside a call."""

    name: str = Field(description='Its name with its ending, for example "report.pdf".', max_length=MOST_NAME)
    content_base64: str = Field(description="Its bytes as base64. Addresses and paths are not read.")


class Toolbox:
    """The MCP server: its tools, its route and its lifespan."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._searching = api.visits.shares.searches
        self._indexing = Turns(UPLOADS, api.limits.max_queue, api.limits)
        self._threads = CapacityLimiter(self._searching.most + UPLOADS)
        # Any host name is accepted, as by Gradio's server, because a Space is behind a proxy.
        hosts = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        self.server = _Tools(
            NAME,
            instructions=ABOUT,
            stateless_http=True,
            json_response=True,
            transport_security=hosts,
            max_request_body_size=TOOL_BODY,
            log_level="WARNING",
        )
        self.server._mcp_server.version = __version__
        reads = ToolAnnotations(readOnlyHint=True, openWorldHint=False)
        adds = ToolAnnotations(destructiveHint=False, openWorldHint=False)
        removes = ToolAnnotations(destructiveHint=True, openWorldHint=False)
        offered: list[tuple[Callable[..., Any], ToolAnnotations]] = [
            (self.search, reads),
            (self.explain, reads),
            (self.documents, reads),
            (self.index, adds),
            (self.delete, removes),
            (self.new_session, adds),
            (self.end_session, removes),
        ]
        for fn, hints in offered:
            self.server.add_tool(fn, annotations=hints)
        self.server.streamable_http_app()  # makes the session manager
        self.serve = _Route(self.server.session_manager.handle_request)

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        async with self.server.session_manager.run():
            yield

    # The tools

    async def search(
        self,
        query: Words,
        budget: SearchBudget = BUDGET,
        k: Annotated[int, Field(description="How many hits, at most 100.", ge=1, le=100)] = 10,
        session: Session = "",
        image_base64: Picture = "",
        language: Annotated[
            str, Field(description="ISO 639-1 code of the pages to search, as de. Empty: all pages.")
        ] = "",
        mode: Annotated[
            Literal["meaning", "words", "both"], Field(description="What ranks the pages.")
        ] = "both",
        steps: Annotated[
            int, Field(description="Steps that move the query towards the words, in mode both.", ge=0, le=50)
        ] = 0,
        complement: Annotated[
            str, Field(description="A loaded encoder towards which it is moved instead. Empty: the words.")
        ] = "",
        filter: Pages = "",
    ) -> dict[str, Any]:
        """Search a session's pages, or the sample corpus, with words, a picture, or both."""
        parts = filter if isinstance(filter, str) else filter.model_dump(exclude_defaults=True)
        return await self._run(
            self._searching,
            lambda files, client: self.api.search(
                *(query, budget, k, session, next(iter(files), None), language, client),
                *(mode, steps, complement, parts),
            ),
            _pictures(image_base64),
        )

    async def explain(
        self,
        page_id: Annotated[str, Field(description="The page_id of a hit.")],
        query: Words = "",
        budget: BudgetText = BUDGET,
        session: Session = "",
        image_base64: Picture = "",
    ) -> dict[str, Any]:
        """Explain why a page scores as it does: its alignment, and the share of each of its words."""
        return await self._run(
            self._searching,
            lambda files, client: self.api.explain(
                page_id, query, budget, session, next(iter(files), None), client
            ),
            _pictures(image_base64),
        )

    async def documents(self, session: Session = "") -> dict[str, Any]:
        """List the documents of a session, or of the sample corpus."""
        return await self._run(self._searching, lambda *_: self.api.documents(session))

    async def delete(
        self,
        source: Annotated[str, Field(description="The source of a document, as documents lists it.")],
        session: OwnSession,
    ) -> dict[str, Any]:
        """Take a document out of a session."""
        return await self._run(self._searching, lambda *_: self.api.delete(source, session))

    async def index(
        self,
        files: Annotated[
            list[InlineFile],
            FailFast(),  # else each of a million wrong ones is told of
            Field(description="PDFs, pictures, or zips of them.", max_length=MOST_FILES),
        ],
        session: Annotated[
            str, Field(description="The token of a session. Empty: a new one.", max_length=MOST_NAME)
        ] = "",
    ) -> dict[str, Any]:
        """Add files to a session, and report what could not be read, was left out or is in doubt.

        The answer names the session.
        """
        return await self._run(
            self._indexing, lambda found, client: self.api.index(found, session, client), files
        )

    async def new_session(self) -> dict[str, Any]:
        """Start a session, which holds the sample corpus. The token in the answer is all that opens it."""
        return await self._run(self._searching, lambda _, client: self.api.new_session(client))

    async def end_session(self, session: OwnSession) -> dict[str, Any]:
        """End a session. Its pages and files are removed."""
        return await self._run(self._searching, lambda *_: self.api.end_session(session))

    async def _run(
        self,
        turns: Turns,
        ask: Callable[[list[Upload], str], Answer],
        files: Sequence[InlineFile] = (),
    ) -> Answer:
        """Run a call in a thread, in turn with those of other addresses. `files` are on disk meanwhile."""
        client = client_of(self.server.get_context().request_context.request)

        def run() -> Answer:
            if not files:
                return ask([], client)
            with tempfile.TemporaryDirectory(prefix=scratch_prefix()) as folder:
                written = [_written(file, Path(folder, str(at))) for at, file in enumerate(files)]
                return ask(written, client)

        try:
            async with turns.turn_async(client):
                return await to_thread.run_sync(run, limiter=self._threads)
        except ValueError as error:
            raise ToolError(plain(str(error))) from error
        except OSError as error:
            if is_full(error):
                raise ToolError(FULL_DISK) from error
            raise


if AVAILABLE:

    class _Tools(FastMCP):
        """The library's server, with short errors: of a call's wrong arguments, the first is told."""

        async def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
            try:
                return await super().call_tool(name, arguments)
            except ToolError as error:
                raise ToolError(_first(error)) from error


def _first(error: Exception) -> str:
    """A tool's error in short."""
    wrong = error.__cause__
    if isinstance(wrong, RecursionError | ValueError) and not isinstance(wrong, ValidationError):
        return "An argument is JSON that cannot be read."  # given as text
    if not isinstance(wrong, ValidationError):
        return plain(str(error))
    first = wrong.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return plain(f"validation error of {place}: {first['msg']}")


class _Route:
    """An ASGI endpoint. A class, because Starlette expects a response from a plain coroutine function."""

    def __init__(self, handle: Callable[[Scope, Receive, Send], Any]) -> None:
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            await self._handle(scope, receive, send)
            return
        # A GET would hold a connection open for messages that this server never sends.
        answer = {"detail": "This is an MCP server (streamable HTTP). Its clients POST to this address."}
        await JSONResponse(answer, 405, {"Allow": "POST"})(scope, receive, send)


def _pictures(content: str) -> list[InlineFile]:
    return [InlineFile(name="picture", content_base64=content)] if content else []


def _written(file: InlineFile, folder: Path) -> Upload:
    """Write a file of a call to disk under a generated name. Raises ValueError when it is not base64."""
    name = PurePath(file.name.replace("\\", "/")).name or "file"
    content = file.content_base64
    if content.startswith("data:"):
        content = content.partition(",")[2]
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(
            f"{name} is not base64. Send the file's bytes; paths and addresses are not read."
        ) from error
    folder.mkdir()
    target = folder / "file"
    target.write_bytes(data)
    if name == "picture":  # a query picture has no name, so its type is detected from the content
        kind = sniff(target)
        name += next((suffix for suffix, known in SUFFIXES.items() if known == kind), ".png")
    return Upload(target, name)
