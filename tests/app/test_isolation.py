"""A second client tries to see, find, fetch or delete what is another's, by every route there is."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from gradio_client.utils import Status
from PIL import Image, ImageDraw
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from metaembed_demo.app.server import access
from metaembed_demo.app.server.access import RUN, Guard
from metaembed_demo.app.visitors import uploads
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.session import Full, Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.uploads import UploadedFiles
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.types import Upload
from metaembed_demo.explain.explainer import Explainer
from metaembed_demo.explain.page_cache import PageCache
from tests.support.app_server import Served, Tab, until
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import make_page
from tests.support.small_app import samples


def drawing(text: str) -> bytes:
    image = Image.new("RGB", (320, 120), "white")
    ImageDraw.Draw(image).text((20, 40), text, fill="black", font_size=32)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def mine(small: Served, tmp_path: Path) -> Iterator[tuple[Client, str, str]]:
    """A client with a page of its own: the client, its session, the page's id."""
    (tmp_path / "walrus.png").write_bytes(drawing("private walrus"))
    client = Client(small.address, verbose=False)
    session = client.predict([handle_file(str(tmp_path / "walrus.png"))], api_name="/index")["session"]
    found = client.predict("walrus", "16x64", 1, session, api_name="/search")
    assert found["hits"][0]["source"] == "walrus.png"
    yield client, session, found["hits"][0]["page_id"]
    client.predict(session, api_name="/end_session")


def test_a_file_s_name_is_shown_as_it_is(small: Served) -> None:
    """Gradio shows messages as HTML."""
    tab = Tab(small.address)
    path = tab.upload("a.png", bytes(301_000))
    name = "<img src=x onerror=alert(1)>.png"
    told = tab.send("picture", "upload", {"files": [{"path": path, "name": name}]}, data=[""])
    assert "&lt;img src=x onerror=alert(1)&gt;.png (" in told
    assert name not in told


# The API


def test_the_api_gives_nothing_of_another_s(small: Served, mine: tuple[Client, str, str]) -> None:
    _, session, page = mine
    other = Client(small.address, verbose=False)
    own = other.predict(api_name="/new_session")["session"]
    assert own != session
    for place in ("", own):
        hits = other.predict("walrus", "16x64", 100, place, api_name="/search")["hits"]
        assert page not in {hit["page_id"] for hit in hits}
        assert len(hits) == 4
        listed = other.predict(place, api_name="/documents")["documents"]
        assert "walrus.png" not in {document["source"] for document in listed}
        with pytest.raises(AppError, match="no page with this page_id"):
            other.predict(page, "walrus", "16x64", place, api_name="/explain")
    with pytest.raises(AppError, match="no document called"):
        other.predict("walrus.png", own, api_name="/delete")
    other.predict("dog.pdf", own, api_name="/delete")  # of the samples, in one's own session
    assert other.predict(api_name="/documents")["pages"] == 4
    assert mine[0].predict(session, api_name="/documents")["pages"] == 5
    other.predict(own, api_name="/end_session")


def test_tokens_are_not_guessed(small: Served, mine: tuple[Client, str, str]) -> None:
    _, session, _ = mine
    assert re.fullmatch(r"[\w-]{32}", session)
    other = Client(small.address, verbose=False)
    near = (session[:-1], session + "A", session.swapcase(), f" {session}", session[::-1], "*", "%", "null")
    wrong = (None, 0, True, [session], {"session": session}, {"$ne": ""}, "\0", "../" + session)
    for guess in (*near, *wrong, ""):
        for name, asked in (("delete", ("walrus.png", guess)), ("end_session", (guess,))):
            with pytest.raises(AppError, match=r"no such session|is to be the token"):
                other.predict(*asked, api_name=f"/{name}")
        if guess not in (None, ""):  # these two stand for the sample corpus
            with pytest.raises(AppError, match=r"no such session|is to be the token"):
                other.predict("walrus", "16x64", 9, guess, api_name="/search")
    assert mine[0].predict(session, api_name="/documents")["pages"] == 5


# The page


def test_a_tab_cannot_name_another_s_session(small: Served, mine: tuple[Client, str, str]) -> None:
    _, session, page = mine
    tab = Tab(small.address)
    # A browser is known by its cookie; what else it sends is not looked at.
    told = tab.send(None, "load", data=[session])
    assert "dog.pdf" in told
    assert "walrus" not in told
    assert session not in told
    for name, event, more in (
        ("listing", "delete", {"source": "walrus.png"}),
        ("results", "select", {"page": page}),
        ("ranks", "select", {"page": page, "stop": 4}),
        ("listing", "submit", {"action": "clear"}),
    ):
        assert "walrus" not in tab.send(name, event, more, data=[session])
    client = httpx.Client(base_url=small.address, headers={"Cookie": f"metaembed_visitor={session}"})
    assert "walrus" not in Tab(small.address, client).send(None, "load")
    tab.hash = session
    assert "walrus" not in tab.send(None, "load")
    assert mine[0].predict(session, api_name="/documents")["pages"] == 5


def test_the_name_of_another_s_tab_opens_nothing(small: Served) -> None:
    """Gradio's `session_hash`, by which it knows a tab, is drawn by the tab's script and no secret."""
    mine, theirs = Tab(small.address), Tab(small.address)
    mine.send(None, "load")
    theirs.hash = mine.hash
    mine.send("query", "submit", data=["dog"])
    # What they hear is not what was asked, and what they ask is not heard in this tab.
    mine.join("listing", "submit", {"action": "query", "value": "coffee zebra"})
    told = theirs.http.get("/gradio_api/queue/data", params={"session_hash": mine.hash}).text
    assert '"session_not_found":true' in told
    assert "zebra" not in told
    theirs.join("listing", "submit", {"action": "query", "value": "holiday walrus"})
    told = mine.hear(1)
    assert "zebra" in told
    assert "walrus" not in told
    # Nor does a stream that ends close the tab for its visitor.
    with theirs.http.stream("GET", f"/gradio_api/heartbeat/{mine.hash}") as beat:
        next(beat.iter_lines())
    assert "dog" in mine.send("query", "submit", data=["dog"])


def test_what_a_browser_is_told_opens_no_session_of_the_api(small: Served) -> None:
    tab = Tab(small.address)
    told = tab.send(None, "load") + tab.send("query", "submit", data=["dog"])
    client = Client(small.address, verbose=False)
    (key,) = set(re.findall(r"pictures/([\w-]+)/", told))
    cookie = tab.http.cookies["metaembed_visitor"]
    for guess in (key, cookie, cookie.split(".")[0], tab.hash):
        with pytest.raises(AppError, match="no such session"):
            client.predict(guess, api_name="/documents")


def test_a_link_to_another_s_page_opens_nothing(small: Served, mine: tuple[Client, str, str]) -> None:
    _, _, page = mine
    told = Tab(small.address).send(None, "load", query=f"?q=walrus&budget=16x64&hit={page}")
    assert "dog.pdf" in told
    assert page not in told
    assert "walrus.png" not in told


def test_what_another_uploaded_is_not_served(small: Served, tmp_path: Path) -> None:
    tab = Tab(small.address)
    path = tab.upload("diary.png", drawing("dear diary"))
    assert Path(path).exists()
    with httpx.Client(base_url=small.address) as other:
        for way in (
            f"/gradio_api/file={path}",
            f"/gradio_api/file/{path}",
            f"/file={path}",
            f"/static/{path}",
        ):
            for request in (other.get, other.head):
                assert request(way).status_code in (403, 404, 405), way
        # Gradio's place for a file is a seeded hash of its content: another's is not to be guessed.
        theirs = Path(other.post("/gradio_api/upload", files={"files": ("diary.png", b"else")}).json()[0])
        assert theirs.parent != Path(path).parent


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../../../etc/passwd",
        "/gradio_api/file=%2Fetc%2Fpasswd",
        "/gradio_api/file=..%2f..%2f..%2fetc%2fpasswd",
        "/gradio_api/file=http://127.0.0.1/",
        "/gradio_api/file=https://example.com/",
        "/gradio_api/file=file:///etc/passwd",
        "/gradio_api/file=app.py",
        "/gradio_api/proxy=http://127.0.0.1/",
        "/gradio_api/proxy=https://x.hf.space/",
        "/gradio_api/deep_link?session_hash=x",
        "/gradio_api/component_server",
        "/gradio_api/stream/x/1/1/playlist.m3u8",
        "/gradio_api/dev/reload",
        "/gradio_api/runs",
        "/gradio_api/token",
        "/gradio_api/vibe-code",
        "/gradio_api/openapi.json",
        "/gradio_api/mcp/sse",
        "/gradio_api/mcp/messages/",
        "/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/static/../../../../etc/passwd",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/custom_component/x/client/component/index.js",
        "/monitoring",
        "/docs",
        "/openapi.json",
        "//etc/passwd",
        "/gradio_api//file=/etc/passwd",
    ],
)
def test_other_addresses_are_closed(small: Served, path: str) -> None:
    with httpx.Client(base_url=small.address) as other:
        asked = other.build_request("GET", small.address)
        asked.url = asked.url.copy_with(raw_path=path.encode())  # as it stands, dots and all
        got = other.send(asked)
    assert got.status_code in (403, 404), path
    assert "root:" not in got.text


def test_no_stack_trace_reaches_a_client(small: Served) -> None:
    tab = Tab(small.address)
    for body in (b"", b"[", b"null", b'{"data": 1}', b'{"data": [], "fn_index": 99999, "session_hash": "x"}'):
        for path in ("/gradio_api/queue/join", RUN):
            headers = {"Content-Type": "application/json"}
            got = httpx.post(small.address + path, content=body, headers=headers)
            assert got.status_code >= 400
            assert "Traceback" not in got.text
    told = tab.send("dial", "input", {"stop": "not a number"})
    assert '"success":false' in told
    assert "Traceback" not in told
    assert "not a number" not in told
    assert tab.http.post("/gradio_api/run/search", json={"data": ["dog"]}).status_code == 404


# What is left when a session is over


def test_files_go_with_the_session(locked: Served, tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer a-token"}
    client = Client(locked.address, auth=("anybody", "open sesame"), headers=headers, verbose=False)
    (tmp_path / "otter.png").write_bytes(drawing("otter"))
    report = client.predict([handle_file(str(tmp_path / "otter.png"))], api_name="/index")
    assert report["added"] == 1
    assert [path for path in locked.files() if path.name == "otter.png"] == []  # read, and removed

    page = _logged_in(locked)
    page.send(None, "load")
    picture = page.upload("query.png", drawing("query"))
    told = page.send("picture", "upload", {"files": [{"path": picture, "name": "query.png"}]}, data=[""])
    assert '"success":true' in told
    assert Path(picture).exists()  # as long as it is asked with
    told = page.send("index-file", "submit", {})
    (packed,) = set(re.findall(r'/gradio_api/file=([^"\\]+metaembed-index\.zip)', told))
    assert re.search(r"/[\w-]{43}/metaembed-index\.zip$", packed)
    assert page.http.get(f"/gradio_api/file={packed}").content[:2] == b"PK"
    stranger = httpx.get(f"{locked.address}/gradio_api/file={packed}")
    assert stranger.status_code == 401  # without the password
    with page.http.stream("GET", f"/gradio_api/heartbeat/{page.hash}") as beat:
        next(beat.iter_lines())
    # The tab is closed.
    assert until(lambda: not Path(picture).exists() and not Path(packed).exists())
    assert page.http.get(f"/gradio_api/file={packed}").status_code == 404
    # So are sessions that nobody uses any more, with nobody there to notice.
    forgotten = _logged_in(locked).upload("forgotten.png", drawing("forgotten"))
    assert until(lambda: not Path(forgotten).exists())
    assert locked.files() == []
    with pytest.raises(AppError, match="no such session"):
        client.predict(report["session"], api_name="/documents")


def _logged_in(locked: Served) -> Tab:
    client = httpx.Client(base_url=locked.address, timeout=60)
    entered = client.post("/login", data={"username": "anybody", "password": "open sesame"})
    assert entered.json() == {"success": True}
    return Tab(locked.address, client)


def test_a_password_closes_all_but_health(locked: Served) -> None:
    with httpx.Client(base_url=locked.address) as other:
        assert other.get("/health").json()["status"] == "ok"
        for guess in ("", "open sesam", "open sesame ", "a-token"):
            got = other.post("/login", data={"username": "anybody", "password": guess})
            assert got.status_code in (400, 422), guess
        assert "auth_required" in other.get("/").text
        beat = "/gradio_api/heartbeat/x"
        for path in ("/config", "/gradio_api/info", "/gradio_api/queue/data?session_hash=x", beat):
            assert other.get(path).status_code == 401, path
        for path in ("/gradio_api/cancel", "/gradio_api/reset"):
            assert other.post(path, json={"session_hash": "x", "event_id": "x"}).status_code == 401
        body = {"data": ["dog"], "fn_index": 0, "session_hash": "x"}
        for path in ("/gradio_api/queue/join", RUN):
            assert other.post(path, json=body).status_code == 401
        assert other.post("/gradio_api/upload", files={"files": ("a.png", b"a")}).status_code == 401
        assert other.post("/gradio_api/call/search", json={"data": ["dog"]}).status_code == 401
        told = " ".join(other.get(path).text for path in ("/", "/health", "/config"))
        assert "open sesame" not in told
        assert "a-token" not in told


def test_the_api_wants_the_token_by_whatever_route(locked: Served) -> None:
    client = Client(locked.address, auth=("anybody", "open sesame"), verbose=False)
    for name, asked in (("search", ("dog",)), ("documents", ("",)), ("new_session", ())):
        with pytest.raises(AppError, match="needs a token"):
            client.predict(*asked, api_name=f"/{name}")
    page = _logged_in(locked)
    assert page.http.post("/gradio_api/call/search", json={"data": ["dog"]}).status_code == 401
    wrong = {"Authorization": "Bearer a-tokem"}
    client = Client(locked.address, auth=("anybody", "open sesame"), headers=wrong, verbose=False)
    with pytest.raises(AppError, match="needs a token"):
        client.predict("dog", api_name="/search")
    right = {"Authorization": "Bearer a-token"}
    client = Client(locked.address, auth=("anybody", "open sesame"), headers=right, verbose=False)
    assert client.predict("dog", api_name="/search")["hits"][0]["source"] == "dog.pdf"


def test_another_site_s_script_asks_without_the_visitor_s_login(locked: Served) -> None:
    page = _logged_in(locked)
    assert page.http.get("/gradio_api/info").status_code == 200
    script = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    assert page.http.get("/gradio_api/info", headers=script).status_code == 403
    del script["Origin"]  # such as a picture's
    assert page.http.get("/gradio_api/info", headers=script).status_code == 401
    for path in ("/gradio_api/queue/join", RUN):
        assert page.http.post(path, json={}, headers=script).status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}  # or a frame on huggingface.co
    assert "auth_required" not in page.http.get("/", headers=link).text


# Limits of the server


def test_a_full_queue_says_so(locked: Served, tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer a-token"}
    client = Client(locked.address, auth=("anybody", "open sesame"), headers=headers, verbose=False)
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(drawing(f"queue {number}"))
    files = [handle_file(str(path)) for path in sorted(tmp_path.glob("*.png"))]
    jobs = [client.submit(files, api_name="/index")]
    assert until(lambda: jobs[0].status().code == Status.PROCESSING)
    jobs.append(client.submit(files[:1], api_name="/index"))
    assert until(lambda: jobs[1].status().code == Status.IN_QUEUE)
    with pytest.raises(Exception, match=r"[Qq]ueue is full"):
        client.predict(files[:1], api_name="/index")
    assert jobs[0].result()["added"] == 6


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_full_server_takes_no_more_and_pushes_nobody_out() -> None:
    clock, allowed = (
        Clock(),
        LIMITS.model_copy(update={"max_sessions": 2, "yield_after_s": 100, "leave_after_s": 5}),
    )
    sessions = Sessions(samples(DummyEncoder()), 1000, clock, allowed)
    first, second = sessions.open(), sessions.open()
    clock.now = 50
    sessions.get(second)
    with pytest.raises(Full, match="All 2 sessions of this server are in use"):
        sessions.open()
    clock.now = 120  # the first has been unused for long enough
    with sessions.get(second).at_work():
        third = sessions.open()
        assert first not in sessions
        clock.now = 900
        fourth = sessions.open()  # in the third's place: the second is at work
        assert (second in sessions, third in sessions, fourth in sessions) == (True, False, True)
        clock.now = 5000
        assert sessions.sweep() == 1
        assert second in sessions
    assert sessions.get(second).used == 5000  # its time begins when the work is done
    sessions.leave(second)
    clock.now += 4
    assert sessions.get(second).left is None  # the connection was only lost
    sessions.leave(second)
    clock.now += 6
    assert sessions.sweep() == 1
    assert second not in sessions


def test_when_a_visit_ends_nothing_derived_from_its_pages_is_kept() -> None:
    encoder = DummyEncoder()
    base = samples(encoder)

    class Memory(Explainer):
        forgotten: tuple[str, ...] = ()

        def forget(self, pages: Iterable[StoredPage]) -> None:
            self.forgotten = tuple(page.id for page in pages)

    memory = Memory(encoder)  # type: ignore[arg-type]
    page = next(iter(base.pages.values()))
    own = replace(page, id="mine").at([("mine.pdf", 1)])
    kept: PageCache[Any] = PageCache(2)
    kept.put(page, "theirs")
    kept.put(own, "mine")
    visits = Visits(Tools(encoder, explainer=memory, token_statistics=kept), base)
    visit = visits.open()
    visit.collection.put(own, encoder.encode_pages([make_page("mine.pdf", 1, "mine")])[0])
    visits.close(visit.session.id)
    assert memory.forgotten == ("mine",)
    assert (kept.get(page), kept.get(own)) == ("theirs", None)
    assert visit.stop.is_set()


def test_sessions_share_a_file_and_remove_it_last(tmp_path: Path) -> None:
    path = tmp_path / "hash" / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"a" * 60)
    allowed = LIMITS.model_copy(update={"max_session_bytes": 100})
    one, two = UploadedFiles(tmp_path, allowed), UploadedFiles(tmp_path, allowed)
    file = Upload(path, "a.png")
    assert one.take([file]) == two.take([file]) == [file]
    assert one.take([file]) == []  # 120 bytes
    assert "over the limit of 100 B" in one.refusals()[0].message
    one.clear()
    assert path.exists()
    assert uploads.sweep(tmp_path, -1) == 0  # it is held
    assert one.take([file]) == []  # nothing comes in after the end
    two.release([file])
    assert not path.parent.exists()

    path.parent.mkdir()
    path.write_bytes(b"b")
    two.take([file])
    again = tmp_path / "again"
    again.write_bytes(b"b")
    os.replace(again, path)  # somebody else uploads the same
    two.release([file])
    assert path.exists()
    assert uploads.sweep(tmp_path, 3600) == 0
    assert uploads.sweep(tmp_path, -1) == 1
    outside = tmp_path.parent / "theirs.png"
    outside.write_bytes(b"c")
    two.take([Upload(outside, "theirs.png")])
    two.clear()
    assert outside.exists()  # no upload, so not ours to remove


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    dead = tmp_path / f"{uploads.PREFIX}999999999-x"
    alive = tmp_path / f"{uploads.PREFIX}{os.getppid()}-x"
    for folder in (dead, alive, tmp_path / "somebody-else"):
        folder.mkdir()
    made = uploads.private_folder(tmp_path)
    assert not dead.exists()
    assert alive.exists()
    assert (tmp_path / "somebody-else").exists()
    assert made.stat().st_mode & 0o77 == 0


# The guard


@pytest.fixture
def guarded(tmp_path: Path) -> TestClient:
    async def answer(request: Request) -> PlainTextResponse:
        body = await request.body()
        return PlainTextResponse(
            f"{len(body)} {request.url.query}", headers={"Referrer-Policy": "unsafe-url"}
        )

    allowed = LIMITS.model_copy(update={"max_session_bytes": 1000, "max_upload_bytes": 50_000})
    secrets = {access.MCP: ["a"], access.CALL: ["a", "b"]}
    middleware = Middleware(Guard, limits=allowed, folder=tmp_path, secrets=secrets)
    return TestClient(
        Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])], middleware=[middleware])
    )


def test_requests_are_bounded(guarded: TestClient, tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 50_000

    join = "/gradio_api/queue/join"
    assert guarded.post(join, content=b"{}").text == "2 "
    assert guarded.post(join, content=b"x" * (access.BODY + 1)).status_code == 413
    assert guarded.post(join, content=parts()).status_code == 413  # of unknown length
    form = {"Content-Type": "multipart/form-data; boundary=xx"}
    start = b'--xx\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    much = (part for part in (start, *parts()))
    assert guarded.post(access.UPLOAD, content=much, headers=form).status_code == 413
    assert guarded.post(access.UPLOAD, content=start + b"x" * 900, headers=form).status_code == 200
    token = {"Authorization": "Bearer a"}
    call = b'{"jsonrpc": "2.0", "method": "a"}' + b" " * access.BODY
    assert guarded.post(access.MCP, content=call, headers=token).status_code == 200
    (tmp_path / "much").write_bytes(b"x" * 50_000)
    fresh = guarded.app.middleware_stack  # type: ignore[attr-defined]
    while not isinstance(fresh, Guard):
        fresh = fresh.app
    fresh.room._counted = float("-inf")
    got = guarded.post(access.UPLOAD, content=start, headers=form)
    assert (got.status_code, "room for uploads is full" in got.text) == (507, True)


def test_tokens_open_what_they_are_for(guarded: TestClient) -> None:
    for path, token, status in (
        (access.MCP, "Bearer a", 200),
        (access.MCP, "bearer a", 200),
        (access.MCP, "Bearer b", 401),
        (access.MCP + "/", "", 401),
        ("/gradio_api/call/search", "Bearer b", 200),
        ("/gradio_api/call/search", "Bearer é", 401),
        ("/gradio_api/info", "", 200),
    ):
        headers = [(b"authorization", token.encode("latin-1"))]
        content = b'{"jsonrpc": "2.0", "method": "a"}'
        got = guarded.request("POST", path, headers=headers, content=content)  # type: ignore[arg-type]
        assert got.status_code == status, (path, token)
