"""The cookie that names a visitor: how it is set, and which ones are taken."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from metaembed_demo.app.server import visitor_cookie
from metaembed_demo.app.server.access import RUN
from metaembed_demo.app.server.visitor_cookie import NAME, VisitorCookie, attributes, make, visitor_of

JOIN = "/gradio_api/queue/join"


@pytest.fixture
def client() -> Iterator[TestClient]:
    """Answers every request with the visitor that it comes from, and what other cookies it brings."""

    async def answer(request: Request) -> PlainTextResponse:
        others = {name: value for name, value in request.cookies.items() if name != NAME}
        return PlainTextResponse(f"{visitor_of(request.cookies)} {others}")

    app = Starlette(
        routes=[Route("/{path:path}", answer, methods=["GET", "POST"])],
        middleware=[Middleware(VisitorCookie)],
    )
    with TestClient(app) as found:
        yield found


def visitor(text: str) -> str:
    return text.split(" ", 1)[0]


def test_a_cookie_names_its_visitor_and_no_other() -> None:
    made = make()
    named = visitor_of({NAME: made})
    assert named == made.partition(".")[0]
    assert len(named) == 32
    assert make() != made
    token, mark = made.split(".")
    wrong = [
        "",
        token,
        f"{token}.",
        f".{mark}",
        f"{token}.{'0' * 32}",
        f"{token}.{mark[:-1]}",
        f"{token}.{mark}0",
        f"{token}.{mark.upper()}" if mark.upper() != mark else "x",
        f"{token[:-1]}{'A' if token[-1] != 'A' else 'B'}.{mark}",
        f"{make().split('.')[0]}.{mark}",
        f"{token}.{mark}\n",
        f" {made}",
        f"{'é' * 32}.{mark}",
        f"{token}.{'٣' * 32}",
    ]
    assert [value for value in wrong if visitor_of({NAME: value}) is not None] == []
    assert visitor_of({}) is None
    assert visitor_of({"other": made}) is None


def test_a_cookie_of_another_process_is_no_cookie_here(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make()
    monkeypatch.setattr(visitor_cookie, "_KEY", b"of another process")
    assert visitor_of({NAME: made}) is None


def test_its_attributes_keep_scripts_and_other_sites_out() -> None:
    assert attributes("") == "Path=/; HttpOnly; SameSite=Lax"
    assert attributes("/demo") == "Path=/demo; HttpOnly; SameSite=Lax"
    framed = attributes("", space=True).split("; ")
    assert set(framed) == {"Path=/", "HttpOnly", "SameSite=None", "Secure", "Partitioned"}


def test_it_comes_with_the_page_or_the_first_event_and_only_once(client: TestClient) -> None:
    for method, path in (("GET", "/"), ("POST", JOIN), ("POST", JOIN + "/"), ("POST", RUN)):
        client.cookies.clear()
        got = client.request(method, path)
        (line,) = got.headers.get_list("set-cookie")
        assert re.fullmatch(rf"{NAME}=[\w-]{{32}}\.[0-9a-f]{{32}}; Path=/; HttpOnly; SameSite=Lax", line)
        named = visitor(got.text)
        assert line.startswith(f"{NAME}={named}."), "the first event has it already"
        for again in ("/", "/config", JOIN):
            got = client.post(again) if again == JOIN else client.get(again)
            assert "set-cookie" not in got.headers
            assert visitor(got.text) == named


@pytest.mark.parametrize(
    "path", ["/config", "/health", "/pictures/key/page/page.jpg", "/gradio_api/call/search"]
)
def test_nothing_else_makes_a_visitor(client: TestClient, path: str) -> None:
    got = client.get(path)
    assert "set-cookie" not in got.headers
    assert visitor(got.text) == "None"


@pytest.mark.parametrize("value", ["", "x", "a" * 32 + "." + "0" * 32, "%00", "../" * 20])
def test_a_forged_cookie_is_replaced(client: TestClient, value: str) -> None:
    got = client.get("/", headers={"Cookie": f"{NAME}={value}; theme=dark"})
    (line,) = got.headers.get_list("set-cookie")
    assert line.startswith(f"{NAME}={visitor(got.text)}.")
    assert "'theme': 'dark'" in got.text
    token = value.split(".")[0]
    assert visitor(got.text) != token


@pytest.mark.parametrize(
    "others", ['prefs={"a": 1}', "a[0]=1", "x=a b", "é=ü", 'q="1\\073 2"', "lonely", ";;", "=;", "naïve=1,2"]
)
def test_whatever_other_cookies_a_browser_has_it_keeps_its_visitor_and_them(
    client: TestClient, others: str
) -> None:
    """Cookies of a host go to all its ports, so those of other programs come along."""
    alone = client.get("/config", headers={"Cookie": others.encode("latin-1")}).text.split(" ", 1)[1]
    first = client.get("/", headers={"Cookie": others.encode("latin-1")})
    assert first.text.split(" ", 1)[1] == alone, "such as the login of Gradio"
    made = first.headers["set-cookie"].split(";")[0]
    client.cookies.clear()
    for cookie in (f"{others}; {made}", f"{made}; {others}"):
        got = client.post(JOIN, headers={"Cookie": cookie.encode("latin-1")})
        assert "set-cookie" not in got.headers
        assert visitor(got.text) == visitor(first.text)
        client.cookies.clear()
