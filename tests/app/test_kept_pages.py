"""The page is rendered once, for whoever asks, and tells each the address that they asked."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Scope

from metaembed_demo.app.server.kept_pages import MOST, KeptPages


@dataclass
class Made:
    rendered: list[str] = field(default_factory=list)
    ready: bool = True

    async def render(self, request: Request) -> Response:
        user = request.cookies.get("user", "")
        self.rendered.append(f"{request.url.path} {user}")
        if user == "nobody" and request.url.path == "/config":
            return JSONResponse({"detail": "Not authenticated"}, 401)
        root = str(request.base_url).rstrip("/")
        return JSONResponse({"root": root, "user": user, "query": request.url.query})

    @staticmethod
    def user_of(scope: Scope) -> str | None:
        user = Request(scope).cookies.get("user", "")
        return None if user == "nobody" else user

    def client(self) -> TestClient:
        kept = Middleware(KeptPages, ready=lambda: self.ready, user_of=self.user_of)
        route = Route("/{path:path}", self.render, methods=["GET", "POST"])
        return TestClient(Starlette(routes=[route], middleware=[kept]))


@pytest.fixture
def made() -> Made:
    return Made()


def test_it_is_rendered_once_and_tells_everybody_their_own_address(made: Made) -> None:
    client = made.client()
    for host in ("a.example", "b.example:81", "[::1]:7860"):
        for _ in range(2):
            for scheme in ("http", "https"):
                headers = {"Host": host, "X-Forwarded-Proto": scheme, "X-Forwarded-Host": "evil.example"}
                got = client.get("/?q=dog&page=x&deep_link=y", headers=headers)
                assert got.json() == {"root": f"{scheme}://{host}", "user": "", "query": ""}
    assert made.rendered == ["/ "]
    plain = client.get("/", headers={"Accept-Encoding": "br", "Host": "a.example"})
    assert "content-encoding" not in plain.headers
    packed = client.get("/", headers={"Accept-Encoding": "gzip", "Host": "a.example"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content == gzip.decompress(gzip.compress(plain.content))
    assert client.head("/").status_code == 200
    assert made.rendered == ["/ "]


def test_who_is_logged_in_sees_their_own(made: Made) -> None:
    client = made.client()
    for _ in range(2):
        for user in ("ann", "bob", "nobody"):
            client.cookies.set("user", user)
            assert client.get("/").json()["user"] == user
            got = client.get("/config")
            assert got.status_code == (401 if user == "nobody" else 200)
    assert sorted(made.rendered) == sorted(
        ["/ ann", "/ bob", "/ nobody", "/config ann", "/config bob", *["/config nobody"] * 2]
    )


def test_few_copies_are_kept_and_none_until_the_app_is_ready(made: Made) -> None:
    client, made.ready = made.client(), False
    assert [client.get("/").json()["root"] for _ in range(2)] == ["http://testserver"] * 2
    assert len(made.rendered) == 2
    made.ready = True
    for number in range(2 * MOST):
        client.get("/", headers={"Host": f"{number}.example"})
    assert len(made.rendered) == 3
    assert client.post("/").json()["query"] == ""
    assert client.get("/other").status_code == 200
    assert len(made.rendered) == 5
