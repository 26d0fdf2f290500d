"""How much one address may ask and guess: on a clock of our own, then of a running app."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Browser, expect

from metaembed_demo.app.server import rate_limit
from metaembed_demo.app.server.access import RUN
from metaembed_demo.app.server.rate_limit import Addresses, Guesses, Requests
from tests.support.app_server import Served, Tab, serve


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_minute_s_requests_at_once_then_as_fast_as_they_come_in() -> None:
    clock = Clock()
    requests = Requests(120, clock)
    assert [requests.take("a") for _ in range(120)] == [0.0] * 120
    assert requests.take("a") == pytest.approx(0.5)
    assert requests.take("b") == 0  # another's are untouched
    clock.now += 1
    assert [requests.take("a") > 0 for _ in range(3)] == [False, False, True]
    clock.now += 1e6
    assert [requests.take("a") > 0 for _ in range(121)] == [*[False] * 120, True]  # no more than a minute's
    assert all(Requests(0, clock).take("a") == 0 for _ in range(10_000))


def test_only_so_many_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "MOST_CLIENTS", 3)
    requests, guesses = Requests(2, Clock()), Guesses(2, Clock())
    for client in "abcabcdd":
        requests.take(client)
        guesses.take(client)
    assert list(requests._left) == list(guesses._wrong) == ["b", "c", "d"]


def test_who_guesses_wrong_waits_ever_longer() -> None:
    clock = Clock()
    guesses = Guesses(3, clock)
    assert [guesses.take("a") for _ in range(4)] == [0, 0, 0, 60]
    assert guesses.take("b") == 0
    waited = []
    for _ in range(9):
        clock.now += guesses.take("a")  # the last one's wait is over
        assert guesses.take("a") == 0  # wrong again
        waited.append(guesses.take("a"))
    assert waited == [120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]
    clock.now += 3600 + rate_limit.FORGIVEN_S + 1
    assert [guesses.take("a") for _ in range(4)] == [0, 0, 0, 60]
    assert all(Guesses(0, clock).take("a") == 0 for _ in range(100))


def test_a_right_one_wipes_the_slate_and_what_was_none_does_not_count() -> None:
    guesses = Guesses(3, Clock())
    for _ in range(5):
        assert [guesses.take("a"), guesses.take("a"), guesses.take("a")] == [0, 0, 0]
        guesses.forget("a")
    for _ in range(9):
        assert guesses.take("a") == 0
        guesses.untake("a")
    guesses.forget("nobody")
    guesses.untake("nobody")


@pytest.mark.parametrize(
    ("proxies", "inner", "peer", "forwarded", "client"),
    [
        (0, False, "192.0.2.1", [], "192.0.2.1"),
        (0, False, "192.0.2.1", ["198.51.100.9"], "192.0.2.1"),  # anybody can write that
        (0, False, "127.0.0.1", ["198.51.100.9"], "127.0.0.1"),  # on this machine, too
        (0, True, "10.0.0.2", ["198.51.100.9"], "10.0.0.2"),
        (1, False, "10.0.0.2", ["203.0.113.5"], "203.0.113.5"),
        (1, False, "10.0.0.2", ["198.51.100.9, 203.0.113.5"], "203.0.113.5"),  # the client wrote the first
        (1, False, "10.0.0.2", ["198.51.100.9", "203.0.113.5"], "203.0.113.5"),
        (2, False, "10.0.0.2", ["198.51.100.9, 203.0.113.5, 10.0.0.3"], "203.0.113.5"),
        (2, False, "10.0.0.2", ["203.0.113.5"], "203.0.113.5"),
        (1, False, "10.0.0.2", [], "10.0.0.2"),
        (1, False, "10.0.0.2", [" , "], "10.0.0.2"),
        (1, False, "10.0.0.2", ["198.51.100.9, 10.0.0.77"], "10.0.0.77"),  # a client in a private network
        (1, True, "10.0.0.2", ["8.8.8.8, 9.9.9.9, 10.0.0.3, 10.0.0.4"], "9.9.9.9"),  # a Space
        (1, True, "10.0.0.2", ["203.0.113.5"], "203.0.113.5"),
        (1, False, "10.0.0.2", ["203.0.113.5:4711"], "203.0.113.5"),
        (1, False, "10.0.0.2", ["2001:db8:1:2:aaaa::1"], "2001:db8:1:2::"),
        (1, False, "10.0.0.2", ["[2001:db8:1:2:bbbb::1]:80"], "2001:db8:1:2::"),  # the same customer
        (1, False, "10.0.0.2", ["\xff" * 5000], "ÿ" * 64),
    ],
)
def test_whose_request_it_is(proxies: int, inner: bool, peer: str, forwarded: list[str], client: str) -> None:
    headers = [(b"x-forwarded-for", hop.encode("latin-1")) for hop in forwarded]
    scope = {"client": (peer, 1234), "headers": headers}
    assert Addresses(proxies, inner).of(scope) == client


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "client"),
    [
        (0, "10.0.0.2", "203.0.113.5", "203.0.113.5"),
        (0, "10.0.0.2", "198.51.100.9, 203.0.113.5, 10.9.9.9", "203.0.113.5"),
        (0, "2001:db8::7", "203.0.113.5", "203.0.113.5"),
        (0, "11.0.0.2", "203.0.113.5", "11.0.0.2"),  # no proxy of ours
        (0, "10.0.0.2", "10.0.0.3", "10.0.0.3"),
        (1, "192.0.2.1", "198.51.100.9, 203.0.113.5, 10.0.0.3", "203.0.113.5"),
        (1, "192.0.2.1", "203.0.113.5", "203.0.113.5"),
        (0, "10.0.0.2", "x, y", "y"),
    ],
)
def test_proxies_are_known_by_their_network_too(proxies: int, peer: str, forwarded: str, client: str) -> None:
    networks = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
    found = Addresses(proxies, networks=networks)
    scope = {"client": (peer, 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}
    assert found.of(scope) == client
    assert found.shared(peer) == (proxies > 0 or peer != "11.0.0.2")


def test_a_request_from_nowhere_has_an_address_too() -> None:
    assert Addresses().of({"client": None, "headers": []}) == ""


# A running app


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An app behind one proxy, which we play, that takes 12 requests a minute and 3 guesses."""
    limits = {"REQUESTS_PER_MINUTE": 12, "MAX_GUESSES": 3, "TRUSTED_PROXIES": 1}
    secrets = {"PASSWORD": "open sesame", "TOKEN": "a-token"}
    with serve(tmp_path_factory.mktemp("strict"), **limits, **secrets) as served:
        yield served


def asked_from(served: Served, client: str, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=served.address, headers={"X-Forwarded-For": client, **headers}, timeout=60)


def refusal(got: httpx.Response) -> tuple[int, str]:
    assert got.status_code == 429
    assert got.headers["x-content-type-options"] == "nosniff"
    return int(got.headers["retry-after"]), got.json()["detail"]


def test_too_many_requests_are_told_when_to_come_back(strict: Served) -> None:
    right = {"Authorization": "Bearer a-token"}

    def ask(http: httpx.Client) -> httpx.Response:
        return http.post("/gradio_api/call/search", json={"data": ["dog", "16x64", 1, "", None]})

    mine, theirs = asked_from(strict, "203.0.113.1", **right), asked_from(strict, "203.0.113.2", **right)
    got = [ask(mine) for _ in range(14)]
    # Another first hop is the same client, who wrote it.
    got.append(ask(asked_from(strict, "198.51.100.7, 203.0.113.1", **right)))
    refused = [each for each in got if each.status_code == 429]
    assert 2 <= len(refused) <= 3
    seconds, why = refusal(refused[-1])
    assert 1 <= seconds <= 5
    assert why == f"Too many requests from your address. Try again in {seconds} s."
    assert ask(theirs).status_code != 429
    assert mine.get("/health").status_code == 200  # what reads is not counted
    assert mine.post("/gradio_api/cancel", json={}).status_code != 429  # nor what ends work


def test_passwords_are_guessed_a_few_times(strict: Served) -> None:
    def enter(http: httpx.Client, password: str) -> httpx.Response:
        return http.post("/login", data={"username": "anybody", "password": password})

    mine, theirs = asked_from(strict, "203.0.113.3"), asked_from(strict, "203.0.113.4")
    assert "After 3 wrong ones" in mine.get("/").text
    for _ in range(2):
        assert enter(mine, "a").status_code == 400
        assert mine.post("/login", data={"username": "anybody"}).status_code == 422  # a guess as well
        assert enter(mine, "open sesame").status_code == 200
    got = [enter(theirs, guess) for guess in ("a", "b", "c", "d", "open sesame")]
    assert [each.status_code for each in got] == [400, 400, 400, 429, 429]
    seconds, why = refusal(got[-1])
    assert 50 < seconds <= 60
    assert why.startswith("Too many wrong passwords from your address. Try again in ")
    assert enter(asked_from(strict, "203.0.113.5"), "open sesame").status_code == 200


def test_tokens_are_guessed_a_few_times_by_whatever_route(strict: Served) -> None:
    for client, path in (("203.0.113.6", "/gradio_api/call/search"), ("203.0.113.7", "/gradio_api/mcp")):
        answers = []
        for guess in ("", "a", "b", "c", "a-token"):
            headers = {"Authorization": f"Bearer {guess}"} if guess else {}
            answers.append(asked_from(strict, client, **headers).post(path, json={"data": ["dog"]}))
        assert [each.status_code for each in answers] == [401, 401, 401, 401, 429]
        assert "Too many wrong tokens" in refusal(answers[-1])[1]
    # The page's own route leads to the API as well.
    guesser = Client(
        strict.address,
        auth=("anybody", "open sesame"),
        headers={"X-Forwarded-For": "203.0.113.8", "Authorization": "Bearer d"},
        verbose=False,
    )
    for why in ("needs a token", "needs a token", "needs a token", "Too many wrong tokens"):
        with pytest.raises(AppError, match=why):
            guesser.predict(api_name="/documents")


def test_the_page_says_that_it_was_too_much(strict: Served, browser: Browser) -> None:
    context = browser.new_context(extra_http_headers={"X-Forwarded-For": "203.0.113.9"})
    page: Any = context.new_page()
    page.goto(strict.address)
    page.get_by_label("password").fill("open sesame")
    page.get_by_label("username").fill("anybody")
    page.get_by_role("button", name="Login").click()
    page.wait_for_selector("#dial [role=slider]", state="attached")

    def spend() -> None:
        """What is left of the rate, whose twelfth comes back in five seconds."""
        for _ in range(13):
            context.request.post(strict.address + RUN, data="[")

    spend()
    page.locator("#query textarea, #query input").fill("dog")
    page.locator("#query textarea, #query input").press("Enter")
    expect(page.locator("#failure")).to_contain_text("Too many requests from your address.")
    spend()
    page.locator("#picture input").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": b"not looked at"}
    )
    expect(page.locator("#picture .drop-words")).to_contain_text("Too many requests from your address.")
    context.close()


def test_by_default_a_tab_asks_all_it_wants(small: Served) -> None:
    tab = Tab(small.address)
    for _ in range(150):
        for path in ("/gradio_api/queue/join", RUN):
            assert tab.http.post(path, content=b"[").status_code != 429
