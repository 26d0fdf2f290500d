"""The MCP server: what it answers a client, and that no argument makes it read its disk or fetch anything."""

from __future__ import annotations

import base64
import importlib
import io
import json
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import McpError
from PIL import Image, ImageDraw
from pydantic import AnyUrl

from metaembed_demo.app.server import launch, mcp_resources, mcp_server, pictures, plotly_script, share_card
from metaembed_demo.app.server.api import Api
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.core.config import LIMITS, ROOT, SERVER
from tests.app.test_api import SCHEMA, check
from tests.support.app_server import Served
from tests.support.coroutines import run as in_thread
from tests.support.dummy_encoder import DummyEncoder
from tests.support.small_app import samples

PATH = "/gradio_api/mcp"
TOOLS = ["delete", "documents", "end_session", "explain", "index", "new_session", "search"]


def ask(address: str, talk: Callable[[ClientSession], Awaitable[Any]], **headers: str) -> Any:
    """What `talk` finds out in a session with the MCP server."""

    async def run() -> Any:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(httpx.AsyncClient(headers=headers, timeout=60))
            streams = streamable_http_client(address + PATH, http_client=client)
            receive, send, _ = await stack.enter_async_context(streams)
            session = await stack.enter_async_context(ClientSession(receive, send))
            await session.initialize()
            return await talk(session)

    return in_thread(run())


def call(address: str, name: str, **arguments: Any) -> Any:
    """A tool's answer. Raises AssertionError with what it says when it fails."""
    answer = ask(address, lambda session: session.call_tool(name, arguments))
    text = answer.content[0].text
    assert not answer.isError, text
    assert json.loads(text) == answer.structuredContent
    return check(answer.structuredContent, name)


def refusal(address: str, name: str, **arguments: Any) -> str:
    """What a tool says that does not do as it is asked."""
    answer = ask(address, lambda session: session.call_tool(name, arguments))
    assert answer.isError
    return str(answer.content[0].text)


def drawing() -> str:
    """A picture as base64."""
    image = Image.new("RGB", (300, 120), "white")
    ImageDraw.Draw(image).text((20, 40), "secret giraffe", fill="black", font_size=32)
    file = io.BytesIO()
    image.save(file, "JPEG")
    return base64.b64encode(file.getvalue()).decode()


def test_the_tools_are_the_endpoints_and_nothing_else(small: Served) -> None:
    tools = ask(small.address, lambda session: session.list_tools()).tools
    assert sorted(tool.name for tool in tools) == TOOLS
    for tool in tools:
        assert tool.title, tool.name
        assert tool.description, tool.name
        assert tool.outputSchema["properties"].keys() == SCHEMA["$defs"][tool.name]["properties"].keys()
        for name, argument in tool.inputSchema["properties"].items():
            assert argument["description"], (tool.name, name)
    reading = {tool.name for tool in tools if tool.annotations and tool.annotations.readOnlyHint}
    assert reading == {"search", "explain", "documents"}
    assert {tool.name: tool.meta for tool in tools if tool.meta} == {
        "explain": {"ui": {"resourceUri": "ui://metaembed-demo/explain"}}
    }
    assert "Unknown tool" in refusal(small.address, "arrive")
    wrong = {"query": [], "budget": [], "k": [], "mode": []}
    told = refusal(small.address, "search", **wrong)
    assert told == "validation error of query: Input should be a valid string"
    assert "JSON" in refusal(small.address, "search", query="dog", k="9" * 5000)
    assert "JSON" in refusal(small.address, "index", files="[" * 15_000)


def test_the_tools_answer_as_the_endpoints_do(small: Served) -> None:
    tool = call(small.address, "search", query="energy use", budget="8x16", k=2)
    client = Client(small.address, verbose=False)
    endpoint = client.predict("energy use", "8x16", 2, api_name="/search")
    assert tool.pop("timings_ms").keys() == endpoint.pop("timings_ms").keys()
    del endpoint["alignment"]  # a thousand numbers, which a model would pay for
    assert tool == endpoint
    page = tool["hits"][0]["page_id"]
    explained = call(small.address, "explain", page_id=page, query="energy use", budget="8x16", cosines=True)
    assert explained == client.predict(page, "energy use", "8x16", api_name="/explain")
    del explained["alignment"]["similarity"]
    assert call(small.address, "explain", page_id=page, query="energy use", budget="8x16") == explained
    found = call(small.address, "search", query="energy use", filter="document:dog*")
    assert [hit["source"] for hit in found["hits"]] == ["dog.pdf"]
    assert "no part 'dog'" in refusal(small.address, "search", query="energy", filter="dog")
    for odd in ("type:pdf " * 1_000, {"types": ["pdf"]}):
        assert "validation error" in refusal(small.address, "search", query="energy", filter=odd)


def test_files_come_inside_the_call_and_stay_in_the_session(small: Served) -> None:
    file = {"name": "giraffe.jpg", "content_base64": drawing()}
    report = call(small.address, "index", files=[file])
    assert (report["added"], report["problems"]) == (1, [])
    mine = report["session"]
    found = call(small.address, "search", query="giraffe", session=mine, k=1)
    assert found["hits"][0]["source"] == "giraffe.jpg"
    page = found["hits"][0]["page_id"]
    assert call(small.address, "explain", page_id=page, query="giraffe", session=mine)["score"] > 1
    assert "no page with this page_id" in refusal(small.address, "explain", page_id=page, query="giraffe")

    yours = call(small.address, "new_session")["session"]
    assert call(small.address, "documents", session=yours)["pages"] == 4
    assert "no document called" in refusal(small.address, "delete", source="giraffe.jpg", session=yours)
    assert call(small.address, "delete", source="giraffe.jpg", session=mine)["removed"] == 1
    for session in (mine, yours):
        assert call(small.address, "end_session", session=session)["ended"]
    assert "no such session" in refusal(small.address, "documents", session=mine)


def test_a_picture_is_a_query(small: Served) -> None:
    found = call(small.address, "search", query="", image_base64=f"data:image/jpeg;base64,{drawing()}")
    assert found["query"] == {"text": "", "image": True}


class Canary(HTTPServer):
    """A server inside the network that counts who comes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Count)
        self.visits: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Count(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Canary)
        self.server.visits.append(self.path)
        self.send_error(404)

    do_HEAD = do_POST = do_GET

    def log_message(self, *args: Any) -> None:
        pass


def test_no_argument_makes_the_server_read_its_disk_or_fetch_anything(small: Served) -> None:
    canary = Canary()
    inside = f"http://127.0.0.1:{canary.server_port}/secret.png"
    for where in ("/etc/passwd", "file:///etc/passwd", inside, "../../../etc/passwd", "~/.ssh/id_rsa"):
        told = refusal(small.address, "index", files=[{"name": "a.png", "content_base64": where}])
        assert "is not base64" in told, where
        assert "is not base64" in refusal(small.address, "search", query="dog", image_base64=where), where
        for file in (where, {"path": where}, {"path": where, "meta": {"_type": "gradio.FileData"}}):
            assert "validation error" in refusal(small.address, "index", files=[file])
    named = {"name": "../../../../tmp/planted.png", "content_base64": drawing()}
    report = call(small.address, "index", files=[named])
    assert (report["added"], report["problems"]) == (1, [])
    listed = call(small.address, "documents", session=report["session"])
    assert "planted.png" in [each["source"] for each in listed["documents"]]  # without its path
    call(small.address, "end_session", session=report["session"])
    assert canary.visits == []

    # The same by Gradio's own file objects, which it would download.
    body = {"data": [[{"path": inside, "url": inside, "meta": {"_type": "gradio.FileData"}}], ""]}
    for path in ("/gradio_api/call/index", "/gradio_api/queue/join"):
        got = httpx.post(small.address + path, json={**body, "fn_index": 0, "session_hash": "x"})
        assert (got.status_code, "not fetched" in got.text) == (400, True), path
    client = Client(small.address, verbose=False)
    with pytest.raises(AppError, match="was not uploaded"):
        client.predict([{"path": "/etc/passwd"}], api_name="/index")
    assert canary.visits == []
    canary.shutdown()


def test_other_methods_are_refused_and_the_host_is_free(small: Served) -> None:
    assert httpx.get(small.address + PATH, headers={"Accept": "text/event-stream"}).status_code == 405
    assert httpx.delete(small.address + PATH).status_code == 405


def test_the_hub_finds_what_it_reads_of_gradios_server(small: Served) -> None:
    """As huggingface/hf-mcp-server: it takes name, description, properties, required and _meta of each."""
    front = (ROOT / "README.md").read_text("utf-8").split("---")[1]
    assert "\n  - mcp-server\n" in front
    assert httpx.get(f"{small.address}/config").json()["mcp_server"] is True
    schema = f"{small.address}{PATH}/schema"
    told = httpx.get(schema).json()
    tools = ask(small.address, lambda session: session.list_tools()).tools
    assert [each["name"] for each in told] == [tool.name for tool in tools]
    for each, tool in zip(told, tools, strict=True):
        assert (each["description"], each.get("_meta")) == (tool.description, tool.meta)
        assert each["meta"] == {
            "file_data_present": False,
            "mcp_type": "tool",
            "endpoint_name": each["name"],
        }
        assert each["inputSchema"].get("required") == tool.inputSchema.get("required")
        assert "$ref" not in json.dumps(each["inputSchema"])
    main = told[0]["inputSchema"]["properties"]  # of the first tool, without which a Space cannot be called
    assert told[0]["name"] == "search"
    assert {kind["type"] for kind in main.values()} == {"string", "integer"}
    chosen = httpx.get(schema, params={"tools": "explain,search"}).json()
    assert [each["name"] for each in chosen] == ["search", "explain"]


def test_a_hit_is_a_resource_and_so_is_its_picture(small: Served) -> None:
    mine = call(small.address, "index", files=[{"name": "giraffe.jpg", "content_base64": drawing()}])[
        "session"
    ]
    page = call(small.address, "search", query="giraffe", session=mine, k=1)["hits"][0]["page_id"]
    asked = {"page_id": page, "query": "secret giraffe & <b>", "session": mine}

    async def look(session: ClientSession) -> Any:
        found = await session.call_tool("explain", asked)
        card, picture = [await session.read_resource(link.uri) for link in found.content[1:]]
        return found, card.contents[0], picture.contents[0]

    found, card, picture = ask(small.address, look)
    assert [link.type for link in found.content[1:]] == ["resource_link"] * 2
    assert (card.mimeType, card.meta) == ("text/html;profile=mcp-app", {"ui": {"prefersBorder": True}})
    assert found.meta["metaembed-demo/card"] in card.text
    assert "secret giraffe &amp; &lt;b&gt;" in card.text
    assert "Open this search" not in card.text  # whoever follows it has another session
    assert picture.mimeType == "image/jpeg"
    assert Image.open(io.BytesIO(base64.b64decode(picture.blob))).size == (300, 120)
    with_picture = ask(
        small.address, lambda session: session.call_tool("explain", {**asked, "image_base64": drawing()})
    )
    assert [link.name for link in with_picture.content[1:]] == ["picture"]  # no address holds a picture
    assert "with a picture" in with_picture.meta["metaembed-demo/card"]

    for uri, told in (
        (f"ui://metaembed-demo/explain/samples/{page}?query=giraffe", "no page with this page_id"),
        (f"metaembed-demo://picture/samples/{page}", "no page with this page_id"),
        (f"metaembed-demo://picture/another/{page}", "no such session"),
        (f"ui://metaembed-demo/explain/{mine}/{page}", "The query is empty"),
        (f"ui://metaembed-demo/explain/{mine}/{page}?query=a&budget=b", "is not a budget"),
        ("metaembed-demo://picture/samples/../../etc/passwd", "no such session"),
        ("file:///etc/passwd", "no such resource"),
    ):
        assert told in unread(small.address, uri), uri
    call(small.address, "end_session", session=mine)
    assert "no such session" in unread(small.address, str(found.content[2].uri))


def unread(address: str, uri: str) -> str:
    """Why a resource cannot be read."""

    async def fail(session: ClientSession) -> McpError:
        with pytest.raises(McpError) as failed:
            await session.read_resource(AnyUrl(uri))
        return failed.value

    error = ask(address, fail).error
    assert error.code == -32002
    return str(error.message)


def test_the_view_of_results_and_the_templates_are_listed(small: Served) -> None:
    async def look(session: ClientSession) -> Any:
        listed, templates = await session.list_resources(), await session.list_resource_templates()
        return (
            listed.resources,
            templates.resourceTemplates,
            await session.read_resource(listed.resources[0].uri),
        )

    (listed,), templates, view = ask(small.address, look)
    assert (str(listed.uri), listed.mimeType) == ("ui://metaembed-demo/explain", "text/html;profile=mcp-app")
    assert [each.uriTemplate for each in templates] == [mcp_resources.CARD, mcp_resources.PICTURE]
    assert view.contents[0].text.startswith("<!DOCTYPE html>")


def test_the_app_runs_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    base = samples(DummyEncoder())
    api = Api(Visits(Tools(DummyEncoder()), base), base)

    def addresses() -> set[str]:
        options = launch.options(api, SERVER, LIMITS, tmp_path, lambda: True)
        return {route.path for route in options["app_kwargs"]["routes"]}

    with monkeypatch.context() as without:
        without.setitem(sys.modules, "mcp.server.fastmcp.exceptions", None)
        importlib.reload(mcp_server)
        assert addresses() == {"/health", pictures.PATH, plotly_script.PATH, share_card.PATH}
    importlib.reload(mcp_server)
    assert addresses() == {
        *("/health", pictures.PATH, plotly_script.PATH, share_card.PATH),
        *(PATH, f"{PATH}/", f"{PATH}/schema"),
    }


def test_a_token_is_asked_for(locked: Served) -> None:
    hello = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"Accept": "application/json, text/event-stream"}
    for authorization in ("", "Bearer", "Bearer wrong", "Basic a-token", "Bearer a-token2", "a-token"):
        got = httpx.post(
            locked.address + PATH, json=hello, headers={**accept, "Authorization": authorization}
        )
        assert got.status_code == 401, authorization
        assert got.headers["www-authenticate"] == "Bearer"
    reading = {**hello, "method": "resources/read", "params": {"uri": mcp_resources.VIEW}}
    assert httpx.post(locked.address + PATH, json=reading, headers=accept).status_code == 401
    assert httpx.get(f"{locked.address}{PATH}/schema").status_code == 401
    listed = ask(locked.address, lambda session: session.list_tools(), Authorization="Bearer a-token")
    assert sorted(tool.name for tool in listed.tools) == TOOLS


def test_of_many_wrong_files_the_first_is_told(small: Served) -> None:
    for files in ([{}] * 90, [{}] * 101, [{"name": "a" * 256, "content_base64": ""}]):
        told = refusal(small.address, "index", files=files)
        assert len(told) < 1000
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    for files in ("[" + "{}," * 100_000 + "{}]", json.dumps("[" + "{}," * 100_000 + "{}]")):
        content = json.dumps({**body, "params": {"name": "index", "arguments": {"files": 0}}})
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        got = httpx.post(
            small.address + PATH, content=content.replace(": 0}", f": {files}}}"), headers=headers, timeout=60
        )
        assert (got.status_code, len(got.content) < 200) == (413, True)
