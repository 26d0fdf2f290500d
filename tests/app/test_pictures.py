"""Pictures by URL: to their own visitor, while the session is open and the page is in it; to nobody else."""

from __future__ import annotations

import html
import http.cookiejar
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from gradio_client import Client
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from metaembed_demo.app.server import visitor_cookie
from metaembed_demo.app.server.access import Guard
from metaembed_demo.app.server.pictures import Pictures
from metaembed_demo.app.server.visitor_cookie import NAME, make, visitor_of
from metaembed_demo.app.ui.components import NO_COOKIE
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.config import LIMITS
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.explain.explainer import explainer
from tests.app.test_isolation import drawing
from tests.support.app_server import Served, Tab, until
from tests.support.sample_pages import make_page

KEPT = "private, max-age=31536000, immutable"
NAMES = ("page.jpg", "thumbnail.jpg")


def addresses(told: str) -> set[str]:
    return set(re.findall(r"pictures/[\w-]+/\w+/[\w.]+", told))


def key_of(told: str) -> str:
    (key,) = {each.split("/")[1] for each in addresses(told)}
    return key


def is_refused(got: httpx.Response) -> bool:
    return (got.status_code, got.headers["cache-control"], got.text) == (404, "no-store", "Not found.")


@dataclass
class Owner:
    """A tab with a page of its own, open in it."""

    tab: Tab
    key: str
    page: str

    def address(self, name: str = "page.jpg") -> str:
        return f"/pictures/{self.key}/{self.page}/{name}"


def owner(address: str, name: str) -> Owner:
    tab = Tab(address)
    tab.send(None, "load")
    path = tab.upload(f"{name}.png", drawing(f"private {name}"))
    tab.send("drop", "upload", {"files": [{"path": path, "name": f"{name}.png"}]})
    assert "1 page added" in tab.send(None, "then")
    told = tab.send("query", "submit", data=[name])
    assert f"{name}.png" in told
    (page,) = {each.split("/")[2] for each in addresses(told) if each.endswith("page.jpg")}
    return Owner(tab, key_of(told), page)


@pytest.fixture(scope="module")
def walrus(small: Served) -> Owner:
    return owner(small.address, "walrus")


def test_a_visitor_gets_the_pictures_of_their_pages(small: Served, walrus: Owner) -> None:
    for name, size in (("page.jpg", 320), ("thumbnail.jpg", 100)):
        got = walrus.tab.http.get(walrus.address(name))
        assert got.status_code == 200
        assert got.headers["content-type"] == "image/jpeg"
        assert got.headers["cache-control"] == KEPT
        assert got.headers["x-content-type-options"] == "nosniff"
        picture = Image.open(io.BytesIO(got.content))
        assert picture.format == "JPEG"
        assert picture.width >= size
    told = walrus.tab.send("query", "submit", data=["dog and cat"])
    found = addresses(told)
    assert len(found) == 6  # five cards and the open page
    assert {walrus.tab.http.get("/" + each).status_code for each in found} == {200}
    assert re.fullmatch(r"[\w-]{16}", walrus.key)
    second = Tab(small.address, walrus.tab.http)  # another tab of the same browser
    assert second.http.get(walrus.address()).status_code == 200


def test_nobody_else_gets_them(small: Served, walrus: Owner) -> None:
    other = owner(small.address, "otter")
    assert other.key != walrus.key
    assert other.tab.http.get(other.address()).status_code == 200
    bare = httpx.Client(base_url=small.address)
    bearer = {"Authorization": "Bearer a-token"}
    mine = walrus.tab.http.cookies[NAME]
    token, mark = mine.split(".")
    forged = [
        f"{token}.{'0' * 32}",
        f"{token}.{mark[::-1]}",
        f"{walrus.key}.{mark}",
        make(),  # of another process: this one
        "",
        "x",
        token,
        mine + "0",
    ]
    for name in NAMES:
        place = walrus.address(name)
        assert is_refused(bare.get(place)), "without a cookie"
        assert is_refused(bare.get(place, headers=bearer)), "with a token"
        assert is_refused(other.tab.http.get(place)), "with another visitor's cookie"
        assert is_refused(other.tab.http.get(f"/pictures/{other.key}/{walrus.page}/{name}")), (
            "another's page under one's own key"
        )
        assert is_refused(walrus.tab.http.get(f"/pictures/{other.key}/{walrus.page}/{name}")), "a wrong key"
        assert is_refused(walrus.tab.http.get(f"/pictures/{other.key}/{other.page}/{name}"))
        for cookie in forged:
            assert is_refused(httpx.get(small.address + place, headers={"Cookie": f"{NAME}={cookie}"})), (
                cookie
            )
    for key in (walrus.key[:-1], walrus.key + "A", walrus.key.swapcase(), "-", token, walrus.tab.hash):
        assert is_refused(walrus.tab.http.get(f"/pictures/{key}/{walrus.page}/page.jpg")), key
    for page, name in (("nonsense", "page.jpg"), (walrus.page, "nonsense.jpg"), (walrus.page, "1.json")):
        assert is_refused(walrus.tab.http.get(f"/pictures/{walrus.key}/{page}/{name}"))
    assert "set-cookie" not in bare.get(walrus.address()).headers
    assert walrus.tab.http.get(walrus.address()).status_code == 200


def test_a_program_s_session_or_token_opens_none(small: Served, walrus: Owner) -> None:
    program = Client(small.address, verbose=False)
    session = program.predict(api_name="/new_session")["session"]
    hits = program.predict("dog", "16x64", 4, session, api_name="/search")["hits"]
    with httpx.Client(base_url=small.address) as other:
        for key in (session, walrus.key):
            for cookie in (session, f"{session}.{'0' * 32}"):
                place = f"/pictures/{key}/{hits[0]['page_id']}/page.jpg"
                assert is_refused(other.get(place, headers={"Cookie": f"{NAME}={cookie}"}))
    assert "pictures/" not in json.dumps(hits)
    program.predict(session, api_name="/end_session")


@pytest.mark.parametrize(
    "path", ["..", "../..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "page.jpg/x", "page jpg", ""]
)
def test_no_path_leads_elsewhere(walrus: Owner, path: str) -> None:
    asked = walrus.tab.http.build_request("GET", "/")
    asked.url = asked.url.copy_with(raw_path=f"/pictures/{walrus.key}/{walrus.page}/{path}".encode())
    assert walrus.tab.http.send(asked).status_code == 404


def test_a_page_that_was_removed_is_gone(small: Served) -> None:
    seal = owner(small.address, "seal")
    assert seal.tab.http.get(seal.address()).status_code == 200
    told = seal.tab.send("listing", "delete", {"source": "seal.png"})
    assert seal.page not in told
    for name in NAMES:
        assert is_refused(seal.tab.http.get(seal.address(name)))
    told = seal.tab.send("query", "submit", data=["dog"])  # the others stay
    assert {seal.tab.http.get("/" + each).status_code for each in addresses(told)} == {200}


def test_with_the_session_they_end(locked: Served) -> None:
    client = httpx.Client(base_url=locked.address, timeout=60)
    client.post("/login", data={"username": "anybody", "password": "open sesame"})
    tab = Tab(locked.address, client)
    tab.send(None, "load")
    told = tab.send("query", "submit", data=["dog"])
    places = ["/" + each for each in addresses(told)]
    assert [client.get(place).status_code for place in places] == [200] * 5
    with client.stream("GET", f"/gradio_api/heartbeat/{tab.hash}") as beat:
        next(beat.iter_lines())
    # The tab is closed. Fetching goes on meanwhile, which is no use of the session.
    assert until(lambda: client.get(places[0]).status_code == 404, 10)
    assert all(is_refused(client.get(place)) for place in places)
    again = Tab(locked.address, client)  # the same visitor comes back, to a session of its own
    told = again.send("query", "submit", data=["dog"])
    assert not addresses(told) & {place[1:] for place in places}
    assert is_refused(client.get(places[0]))


# What tokens read, as JSON


@dataclass
class Place:
    """The endpoint behind the guard and the cookie, on the real encoder, and a browser that asks there."""

    visits: Visits
    http: TestClient

    def visit(self, tab: str = "tab") -> Visit:
        self.http.get("/")  # brings the cookie; there is no page here
        return self.visits.get(str(visitor_of(self.http.cookies)), tab)


@pytest.fixture
def place(mini: Mini, tmp_path: object) -> Iterator[Place]:
    base = Collection.for_encoder(mini)
    for number, text in enumerate(("descale the <b>coffee</b> machine & rinse", "the train to Bern"), 1):
        page = make_page("guide.pdf", number, text)
        base.put(StoredPage.of(page), mini.encode_pages([page])[0])
    visits = Visits(Tools(mini, explainer=explainer(mini)), base)
    middleware = [
        Middleware(Guard, limits=LIMITS, folder=tmp_path, secrets={}),
        Middleware(visitor_cookie.VisitorCookie),
    ]
    with TestClient(Starlette(routes=[Pictures(visits).route()], middleware=middleware)) as http:
        yield Place(visits, http)


def reading_at(marks: str | None) -> str:
    (found,) = re.findall(r'data-reading="([^"]*)"', marks or "")
    return "/" + html.unescape(found)


def test_a_reading_is_of_the_open_page_and_for_its_visitor(place: Place) -> None:
    visit = place.visit()
    first, second = (each.page_id for each in (visit.search("coffee machine"), visit.trace)[1].hits)  # type: ignore[union-attr]
    assert visit.chosen == first
    opened = reading_at(visit.explain().marks)
    assert re.fullmatch(rf"/pictures/{visit.session.picture_key}/{first}/[0-9a-f]{{8}}\.json", opened)
    got = place.http.get(opened)
    assert (got.status_code, got.headers["content-type"]) == (200, "application/json")
    assert got.headers["cache-control"] == KEPT
    assert [word[4] for word in got.json()["words"]] == visit_words(visit)
    assert len(got.json()["read"]) == 64
    assert is_refused(place.http.get(opened.replace(first, second))), "a page that is not open"
    assert is_refused(place.http.get(re.sub(r"\w{8}\.json", "00000000.json", opened)))

    other = Tabless(place)
    assert is_refused(other.get(opened)), "another visitor"
    theirs = other.visit.session.picture_key
    assert is_refused(other.get(opened.replace(visit.session.picture_key, theirs)))
    other.visit.search("coffee machine")
    other.visit.explain()
    assert other.get(opened.replace(visit.session.picture_key, theirs)).status_code == 200
    assert is_refused(other.get(opened))

    visit.choose(second)
    visit.explain()
    assert is_refused(place.http.get(opened)), "no longer open"
    again = place.visit("another tab")
    again.search("coffee machine")
    again.explain()
    assert place.http.get(opened).status_code == 200, "open in another tab of this visitor"
    visit.remove("guide.pdf")
    assert is_refused(place.http.get(opened))
    place.visits.close(visit.session.id)
    assert is_refused(place.http.get(opened))


def visit_words(visit: Visit) -> list[str]:
    return [word.text for word in visit.explanation_tabs.explanation.words]  # type: ignore[union-attr]


class Tabless:
    """Another browser on the same server."""

    def __init__(self, place: Place) -> None:
        self.cookie, self.http = make(), place.http
        self.visit = place.visits.get(str(visitor_of({NAME: self.cookie})), "their tab")

    def get(self, path: str) -> httpx.Response:
        kept = dict(self.http.cookies)
        self.http.cookies.clear()
        try:
            return self.http.get(path, headers={"Cookie": f"{NAME}={self.cookie}"})
        finally:
            self.http.cookies.update(kept)


# The cookie and the tabs of a browser, on a served app


def test_the_page_s_cookie_is_closed_to_scripts_and_a_foreign_one_is_replaced(small: Served) -> None:
    with httpx.Client(base_url=small.address) as browser:
        (line,) = browser.get("/").headers.get_list("set-cookie")
        assert re.fullmatch(rf"{NAME}=[\w-]{{32}}\.[0-9a-f]{{32}}; Path=/; HttpOnly; SameSite=Lax", line)
        assert "set-cookie" not in browser.get("/").headers
    for foreign in (make(), "x" * 32 + "." + "0" * 32, "nonsense"):
        got = httpx.get(small.address, headers={"Cookie": f"{NAME}={foreign}"})
        (line,) = got.headers.get_list("set-cookie")
        assert not line.startswith(f"{NAME}={foreign.split('.')[0]}")


def test_tabs_of_a_browser_share_documents_and_not_their_searches(small: Served, walrus: Owner) -> None:
    walrus.tab.send("query", "submit", data=["walrus"])
    walrus.tab.send("dial", "input", {"stop": 4})
    second = Tab(small.address, walrus.tab.http)
    assert "walrus.png" in second.send(None, "load"), "as after a reload"
    told = second.send("query", "submit", data=["dog and cat"])
    assert key_of(told) == walrus.key
    moved = walrus.tab.send("dial", "input", {"stop": 1})  # still the first tab's own query
    assert "walrus" in moved
    assert '"q\\":\\"walrus' in moved.replace("&quot;", '\\"')
    stranger = Tab(small.address)
    assert "walrus.png" not in stranger.send(None, "load")
    stranger.hash = walrus.tab.hash  # knowing a tab's name opens nothing: the stranger's is another
    assert "walrus" not in stranger.send("dial", "input", {"stop": 2})
    assert "walrus" in walrus.tab.send("dial", "input", {"stop": 3})
    assert walrus.tab.http.get(walrus.address()).status_code == 200


def test_where_no_cookie_is_kept_the_page_says_so(small: Served) -> None:
    browser = httpx.Client(base_url=small.address, timeout=60)
    browser.cookies.jar.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    tab = Tab(small.address, browser)
    assert "dog.pdf" in tab.send(None, "load")
    for _ in range(2):
        told = tab.send("query", "submit", data=["dog"])
        assert '"success":false' in told
        assert NO_COOKIE in told
        assert "dog.pdf" not in told


# What is sent


def test_no_picture_travels_in_an_answer(walrus: Owner) -> None:
    tab = walrus.tab
    told = tab.send("query", "submit", data=["dog and cat"])
    told += tab.send("dial", "input", {"stop": 1})
    told += tab.send("results", "select", {"page": walrus.page})
    for name in ("Page map", "Ranks", "Timing", "Alignment"):
        told += tab.send("evidence-tabs", "select", {"value": name, "index": 0, "selected": True})
    told += tab.send("link", "submit", {})
    told += Tab(str(tab.http.base_url), tab.http).send(None, "load", query="?q=dog&budget=4x8&tab=ranks")
    assert '"success":false' not in told
    assert "base64" not in told
    assert "data:image" not in told


def test_a_finding_of_the_last_search_does_not_stay(walrus: Owner) -> None:
    tab = walrus.tab
    tab.send("query", "submit", data=["dog and cat"])
    assert "agree with exact search" in tab.send("storage", "select", {"action": "check"})
    told = tab.send("query", "submit", data=["coffee machine"])
    assert 'data-action=\\"check' in told or "data-action='check" in told, "the control without the finding"
    assert "agree with exact search" not in told
