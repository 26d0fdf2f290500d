"""The MCP library's server as ours is: compact answers with their schemas, short errors, and resources.

Imported only where the package `mcp` is there.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from mcp.server.fastmcp import FastMCP
from mcp.server.fastmcp.exceptions import ToolError
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.shared.exceptions import McpError
from mcp.types import CallToolResult, ErrorData, Resource, ResourceTemplate, TextContent, Tool
from pydantic import AnyUrl, ValidationError

from metaembed_demo.core.logs import plain

from . import mcp_resources as resources

SCHEMA = Path(__file__).with_name("api.schema.json")
NOT_FOUND = -32002  # the protocol's code for a resource that is not there


class Library(FastMCP):
    """The server. Of a call's wrong arguments, the first is told."""

    def __init__(
        self, name: str, read: Callable[[str], Awaitable[tuple[str | bytes, str]]], **options: Any
    ) -> None:
        """read: the content of a resource and its type, by its URI; raises ToolError."""
        super().__init__(name, **options)
        self._read = read

    async def list_tools(self) -> list[Tool]:
        request = self.get_context().request_context.request
        return await self.offered(request.query_params.get("tools", "") if request is not None else "")

    async def offered(self, chosen: str = "") -> list[Tool]:
        """All tools, or those that an address chooses by ?tools=a,b, as Gradio's addresses do."""
        return [
            tool.model_copy(update={"outputSchema": answer_of(tool.name)})
            for tool in await super().list_tools()
            if not chosen or tool.name in chosen.split(",")
        ]

    async def told_to_the_hub(self, chosen: str = "") -> list[dict[str, Any]]:
        """The tools in the shape of Gradio's /gradio_api/mcp/schema, which the Hugging Face hub reads."""
        return [
            {
                "name": tool.name,
                "description": tool.description,
                "inputSchema": _inlined(tool.inputSchema),
                "meta": {"file_data_present": False, "mcp_type": "tool", "endpoint_name": tool.name},
                **({"_meta": tool.meta} if tool.meta else {}),
            }
            for tool in await self.offered(chosen)
        ]

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        try:
            return await super().call_tool(name, arguments)
        except ToolError as error:
            raise ToolError(_first(error)) from error

    async def list_resources(self) -> list[Resource]:
        return [
            Resource(
                uri=AnyUrl(resources.VIEW),
                name="explain",
                title="Why this page",
                description="The view of explain's results: a host of MCP Apps shows them in it.",
                mimeType=resources.HTML,
                _meta=resources.FRAMED,
            )
        ]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        where = "session: its token, or samples. page_id: of a hit."
        return [
            ResourceTemplate(
                uriTemplate=resources.CARD,
                name="evidence",
                title="A page with its evidence",
                description="HTML: the page's picture with the words that a query's score comes from, their "
                f"shares, and the score by groups of Meta Tokens. {where} budget: as of explain.",
                mimeType=resources.HTML,
                _meta=resources.FRAMED,
            ),
            ResourceTemplate(
                uriTemplate=resources.PICTURE,
                name="picture",
                title="A page's picture",
                description=f"A JPEG of at most 1200 pixels a side. {where}",
                mimeType=resources.JPEG,
            ),
        ]

    async def read_resource(self, uri: AnyUrl | str) -> Iterable[ReadResourceContents]:
        try:
            content, kind = await self._read(str(uri))
        except ToolError as error:
            raise McpError(ErrorData(code=NOT_FOUND, message=str(error))) from error
        return [ReadResourceContents(content, kind, resources.FRAMED if kind == resources.HTML else None)]


def result(answer: dict[str, Any], *links: Any, **hidden: Any) -> CallToolResult:
    """An answer as a tool's: text for models, without spaces that cost tokens, and structured content.

    links: to resources. hidden: what is for the host's view and not for the model.
    """
    text = TextContent(type="text", text=json.dumps(answer, ensure_ascii=False, separators=(",", ":")))
    return CallToolResult(content=[text, *links], structuredContent=answer, _meta=hidden or None)


@cache
def answer_of(name: str) -> dict[str, Any] | None:
    """The schema of a tool's answer, open to fields of later versions."""
    found = json.loads(SCHEMA.read_text("utf-8"))["$defs"].get(name)
    return None if found is None else _opened(found)


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` with its definitions in the place of references: of a tool's, the hub keeps the properties."""
    named = schema.get("$defs", {})

    def put(part: Any) -> Any:
        if isinstance(part, list):
            return [put(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return put(named[part["$ref"].removeprefix("#/$defs/")])
        return {name: put(each) for name, each in part.items() if name != "$defs"}

    inlined: dict[str, Any] = put(schema)
    return inlined


def _opened(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_opened(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties"} if schema.get("additionalProperties") is False else set()
    return {name: _opened(each) for name, each in schema.items() if name not in closed}


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
