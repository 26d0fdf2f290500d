"""The API as tools of the Model Context Protocol, over streamable HTTP. Files are sent inline.

A language model often writes a tool's arguments from untrusted text. So no tool takes a path or a URL, and no
call can make this server read its disk or fetch anything. Gradio's own MCP server does, so that it is off;
what the hub and clients read of it (`/schema`, the address, the configuration) is the same here.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from anyio import CapacityLimiter, to_thread
from pydantic import AnyUrl, FailFast, Field
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from metaembed_demo import __version__
from metaembed_demo.app.visitors.shares import Turns
from metaembed_demo.core.disk import FULL_DISK, is_full, scratch_prefix
from metaembed_demo.core.logs import plain
from metaembed_demo.core.types import Upload

from . import mcp_resources, origins
from .access import TOOL_BODY
from .api import Api, Explained
from .mcp_arguments import (
    BUDGET,
    BudgetText,
    InlineFile,
    OwnSession,
    Pages,
    Picture,
    SearchBudget,
    Session,
    Words,
    pictures,
    written,
)
from .mcp_messages import MOST_NAME
from .rate_limit import client_of

try:
    from mcp.server.fastmcp.exceptions import ToolError
    from mcp.server.transport_security import TransportSecuritySettings
    from mcp.types import CallToolResult, ResourceLink, ToolAnnotations

    from .mcp_library import Library, result

    AVAILABLE = True
except ImportError:  # the app runs without MCP
    AVAILABLE = False

T = TypeVar("T")
NAME = "metaembed-demo"
ABOUT = (
    "Search pages of PDFs and pictures by words or a picture with MetaEmbed, and see what on a page its "
    "score comes from. Start with search; explain a hit by its page_id. Without a session, tools see a "
    "sample corpus. new_session or index give a session token; pass it to later calls. Whoever has the token "
    "has the session, which ends by itself when it is unused."
)
UPLOADS = 2  # concurrent calls with files to index, one of them of an address
MOST_FILES = 100  # of a call


class Toolbox:
    """The MCP server: its tools, its resources, its routes and its lifespan."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._searching = api.visits.shares.searches
        self._indexing = Turns(UPLOADS, api.limits.max_queue, api.limits)
        self._threads = CapacityLimiter(self._searching.most + UPLOADS)
        # Any host name is accepted, as by Gradio's server, because a Space is behind a proxy.
        hosts = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        self.server = Library(
            NAME,
            self.read,
            instructions=ABOUT,
            stateless_http=True,
            json_response=True,
            transport_security=hosts,
            max_request_body_size=TOOL_BODY,
            log_level="WARNING",
        )
        self.server._mcp_server.version = __version__
        reads = ToolAnnotations(readOnlyHint=True, idempotentHint=True, openWorldHint=False)
        adds = ToolAnnotations(readOnlyHint=False, destructiveHint=False, openWorldHint=False)
        removes = ToolAnnotations(readOnlyHint=False, destructiveHint=True, openWorldHint=False)
        shown = {"ui": {"resourceUri": mcp_resources.VIEW}}
        offered: list[tuple[Callable[..., Any], str, ToolAnnotations, dict[str, Any] | None]] = [
            (self.search, "Search pages", reads, None),  # the hub takes the first for the server's main tool
            (self.explain, "Explain a hit", reads, shown),
            (self.documents, "List documents", reads, None),
            (self.index, "Add files", adds, None),
            (self.delete, "Remove a document", removes, None),
            (self.new_session, "Start a session", adds, None),
            (self.end_session, "End a session", removes, None),
        ]
        for fn, title, hints, meta in offered:
            told = inspect.getdoc(fn)
            self.server.add_tool(fn, title=title, description=told, annotations=hints, meta=meta)
        self.server.streamable_http_app()  # makes the session manager
        self.serve = _Route(self.server.session_manager.handle_request)

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        async with self.server.session_manager.run():
            yield

    async def schema(self, request: Request) -> JSONResponse:
        """The tools as Gradio lists them, for the hub, which reads them without a session."""
        return JSONResponse(await self.server.told_to_the_hub(request.query_params.get("tools", "")))

    async def read(self, uri: str) -> tuple[str | bytes, str]:
        """The content of a resource and its type. Raises ToolError."""
        if uri == mcp_resources.VIEW:
            return mcp_resources.view(), mcp_resources.HTML
        here = self._here()
        return await self._run(
            self._searching,
            lambda _, client: mcp_resources.read(self.api, mcp_resources.Asked.parse(uri), client, here),
        )

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
            Literal["meaning", "words", "both"],
            Field(
                description="What ranks the pages: meaning for a description, words for codes and exact "
                "phrases, both where in doubt."
            ),
        ] = "both",
        steps: Annotated[
            int,
            Field(
                description="Steps that move the query towards the words, in mode both; 0 moves nothing.",
                ge=0,
                le=50,
            ),
        ] = 0,
        complement: Annotated[
            str, Field(description="A loaded encoder towards which it is moved instead. Empty: the words.")
        ] = "",
        filter: Pages = "",
    ) -> CallToolResult:
        """Find the pages of PDFs and pictures that answer a question, by words, a picture, or both.

        Answers with up to k hits, best first: page_id, source (a file) and page number (of a video or sound
        also seconds, and modality: picture or speech), title, language, score and, of a question in words,
        chance: how often such a page answers, 0 to 1. Compare hits of different searches by chance, not by
        score. fit says when nothing fits well, unread_language when the encoder does not read the question's
        language. It brings no text of the pages: explain names the words that a hit was found by.
        """

        def ask(files: list[Upload], client: str) -> dict[str, Any]:
            found = self.api.search(
                *(query, budget, k, session, next(iter(files), None), language, client),
                *(mode, steps, complement, filter),
            )
            return {name: value for name, value in found.items() if name != "alignment"}  # a thousand numbers

        return result(await self._run(self._searching, ask, pictures(image_base64)))

    async def explain(
        self,
        page_id: Annotated[str, Field(description="The page_id of a hit.")],
        query: Words = "",
        budget: BudgetText = BUDGET,
        session: Session = "",
        image_base64: Picture = "",
        cosines: Annotated[
            bool, Field(description="Whether to list the cosine of every query token and page token.")
        ] = False,
    ) -> CallToolResult:
        """Show what on a page its score comes from. Call it with a hit's page_id and the search's query.

        Answers with the score (MaxSim, the sum of the highest cosine of each query token) and at most 50
        words or picture cells, the strongest first: text, box (fractions of the page: x0 y0 x1 y1, origin
        top left), part of the score and share (1 is all of it; explanation.unit says what they are). These
        are words of the page, to quote from or to point at. The page with its evidence is shown to the user
        where the host shows MCP Apps, and is linked as a resource, as is its picture. Takes a second, with a
        vision-language model up to minutes.
        """
        here = self._here()

        def ask(files: list[Upload], client: str) -> tuple[dict[str, Any], list[ResourceLink], str]:
            picture = next(iter(files), None)
            found = self.api.explained(page_id, query, budget, session, picture, client)
            if not cosines:
                found.answer["alignment"].pop("similarity")
            return found.answer, _links(found, session), mcp_resources.drawn(found, session, here)

        answer, links, card = await self._run(self._searching, ask, pictures(image_base64))
        return result(answer, *links, **{mcp_resources.KEY: card})

    async def documents(self, session: Session = "") -> CallToolResult:
        """List the documents that can be searched: source, number of pages and kind of each.

        For what there is to search, the names that a filter and delete take. To find pages, use search.
        """
        return result(await self._run(self._searching, lambda *_: self.api.documents(session)))

    async def delete(
        self,
        source: Annotated[str, Field(description="The source of a document, as documents lists it.")],
        session: OwnSession,
    ) -> CallToolResult:
        """Take a document out of a session, for good. Answers with how many pages were removed."""
        return result(await self._run(self._searching, lambda *_: self.api.delete(source, session)))

    async def index(
        self,
        files: Annotated[
            list[InlineFile],
            FailFast(),  # else each of a million wrong ones is told of
            Field(
                description="PDFs, pictures, office documents, or zips of them; 32 MB a call in all.",
                max_length=MOST_FILES,
            ),
        ],
        session: Annotated[
            str,
            Field(
                description="The token of a session. Empty: a new one, which the answer names.",
                max_length=MOST_NAME,
            ),
        ] = "",
    ) -> CallToolResult:
        """Add files to a session, so that search finds their pages. Takes seconds a page.

        Answers with the session's token, how many pages were added, and what could not be read (problems),
        was left out or is in doubt (notices).
        """
        return result(
            await self._run(
                self._indexing, lambda found, client: self.api.index(found, session, client), files
            )
        )

    async def new_session(self) -> CallToolResult:
        """Start a session of your own, which holds the sample corpus. To add files, index does it as well.

        The token in the answer is all that opens it.
        """
        return result(await self._run(self._searching, lambda _, client: self.api.new_session(client)))

    async def end_session(self, session: OwnSession) -> CallToolResult:
        """End a session when it is no longer needed. Its pages and files are removed, for good."""
        return result(await self._run(self._searching, lambda *_: self.api.end_session(session)))

    def _here(self) -> str:
        """The address of the page, as the client asks it."""
        request = self.server.get_context().request_context.request
        assert request is not None  # all come over HTTP
        scope = request.scope
        return origins.place(scope).decode("latin-1") + str(scope.get("root_path", ""))

    async def _run(
        self,
        turns: Turns,
        ask: Callable[[list[Upload], str], T],
        files: Sequence[InlineFile] = (),
    ) -> T:
        """Run a call in a thread, in turn with those of other addresses. `files` are on disk meanwhile."""
        client = client_of(self.server.get_context().request_context.request)

        def run() -> T:
            if not files:
                return ask([], client)
            with tempfile.TemporaryDirectory(prefix=scratch_prefix()) as folder:
                found = [written(file, Path(folder, str(at))) for at, file in enumerate(files)]
                return ask(found, client)

        try:
            async with turns.turn_async(client):
                return await to_thread.run_sync(run, limiter=self._threads)
        except ValueError as error:
            raise ToolError(plain(str(error))) from error
        except OSError as error:
            if is_full(error):
                raise ToolError(FULL_DISK) from error
            raise


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


def _links(found: Explained, session: str) -> list[ResourceLink]:
    """Links to what a hit has as resources."""
    card, picture = mcp_resources.card_uri(session, found), mcp_resources.picture_uri(session, found.page.id)
    named = [("evidence", card, mcp_resources.HTML), ("picture", picture, mcp_resources.JPEG)]
    return [
        ResourceLink(type="resource_link", name=name, uri=AnyUrl(uri), mimeType=kind)
        for name, uri, kind in named
        if uri
    ]
