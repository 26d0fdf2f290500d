"""The API: what its endpoints answer, in sessions of their own; its document; health."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from jsonschema import Draft202012Validator
from PIL import Image, ImageDraw
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from metaembed_demo.app.server.api import Api
from metaembed_demo.app.server.launch import health
from metaembed_demo.app.views.documents_tab import limits
from metaembed_demo.app.visitors import jobs
from metaembed_demo.app.visitors.registry import Visits
from metaembed_demo.app.visitors.session import Session
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.collection.collection import Collection
from metaembed_demo.core.config import LIMITS, ROOT
from tests.support.app_server import Served
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import make_page, serve
from tests.support.small_app import samples

SCHEMA = json.loads((ROOT / "metaembed_demo" / "app" / "server" / "api.schema.json").read_text())


def check(answer: Any, name: str) -> Any:
    """`answer`, which is as api.schema.json says."""
    Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{name}"}).validate(answer)
    return answer


@pytest.fixture(scope="module")
def client(small: Served) -> Client:
    return Client(small.address, verbose=False)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    image = Image.new("RGB", (300, 120), "white")
    ImageDraw.Draw(image).text((20, 40), "striped zebra", fill="black", font_size=32)
    image.save(tmp_path / "zebra.png")
    return tmp_path / "zebra.png"


@pytest.fixture
def session(client: Client) -> Iterator[str]:
    token = check(client.predict(api_name="/new_session"), "new_session")["session"]
    yield token
    client.predict(token, api_name="/end_session")


def test_the_schema_is_one() -> None:
    for name in SCHEMA["$defs"]:
        Draft202012Validator.check_schema({**SCHEMA, "$ref": f"#/$defs/{name}"})


def test_pages_are_indexed_found_explained_and_deleted(
    client: Client, session: str, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / "void.pdf").write_bytes(b"")
    files = [handle_file(str(picture)), handle_file(str(tmp_path / "void.pdf"))]
    report = check(client.predict(files, session, api_name="/index"), "index")
    assert (report["session"], report["added"], report["pages"], report["stopped"]) == (session, 1, 5, None)
    assert [problem["source"] for problem in report["problems"]] == ["void.pdf"]
    again = check(client.predict([handle_file(str(picture))], session, api_name="/index"), "index")
    assert (again["added"], again["duplicates"]) == (0, ["zebra.png page 1 is already indexed."])

    listed = check(client.predict(session, api_name="/documents"), "documents")
    assert {"source": "zebra.png", "pages": 1, "kind": "image", "shared": 0} in listed["documents"]

    found = check(client.predict("zebra", "4x8", 2, session, api_name="/search"), "search")
    best = found["hits"][0]
    assert (best["source"], best["rank"], len(found["hits"])) == ("zebra.png", 1, 2)
    assert found["budget"] == {"r_q": 4, "r_c": 8, "trained": True}
    why = check(client.predict(best["page_id"], "zebra", "4x8", session, api_name="/explain"), "explain")
    assert why["page"] == {key: best[key] for key in ("page_id", "source", "page", "title", "language")} | {
        "reading": why["page"]["reading"]
    }
    assert why["page"]["reading"][0].startswith("OCR (PP-OCR)")
    assert why["score"] == pytest.approx(best["score"], abs=1e-4)
    assert sum(why["alignment"]["gains"]) == pytest.approx(why["score"], abs=1e-3)
    assert why["explanation"] is None  # the dummy encoder cannot tell

    gone = check(client.predict("zebra.png", session, api_name="/delete"), "delete")
    assert gone == {"version": 1, "removed": 1, "pages": 4}
    found = client.predict("zebra", "4x8", 10, session, api_name="/search")
    assert "zebra.png" not in {hit["source"] for hit in found["hits"]}


def test_a_picture_is_a_query(client: Client, picture: Path, small: Served) -> None:
    lay = set(small.files())  # other tests' sessions may still hold theirs
    asked = {"image": handle_file(str(picture)), "api_name": "/search"}
    assert check(client.predict("", **asked), "search")["query"] == {"text": "", "image": True}
    assert client.predict("energy", **asked)["query"] == {"text": "energy", "image": True}
    assert set(small.files()) <= lay  # it was removed when it was answered


def test_without_a_session_there_is_the_sample_corpus(client: Client) -> None:
    found = check(client.predict("energy use", api_name="/search"), "search")
    assert (len(found["hits"]), found["hits"][0]["source"]) == (4, "energy.pdf")
    for only in ('document:"dog*" type:pdf', {"documents": ["dog*"], "types": "pdf"}):
        dogs = check(client.predict("energy use", filter=only, api_name="/search"), "search")
        assert [hit["source"] for hit in dogs["hits"]] == ["dog.pdf"]
        assert (dogs["query"]["filter"], dogs["pages_searched"]) == ("document:dog* type:pdf", 1)
    assert check(client.predict(api_name="/documents"), "documents")["pages"] == 4
    page = found["hits"][0]["page_id"]
    check(client.predict(page, "energy", api_name="/explain"), "explain")
    full = check(client.predict("energy use", "full", api_name="/search"), "search")
    assert (full["hits"], full["budget"]["trained"]) == (found["hits"], True)
    auto = check(client.predict("energy use", "auto", api_name="/search"), "search")
    assert auto["hits"] == found["hits"], "four pages cannot be calibrated, so all are scored in full"
    assert (auto["auto"]["cells"], auto["auto"]["among"], auto["auto"]["calibration"]) == (1, 4, None)
    assert "needs 50 pages; there are 4" in auto["auto"]["note"]


def test_mini_tells_what_words_give(address: str) -> None:
    client = Client(address, verbose=False)
    found = check(client.predict("How do I descale the machine?", "8x16", 3, api_name="/search"), "search")
    page = found["hits"][0]["page_id"]
    told = client.predict(page, "How do I descale the machine?", "8x16", api_name="/explain")
    why = check(told, "explain")
    parts = [word["part"] for word in why["explanation"]["words"]]
    assert sum(parts) + why["explanation"]["rest"] == pytest.approx(why["score"], rel=0.02)
    for word in why["explanation"]["words"]:
        assert word["share"] == pytest.approx(word["part"] / why["score"], abs=0.01)
    assert parts == sorted(parts, reverse=True)


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("search", {"query": "dog", "budget": "large"}, "'large' is not a budget"),
        ("search", {"query": "dog", "budget": 8}, "budget is to be text, not int"),
        ("search", {"query": "dog", "k": "many"}, "k is to be a whole number"),
        ("search", {"query": ["dog"]}, "query is to be text, not list"),
        ("search", {"query": " "}, "The query is empty"),
        ("search", {"query": "\u200b"}, "The query is empty"),
        ("search", {"query": "dog", "language": "de"}, "No page is in the language 'de'"),
        ("search", {"query": "dog", "language": 7}, "language is to be text, not int"),
        ("search", {"query": "dog", "filter": "typ:pdf"}, "no part 'typ:pdf'"),
        ("search", {"query": "dog", "filter": {"types": "docx"}}, "No document is of the type 'docx'"),
        ("search", {"query": "x" * 5000}, "5,000 characters, over the limit"),
        ("explain", {"page_id": "nope", "query": "dog"}, "no page with this page_id"),
        ("index", {"files": []}, "no files to index"),
        ("index", {"files": ["/etc/passwd"]}, "was not uploaded"),
        ("delete", {"source": "dog.pdf", "session": ""}, "session is to be the token"),
        ("documents", {"session": "made-up"}, "There is no such session"),
        ("documents", {"session": {"a": 1}}, "session is to be the token"),
        ("end_session", {"session": "x" * 32}, "There is no such session"),
    ],
)
def test_what_is_wrong_is_said(client: Client, name: str, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(AppError, match=re.escape(message)):
        client.predict(**asked, api_name=f"/{name}")


def test_an_unknown_document_is_said(client: Client, session: str) -> None:
    with pytest.raises(AppError, match=r"no document called 'other\.pdf'"):
        client.predict("other.pdf", session, api_name="/delete")


def test_what_is_over_the_limits_is_left_out(client: Client, session: str, tmp_path: Path) -> None:
    for name, seed in (("one.bmp", 10), ("two.bmp", 20), ("three.bmp", 30)):
        Image.new("RGB", (220, 200), (seed, 90, 200)).save(tmp_path / name)  # 132 KB each
    Image.new("RGB", (300, 300)).save(tmp_path / "large.bmp")  # 270 KB
    report = client.predict([handle_file(str(tmp_path / "large.bmp"))], session, api_name="/index")
    assert "over the limit of 200 KB" in report["problems"][0]["message"]
    files = [handle_file(str(tmp_path / name)) for name in ("one.bmp", "two.bmp", "three.bmp")]
    fresh = client.predict(files, api_name="/index")
    assert fresh["added"] == 2
    assert [problem["source"] for problem in fresh["problems"]] == ["three.bmp"]
    assert "METAEMBED_MAX_SESSION_BYTES" in fresh["problems"][0]["message"]
    client.predict(fresh["session"], api_name="/end_session")


def test_the_document_s_example_runs(small: Served, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    (example,) = re.findall(r"```python\n(.*?gradio_client.*?)```", text, re.DOTALL)
    picture.rename(picture.with_name("report.png"))
    monkeypatch.chdir(picture.parent)
    names: dict[str, Any] = {}
    exec(example.replace("http://127.0.0.1:7860", small.address), names)
    assert check(names["report"], "index")["added"] == 1
    assert check(names["found"], "search")["hits"][0]["source"] == "report.png"
    check(names["why"], "explain")
    with pytest.raises(AppError, match="no such session"):  # the example ends its session
        names["client"].predict(names["report"]["session"], api_name="/documents")


def test_every_limit_is_in_the_document_and_the_page(small: Served) -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    for name in vars(LIMITS):
        assert f"METAEMBED_{name.upper()}" in text, name
    shown = limits(
        LIMITS.model_copy(
            update={
                "max_sessions": 43,
                "max_queue": 57,
                "seconds_per_job": 61,
                "max_session_bytes": 9 * 10**6,
            }
        )
    )
    assert all(f"<dd>{value}</dd>" in shown for value in ("43", "57", "61 s", "9 MB"))
    assert "Sessions at a time</dt><dd>180</dd>" in httpx.get(f"{small.address}/config").text.replace(
        "\\u003c", "<"
    )


# Health


def test_health(small: Served) -> None:
    got = httpx.get(f"{small.address}/health")
    assert got.status_code == 200
    assert check(got.json(), "health")["pages"] == 4
    assert httpx.head(f"{small.address}/health").status_code == 200
    assert httpx.post(f"{small.address}/health").status_code == 405


@pytest.fixture
def base() -> Collection:
    return samples(DummyEncoder())


def test_health_says_when_nothing_is_served_yet(base: Collection) -> None:
    api = Api(Visits(Tools(DummyEncoder()), base), base)
    for ready, status in ((True, 200), (False, 503)):
        app = Starlette(routes=[Route("/health", health(api, lambda ready=ready: ready))])
        got = TestClient(app).get("/health")
        assert got.status_code == status
        check(got.json(), "health")


# Jobs


def test_a_job_ends_when_its_time_is_up(base: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, *(make_page("long.pdf", number, f"page number {number}") for number in range(1, 30)))
    allowed = LIMITS.model_copy(update={"seconds_per_job": 0})
    session = Session("a-token", base)
    steps = list(jobs.index(session, DummyEncoder(), [], [], threading.Event(), allowed))
    ended = steps[-1]
    assert isinstance(ended, jobs.Indexed)
    assert "took more than 0 s, at long.pdf" in ended.error
    assert "METAEMBED_SECONDS_PER_JOB" in ended.error
    assert 4 < len(session.collection) < 33  # what was read by then stays
    assert not ended.report.finished
