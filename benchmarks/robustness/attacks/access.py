"""Points 6 to 8: quotas and folders, whose request it is, and what is counted."""

from __future__ import annotations

import random
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx

from . import files
from .attack import attack
from .client import ATTACKER, Field, Refused, Visitor
from .server import size_of
from .starving import MULTIPART

TOKEN, PASSWORD = "a-token-that-nobody-guesses", "a-password-that-nobody-guesses"
EVIL = "http://evil.example"
CROSS = {"Origin": EVIL, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
SECRET = "zanzibar quokka heliotrope marmalade"
GUESSES, IDS, ID = 40, 1_000, 50_000
FORGED = "a\x1b[31m\nERROR forged: by a visitor\r.pdf"
HEADERS = ("x-content-type-options", "content-security-policy", "referrer-policy")


@attack(6, "20 uploads of 8.6 MB at once, past a bound of 20 MB", MAX_UPLOAD_BYTES="20000000")
def racing_uploads(field: Field) -> None:
    data, most, ends = random.Random(1).randbytes(8_600_000), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not ends.wait(0.05):
            most = max(most, size_of(field.server.uploads))

    def upload(number: int) -> str:
        with suppress(Refused):
            field.visitor().upload(f"{number}.bin.pdf", b"%d" % number + data)
            return "taken"
        return "refused"

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with ThreadPoolExecutor(20) as pool:
        outcomes = Counter(pool.map(upload, range(20)))
    ends.set()
    watcher.join(5)
    field.note(outcomes=dict(outcomes), most_on_disk_mb=round(most / 1e6, 1))


@attack(6, "the private folder after its last file was swept away", SESSION_TTL_S="2")
def open_folder(field: Field) -> None:
    visitor = field.visitor()
    modes: dict[str, dict[str, str]] = {}
    with field.socket() as other, field.socket() as cut:
        head = b"POST /gradio_api/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\nContent-Type: "
        head += MULTIPART.encode() + b"\r\n\r\n"
        part = b'--cut\r\nContent-Disposition: form-data; name="files"; filename="a.pdf"\r\n\r\n'
        other.sendall(head)  # while it lasts, parts of other uploads stay
        cut.sendall(head + part + bytes(3_000_000))
        field.hold(2)
        modes["with a part"] = _modes(field)
        cut.close()
        field.hold(8)
        modes["swept"] = _modes(field)
        visitor.upload("again.pdf", files.text_pdf("again"))
        modes["used again"] = _modes(field)
    inside = next(iter(field.server.uploads.rglob("again.pdf")), None)
    name = inside.relative_to(field.server.uploads).parts[0] if inside else ""
    of_it = {when: found.get(name, "gone") for when, found in modes.items()}
    field.note(modes=of_it, open_to_all=name != "" and not of_it["used again"].endswith("00"))


def _modes(field: Field) -> dict[str, str]:
    """The permissions of each folder in which uploads may lie."""
    found = {}
    for each in field.server.uploads.glob("*"):
        with suppress(OSError):
            found[each.name] = f"{stat.S_IMODE(each.stat().st_mode):o}"
    return found


@attack(6, "the same bytes from two visitors")
def same_bytes(field: Field) -> None:
    data = files.text_pdf(SECRET)
    paths = [field.visitor(at).upload("same.pdf", data)["path"] for at in ("127.0.0.2", ATTACKER)]
    field.note(shared=paths[0] == paths[1], others_pages=int(paths[0] == paths[1]))


@attack(7, "40 wrong tokens from loopback, each with another X-Forwarded-For", TOKEN=TOKEN)
def forwarded_guesses(field: Field) -> None:
    _guess(field, lambda n: {"Authorization": f"Bearer {n}", "X-Forwarded-For": f"203.0.113.{n}"})


def _guess(field: Field, headers: Callable[[int], dict[str, str]]) -> None:
    visitor, taken = field.visitor("127.0.0.1"), Counter[int]()
    for number in range(GUESSES):
        given = headers(number)
        answer = visitor.ask("POST", "/gradio_api/call/documents", json={"data": [""]}, headers=given)
        taken[answer.status_code] += 1
    field.note(guesses_taken=GUESSES - taken[429])


@attack(7, "40 malformed logins, then a right guess", PASSWORD=PASSWORD)
def malformed_logins(field: Field) -> None:
    visitor, taken = field.visitor(), Counter[int]()
    forms: list[dict[str, str]] = [{}, {"username": "a"}, {"password": "b"}, {"user": "a", "password": "b"}]
    for number in range(GUESSES):
        answer = visitor.ask("POST", "/login", data=forms[number % 4] or {"x": ""})
        taken[answer.status_code] += 1
    field.note(taken_as_no_guess=GUESSES - taken[429])


@attack(7, "posts of another site, and its link to /logout", PASSWORD=PASSWORD)
def cross_site(field: Field) -> None:
    visitor = field.visitor("127.0.0.4")
    login = {"username": "me", "password": PASSWORD}
    visitor.wanted("POST", "/login", data=login, headers={"Origin": field.server.address})
    said = {"Content-Type": "text/plain"}
    field.note(logged_in=visitor.ask("GET", "/config").status_code == 200)
    call, upload = "/gradio_api/call/new_session", {"files": ("a.pdf", b"%PDF")}
    attempts: dict[str, tuple[str, dict[str, Any]]] = {
        "form post of a call": (call, {"content": b'{"data": []}', "headers": {**CROSS, **said}}),
        "upload": ("/gradio_api/upload", {"files": upload, "headers": CROSS}),
        "foreign Origin alone": (call, {"json": {"data": []}, "headers": {"Origin": EVIL}}),
        "login": ("/login", {"data": login, "headers": CROSS}),
    }
    statuses = {
        name: visitor.ask("POST", path, **more).status_code for name, (path, more) in attempts.items()
    }
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    statuses["logout"] = visitor.ask("GET", "/logout", headers=link).status_code
    logged_in = visitor.ask("GET", "/config").status_code == 200
    taken = [name for name, status in statuses.items() if status < 400]
    field.note(answers=statuses, taken=taken, still_logged_in=logged_in)


@attack(7, "another visitor's session hash, without their cookie")
def anothers_hash(field: Field) -> None:
    victim = field.tab("127.0.0.2")
    given = victim.upload("secret.pdf", files.text_pdf(SECRET))
    victim.fire("drop", "upload", {"files": [given]})
    thief, heard = field.visitor(), []

    def listen() -> None:
        with suppress(Refused):
            params = {"session_hash": victim.hash}
            heard.append(thief.ask("GET", "/gradio_api/queue/data", params=params).text)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    time.sleep(0.5)
    event = victim.events["results", "submit"]
    data = {"action": "query", "value": SECRET}
    asked = {"fn_index": event["id"], "session_hash": victim.hash, "data": [], "event_data": data}
    victim.wanted("POST", "/gradio_api/queue/join", json=asked)
    listener.join(10)
    field.note(words_heard=sum(word in "".join(heard) for word in SECRET.split()))
    search = {
        **asked,
        "fn_index": victim.events["query", "submit"]["id"],
        "data": ["pdf"],
        "event_data": None,
    }
    ids = {"session_hash": victim.hash, "fn_index": event["id"], "event_id": "a" * 32}
    statuses = {
        "join": thief.ask("POST", "/gradio_api/queue/join", json=asked).status_code,
        "cancel": thief.ask("POST", "/gradio_api/cancel", json=ids).status_code,
        "reset": thief.ask("POST", "/gradio_api/reset", json=ids).status_code,
    }
    found = thief.ask("POST", "/gradio_api/run/predict", json=search)
    statuses["predict"] = found.status_code
    told = "".join([*heard, found.text])
    field.note(answers=statuses, others_pages=int(any(word in told for word in SECRET.split())))
    own = victim.fire("results", "submit", data)  # shows that there was something to hear
    field.note(words_the_victim_hears=sum(word in own for word in SECRET.split()))


@attack(7, "X-Forwarded-Host, and the headers of errors and private answers")
def forwarded_host(field: Field) -> None:
    visitor = field.visitor("127.0.0.1")
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    pages = [visitor.ask("GET", path, headers=forged) for path in ("/", "/config", "/gradio_api/info")]
    echoes = [each.url.path for each in pages if "evil.example" in each.text + str(each.headers)]
    errors = {
        "404": visitor.ask("GET", "/nowhere"),
        "405": visitor.ask("PUT", "/config"),
        "422": visitor.ask("POST", "/gradio_api/run/predict", content=b"{"),
        "413": visitor.ask("POST", "/gradio_api/run/predict", content=b"a" * (2 << 20)),
        "400": _malformed(field),
    }
    bare = [name for name, each in errors.items() if not all(h in each.headers for h in HEADERS)]
    kept = [
        each.url.path
        for each in [pages[1], visitor.ask("GET", "/gradio_api/queue/status")]
        if "no-store" not in each.headers.get("cache-control", "")
    ]
    framed = "hf.space" in pages[0].headers.get("content-security-policy", "")
    field.note(reflected_by=echoes, errors_without_headers=bare, may_be_cached=kept, framed_by_spaces=framed)


def _malformed(field: Field) -> httpx.Response:
    """The answer to something that is not HTTP."""
    with field.socket() as sent:
        sent.sendall(b"GET / HTTP/9.9\r\n:\r\n\r\n")
        told = sent.recv(65536).decode("latin-1")
    lines = [line.partition(": ") for line in told.partition("\r\n\r\n")[0].split("\r\n")[1:]]
    return httpx.Response(400, headers=[(name, value) for name, _, value in lines])


@attack(8, "1,000 session names of 50 kB", load=True)
def long_ids(field: Field) -> None:
    visitor, event = field.visitor(), {"fn_index": 0, "data": ["a", "1x1", 1, "", None, ""]}
    for number in range(IDS):
        name = f"{number}".ljust(ID, "a")
        visitor.ask("POST", "/gradio_api/queue/join", json={**event, "session_hash": name})
        if number % 10 == 0:
            field.note(sent=number + 1)
    field.note(sent=IDS)


@attack(8, "300 uploads' names of 50 kB in addresses, and 2,000 requests for the page", load=True)
def long_addresses(field: Field) -> None:
    visitor = field.visitor()
    for number in range(300):
        name = f"{number}".ljust(ID, "a")
        _stream(visitor, f"/gradio_api/upload_progress?upload_id={name}")
    began = time.monotonic()

    def load(_: int) -> None:
        with suppress(Refused):
            visitor.ask("GET", "/")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(load, range(2_000)))
    field.note(pages_a_second=round(2_000 / (time.monotonic() - began)))


def _stream(visitor: Visitor, path: str) -> None:
    """Ask for a stream, and leave when it begins."""
    try:
        with visitor.http.stream("GET", path, timeout=min(5.0, visitor.field.left_s())):
            return
    except httpx.HTTPError as error:
        visitor.field.statuses[type(error).__name__] += 1


@attack(8, "endpoints and methods that do not exist, and a file name with control characters")
def unknown(field: Field) -> None:
    visitor, found = field.visitor(), {}
    made = {"fn_index": 9_999, "data": [], "session_hash": "a" * 12}
    for method, path, body in (
        ("POST", "/gradio_api/call/nothing", {"data": []}),
        ("POST", "/gradio_api/call/lambda", {"data": []}),
        ("POST", "/gradio_api/component_server", {"data": []}),
        ("POST", "/gradio_api/queue/join", made),
        ("GET", "/gradio_api/call/search/nothing", None),
    ):
        try:
            found[path] = str(visitor.ask(method, path, json=body).status_code)
        except Refused as lost:
            found[path] = str(lost)
    field.note(answers=found)
    forged = visitor.upload("a.pdf", b"%PDF-1.7 broken")
    with suppress(Refused):
        visitor.call("index", [{**forged, "orig_name": FORGED, "name": FORGED}], "")
    with suppress(Refused):
        tab = field.tab()
        given = {**tab.upload("b.zip", b"PK broken"), "name": FORGED}
        tab.fire("index-file", "upload", {"files": [given]})
    log = field.server.log.read_bytes()
    field.note(forged_lines=log.count(b"\nERROR forged"), escapes=log.count(b"\x1b[31m"))
