"""What reaches the app: by address, origin, length and tab, and what goes back. The app tells what it got."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from metaembed_demo.app.server import access, visitor_cookie
from metaembed_demo.app.server.access import CANCEL, JOIN, RUN, UPLOAD, Guard
from metaembed_demo.app.server.refusals import FAILED
from metaembed_demo.core.config import LIMITS

CROSS = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
FORM = {"Content-Type": "multipart/form-data; boundary=xx"}
FRAMED = b'--xx\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\na\r\n--xx--\r\n'


class Events:
    """Two functions and two events; one event of a tab is running."""

    def __init__(self) -> None:
        self.tabs: dict[str, str] = {}

    def has_call(self, name: str) -> bool:
        return name in ("search", "index")

    def has_event(self, number: Any) -> bool:
        return number in (0, 1)

    def tab_of(self, event_id: str) -> str | None:
        return self.tabs.get(event_id)


async def answer(request: Request) -> Response:
    path = request.url.path
    if path == access.LOGIN:
        status = {b"password=right": 200, b"password=wrong": 400}.get(await request.body(), 422)
        return PlainTextResponse("malformed: <b>you</b>", status)
    if path == "/robots.txt":
        raise RuntimeError("a secret")
    if path == "/gradio_api/queue/status":
        raise HTTPException(404)
    if path == "/gradio_api/app_id":
        return StreamingResponse(broken(), media_type="text/event-stream")
    sent = await request.json() if request.method == "POST" and path != UPLOAD else None
    got = {"path": path, "query": request.url.query, "sent": sent, "headers": dict(request.headers)}
    return JSONResponse(got, headers={"Referrer-Policy": "unsafe-url", "Cache-Control": "public"})


async def broken() -> Any:
    yield "data: no such tab\n\n"
    raise HTTPException(404)


Asker = Callable[..., TestClient]


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def client(tmp_path: Path, events: Events) -> Asker:
    """Makes clients of one guarded app; each has its own cookies."""
    limits = LIMITS.model_copy(update={"max_guesses": 3, "reads_per_minute": 200, "max_connections": 5})
    guard = Middleware(Guard, limits=limits, folder=tmp_path, secrets={}, events=events)
    app = Starlette(
        routes=[Route("/{path:path}", answer, methods=["GET", "POST", "OPTIONS"])], middleware=[guard]
    )

    def make(address: str = "192.0.2.1", visitor: str = "") -> TestClient:
        made = TestClient(app, client=(address, 1), follow_redirects=False)
        if visitor:
            made.headers["Cookie"] = f"{visitor_cookie.NAME}={visitor}"
        return made

    return make


# Origins


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("POST", JOIN, {"Origin": "https://evil.example"}, 403),
        ("POST", JOIN, {"Origin": "null"}, 403),
        ("POST", JOIN, {"Origin": "http://testserver.evil.example"}, 403),
        ("POST", JOIN, {"Origin": "http://testserver"}, 200),
        ("POST", JOIN, {"Origin": "https://testserver"}, 200),  # a proxy ends TLS
        ("POST", JOIN, {"Origin": "https://testserver:8443"}, 403),
        ("POST", JOIN, {"Origin": "https://public.example", "Sec-Fetch-Site": "same-origin"}, 200),
        ("POST", JOIN, CROSS, 403),
        ("POST", JOIN, LINK, 403),  # a form
        ("POST", JOIN, {"Sec-Fetch-Site": "same-site"}, 403),
        ("POST", access.LOGIN, LINK, 403),
        ("POST", UPLOAD, LINK, 403),
        ("OPTIONS", JOIN, {"Origin": "https://evil.example"}, 403),
        ("GET", "/config", {"Origin": "https://evil.example"}, 403),
        ("GET", "/", LINK, 200),
        ("GET", "/", {"Referer": "https://evil.example/"}, 200),
        ("GET", "/logout", LINK, 403),
        ("GET", "/logout", CROSS, 403),
        ("GET", "/logout/", {"Sec-Fetch-Site": "same-site"}, 403),
        ("GET", "/logout", {"Referer": "https://evil.example/"}, 403),
        ("GET", "/logout", {"Referer": "http://testserver/"}, 200),
        ("GET", "/logout", {"Sec-Fetch-Site": "none"}, 200),
        ("GET", "/logout", {}, 200),
        ("GET", "/", {"Host": "a b"}, 400),
        ("GET", "/", {"Host": 'a"><script>'}, 400),
        ("GET", "/", {"Host": "my_host.example:7860"}, 200),
        ("GET", "/", {"Host": "[::1]:7860"}, 200),
    ],
)
def test_other_sites_send_nothing(
    client: Asker, method: str, path: str, headers: dict[str, str], expected: int
) -> None:
    body = {"json": {"fn_index": 1}} if method == "POST" else {}
    assert client().request(method, path, headers=headers, **body).status_code == expected


def test_what_clients_claim_is_not_passed_on(client: Asker) -> None:
    claims = {
        "X-Forwarded-Host": "evil.example",
        "X-Gradio-Server": "http://evil.example",
        "Forwarded": "host=e",
    }
    got = client().get("/config", headers={**claims, "Cookie": "a=b"}).json()["headers"]
    assert got["cookie"] == "a=b"
    assert not {name.lower() for name in claims} & set(got)
    assert "cookie" not in client().get("/config", headers={**CROSS, "Cookie": "a=b"}).json()["headers"]


# Tabs


def test_a_tab_s_name_is_its_visitor_s(client: Asker) -> None:
    made = [visitor_cookie.make() for _ in range(2)]
    askers = [client(visitor=made[0]), client(visitor=made[1]), client(), client("192.0.2.2")]

    def names(asker: TestClient, given: str) -> set[str]:
        stream = asker.get(f"/gradio_api/queue/data?session_hash={given}&a=b").json()["query"]
        beat = asker.get(f"/gradio_api/heartbeat/{given}").json()["path"]
        found = {stream.removeprefix("session_hash="), beat.removeprefix("/gradio_api/heartbeat/")}
        for path in (JOIN, RUN, CANCEL, "/gradio_api/reset"):
            sent = asker.post(path, json={"session_hash": given, "fn_index": 1, "event_id": "e"}).json()[
                "sent"
            ]
            found.add(sent["session_hash"])
        return found

    named = [names(asker, "abc123") for asker in askers]
    assert [len(each) for each in named] == [1, 1, 1, 1], "the same by whatever route"
    assert len(set.union(*named)) == 4, "and another for everybody else"
    assert names(client("192.0.2.9", visitor=made[0]), "abc123") == named[0]
    assert names(askers[0], "abc124") != named[0]
    (real,) = named[0]
    assert real not in names(askers[1], real)


def test_what_is_no_name_is_refused(client: Asker) -> None:
    asker = client()
    for given in ("a" * 65, "a/b", "", "é", 5, ["a"], {"a": 1}):
        assert asker.post(JOIN, json={"session_hash": given}).status_code in (400, 404), given
    assert asker.get("/gradio_api/queue/data").status_code == 400
    assert asker.get("/gradio_api/queue/data?session_hash=" + "a" * 65).status_code == 400
    assert asker.get("/gradio_api/heartbeat/" + "a" * 65).status_code == 404
    assert asker.get("/static/img/" + "a" * 1500).status_code == 404, "no file has such a name"


def test_an_event_is_cancelled_and_heard_by_its_tab_alone(client: Asker, events: Events) -> None:
    owner, other = client(visitor=visitor_cookie.make()), client(visitor=visitor_cookie.make())
    asked = {"session_hash": "abc", "fn_index": 1, "event_id": "e1"}
    tab = owner.post(JOIN, json=asked).json()["sent"]["session_hash"]
    events.tabs = {"e1": tab, "e2": "e2"}  # the second is a plain call, which belongs to who has its name
    assert other.post(CANCEL, json=asked).status_code == 404
    assert other.post(CANCEL, json={**asked, "session_hash": tab}).status_code == 404
    assert owner.post(CANCEL, json=asked).status_code == 200
    assert other.post(CANCEL, json={**asked, "event_id": "e2"}).status_code == 200
    assert owner.get("/gradio_api/call/search/e1").status_code == 404
    assert owner.get("/gradio_api/call/search/e2").status_code == 200
    # A call's answer does not arrive in somebody's tab.
    assert other.post("/gradio_api/call/search", json={"data": [], "session_hash": tab}).json()["sent"] == {
        "data": []
    }


def test_what_there_is_not_is_not_found(client: Asker) -> None:
    asker = client()
    for path in (
        "/gradio_api/call/nothing",
        "/gradio_api/call/v2/nothing",
        "/nothing",
        "/gradio_api/upload_progress",
    ):
        assert asker.post(path, json={"data": []}).status_code == 404
    for path in (JOIN, RUN):
        for number in (2, "1", -1):
            assert asker.post(path, json={"fn_index": number, "session_hash": "a"}).status_code == 404


def test_what_ends_or_holds_a_tab_wants_the_login(tmp_path: Path, events: Events) -> None:
    def user_of(scope: Any) -> str | None:
        return "someone" if b"in=1" in dict(scope["headers"]).get(b"cookie", b"") else None

    guard = Middleware(Guard, limits=LIMITS, folder=tmp_path, secrets={}, events=events, user_of=user_of)
    routes = [Route("/{path:path}", answer, methods=["GET", "POST"])]
    asker = TestClient(Starlette(routes=routes, middleware=[guard]))
    asked = {"session_hash": "abc", "fn_index": 1, "event_id": "e"}

    def all_statuses(**headers: str) -> set[int]:
        found = {asker.get("/gradio_api/heartbeat/abc", headers=headers).status_code}
        for path in (CANCEL, CANCEL + "/", access.RESET):
            found.add(asker.post(path, json=asked, headers=headers).status_code)
        return found

    assert all_statuses() == {401}
    assert all_statuses(Cookie="in=1") == {200}
    assert asker.get("/").status_code == 200, "the login page"


# Length and number


def test_addresses_headers_and_bodies_are_short(client: Asker) -> None:
    asker = client()
    assert asker.get("/static/" + "a" * 2100).status_code == 414
    assert asker.get("/gradio_api/queue/data?session_hash=" + "a" * 50_000).status_code == 414
    assert asker.get("/", headers={"X-Long": "a" * 20_000}).status_code == 431
    assert asker.post(access.LOGIN, content=b"a" * 5000).status_code == 413
    assert asker.post(CANCEL, content=b"[" + b" " * 5000 + b"]").status_code == 413
    assert asker.post(JOIN, content=b"[" + b"{}," * 30_000 + b"{}]").status_code == 413
    assert asker.post(JOIN, content=b"[" * 10_000).status_code == 400
    assert asker.post(JOIN, content=b"[]").status_code == 400
    bad = {"Content-Type": "multipart/form-data; boundary=xx; charset=punycode"}
    assert asker.post(UPLOAD, content=FRAMED, headers=bad).status_code == 415
    assert client("192.0.2.7").post(access.LOGIN, content=FRAMED, headers=bad).status_code == 415
    assert asker.post(UPLOAD, content=FRAMED, headers=FORM).status_code == 200
    upload_id = asker.post(UPLOAD + "?upload_id=" + "a" * 9000, content=FRAMED, headers=FORM)
    assert upload_id.json()["query"] == "", "it would stay in memory"


def test_what_reads_is_counted_as_well(client: Asker) -> None:
    asker = client("192.0.2.50")
    assert {asker.get("/nothing").status_code for _ in range(200)} == {404}
    assert any(asker.get("/nothing").status_code == 429 for _ in range(1000))
    assert asker.get("/health").status_code == 200
    assert client("192.0.2.51").get("/config").status_code == 200


def test_a_malformed_login_is_a_guess_and_another_site_s_is_none(client: Asker) -> None:
    def enter(address: str, body: bytes, **headers: str) -> int:
        return client(address).post(access.LOGIN, content=body, headers=headers).status_code

    malformed = [b"password=", b"\xff" * 5000, b"password=wrong", b"password=right"]
    assert [enter("192.0.2.60", body) for body in malformed] == [422, 413, 400, 429]
    for _ in range(4):
        assert enter("192.0.2.61", b"password=wrong", Origin="https://evil.example") == 403
        assert enter("192.0.2.61", b"password=wrong") == 400
        assert enter("192.0.2.61", b"password=right") == 200
    # Nor does another site's take a guess back.
    told = [enter("192.0.2.62", b"password=wrong"), enter("192.0.2.62", b"", Origin="null")] * 4
    assert [enter("192.0.2.62", b"password=right"), told[-2]] == [200, 400]
    for _ in range(3):
        enter("192.0.2.63", b"password=wrong")
        enter("192.0.2.63", b"", Origin="null")
    assert enter("192.0.2.63", b"password=right") == 429


# Answers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/config", 200),
        ("/nothing", 404),
        ("/gradio_api/queue/status", 404),
        ("/robots.txt", 500),
        ("/static/" + "a" * 3000, 414),
        (f"/gradio_api/{'app_id'}", 200),
    ],
)
def test_every_answer_has_the_headers(client: Asker, path: str, status: int) -> None:
    got = client().get(path)
    assert got.status_code == status
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers.get_list("referrer-policy") == ["same-origin"]
    assert got.headers["content-security-policy"] == "frame-ancestors 'self'"
    assert path == "/robots.txt" or got.headers.get_list("cache-control") == ["no-store"]
    assert "secret" not in got.text
    assert status != 500 or got.json()["error"] == FAILED


def test_pictures_and_assets_are_kept(client: Asker) -> None:
    for path in ("/pictures/a/b/c.jpg", "/static/a.css", "/gradio_api/theme.css"):
        assert client().get(path).headers["cache-control"] == "public"
    assert client().get("/gradio_api/info").headers["cache-control"] == "no-store"


def test_a_malformed_request_is_not_repeated(client: Asker) -> None:
    got = client().post(access.LOGIN, content=b"<b>")
    assert (got.status_code, "you" in got.text) == (422, False)
    assert re.fullmatch(r"[\w .]+", got.json()["detail"])
