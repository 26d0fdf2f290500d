"""An agent's way with the app as a user starts it: it searches and explains, and its host shows the card."""

from __future__ import annotations

import base64
import io
import json
import re
from html import escape
from typing import Any

import pytest
from mcp import ClientSession
from PIL import Image
from playwright.sync_api import Browser, Page

from metaembed_demo.app.server import mcp_resources
from tests.app.test_mcp import ask

QUERY = "How do I descale the machine?"
# What a host of MCP Apps lets a view do that names no addresses.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'none'"
)
# A host: it answers the view's greeting, brings it the result of the call, and keeps what the view says.
HOST = """<!DOCTYPE html><style>body { margin: 0 } iframe { border: 0; width: 100% }</style>
<iframe sandbox="allow-scripts" srcdoc="VIEW"></iframe><script>
const view = document.querySelector("iframe"), told = (window.told = []);
addEventListener("message", ({ data }) => {
  told.push(data);
  const send = (message) => view.contentWindow.postMessage({ jsonrpc: "2.0", ...message }, "*");
  if (data.method === "ui/initialize") {
    send({ id: data.id, result: { protocolVersion: "2026-01-26", hostContext: { theme: "THEME" } } });
  }
  if (data.method === "ui/notifications/initialized") {
    send({ method: "ui/notifications/tool-result", params: RESULT });
  }
  if (data.method === "ui/notifications/size-changed") view.style.height = data.params.height + "px";
});
</script>"""


@pytest.fixture(scope="module")
def explained(address: str) -> dict[str, Any]:
    """What an agent and its host get: a hit, its explanation, the view, the card and the picture."""

    async def talk(session: ClientSession) -> dict[str, Any]:
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        found = await session.call_tool("search", {"query": QUERY, "k": 3})
        hit = found.structuredContent["hits"][0]
        why = await session.call_tool("explain", {"page_id": hit["page_id"], "query": QUERY})
        view = await session.read_resource(tools["explain"].meta["ui"]["resourceUri"])
        card, picture = [await session.read_resource(link.uri) for link in why.content[1:]]
        return {
            "hit": hit,
            "result": why.model_dump(by_alias=True, mode="json"),
            "view": view.contents[0].text,
            "card": card.contents[0].text,
            "picture": base64.b64decode(picture.contents[0].blob),
        }

    found: dict[str, Any] = ask(address, talk)
    return found


def test_a_card_holds_the_page_with_its_words_and_shares(explained: dict[str, Any], address: str) -> None:
    hit, answer, card = explained["hit"], explained["result"]["structuredContent"], explained["card"]
    assert (hit["source"], hit["page"]) == ("coffee-manual.pdf", 7)
    words = answer["explanation"]["words"]
    assert "descale" in [word["text"] for word in words]
    rows = re.findall(r"<li data-word=\"\d+\"><span>([^<]+)</span>.*?<b>([\d.]+%)</b>", card)
    named = [word for word in words if word["text"]][:10]
    assert rows == [(escape(word["text"]), f"{word['share'] * 100:.1f}%") for word in named]
    assert f"<b>{hit['score']:.2f}</b> MaxSim" in card
    assert sum(map(float, re.findall(r"</i>[\d–]+ <b>([\d.]+)</b>", card))) == pytest.approx(
        hit["score"], abs=0.05
    )
    assert f'href="{address}/?q=How+do+I+descale' in card
    inside = re.search(r'<img src="data:image/webp;base64,([^"]+)"', card)
    assert inside
    small, whole = (
        Image.open(io.BytesIO(data)) for data in (base64.b64decode(inside[1]), explained["picture"])
    )
    assert small.width / small.height == pytest.approx(whole.width / whole.height, abs=0.01)
    assert len(json.dumps(answer)) < 8_000  # what a model reads of it


@pytest.mark.parametrize("width", [390, 800])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_host_shows_it(explained: dict[str, Any], browser: Browser, width: int, theme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 700})
    asked: list[str] = []
    page.on(
        "request", lambda request: request.url.startswith(("data:", "about:")) or asked.append(request.url)
    )
    faults: list[str] = []
    page.on("console", lambda said: said.type == "error" and faults.append(said.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    try:
        _show(page, explained, theme)
        view = page.frame_locator("iframe")
        view.locator(".words li").first.wait_for()
        seen = view.locator("body").evaluate(
            """body => ({
                dark: getComputedStyle(body).backgroundColor === "rgb(17, 19, 23)",
                wide: document.documentElement.scrollWidth - innerWidth,
                image: document.images[0].naturalWidth,
                marks: [...document.querySelectorAll("rect")].filter((r) => r.getBBox().width > 1).length,
                beside: document.querySelector(".why").getBoundingClientRect().left > innerWidth / 2,
            })"""
        )
        assert (seen["dark"], seen["beside"]) == (theme == "dark", width == 800)
        assert seen["wide"] <= 0
        assert seen["image"] > 400
        assert seen["marks"] > 3
        view.locator(".words li").first.hover()
        assert view.locator("rect.here").count() == 1
        view.get_by_text("Open this search").click()
        page.wait_for_function("told.some((each) => each.method === 'ui/open-link')")
        methods = [each["method"] for each in page.evaluate("told")]
        assert methods[:3] == [
            "ui/initialize",
            "ui/notifications/initialized",
            "ui/notifications/size-changed",
        ]
        assert (asked, faults) == ([], [])
    finally:
        page.close()


def _show(page: Page, explained: dict[str, Any], theme: str) -> None:
    meta = f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
    view = explained["view"].replace("<head>", f"<head>{meta}", 1)
    result = json.dumps({"_meta": explained["result"]["_meta"], "content": []}).replace("</", "<\\/")
    host = HOST.replace("VIEW", escape(view)).replace("THEME", theme).replace("RESULT", result)
    page.set_content(host)


def test_a_failed_call_is_told(explained: dict[str, Any], browser: Browser) -> None:
    page = browser.new_page()
    failed = {"isError": True, "content": [{"type": "text", "text": "<b>no such session</b>"}]}
    host = HOST.replace("VIEW", escape(explained["view"])).replace("RESULT", json.dumps(failed))
    page.set_content(host.replace("THEME", "light"))
    page.frame_locator("iframe").get_by_text("<b>no such session</b>").wait_for()
    page.close()


def test_it_is_named_as_the_code_names_it(explained: dict[str, Any]) -> None:
    assert list(explained["result"]["_meta"]) == [mcp_resources.KEY]
    assert f'"{mcp_resources.KEY}"' in explained["view"]
