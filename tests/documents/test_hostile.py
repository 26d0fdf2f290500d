"""Hostile files and queries: each is read or rejected with a message, and no markup is executed."""

from __future__ import annotations

import itertools
import json
import logging
import random
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import lxml.html
import numpy as np
import pytest
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from benchmarks.robustness.hostile_files import files as files_module
from benchmarks.robustness.hostile_files import pdfs, pictures
from metaembed_demo.app.views import documents_tab, examples, search_tab
from metaembed_demo.app.visitors.links import TABS
from metaembed_demo.app.visitors.page_state import REGION_OF, Screen
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.indexing import index_files
from metaembed_demo.collection.progress import Report
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.text import clean
from metaembed_demo.core.types import Page, Problem, Upload, Word, page_id
from metaembed_demo.documents.pdf import MOST_LETTERS
from metaembed_demo.documents.sandbox.client import Rendered, read_files
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.evaluation.climbs import Climb
from metaembed_demo.explain.explainer import explainer
from tests.support.dummy_encoder import DummyEncoder

pytestmark = pytest.mark.slow

# So that what takes all of it ends sooner.
FEW = LIMITS.model_copy(update={"max_pages": 3, "worker_megabytes": 1500})
MARKUP = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(2)</script>',
    "' onmouseover='alert(3)",
    "<xss-mark style=x>&amp;</xss-mark>",
)


# Files


def subset() -> Iterator[files_module.Bad]:
    """A part of the corpus with every category, limited to files that are quick to generate."""
    rng = random.Random(1)
    whole = {".pdf": pdfs.good(2, pictures.sample()), **pictures.good()}
    whole[".zip"] = files_module.packed({f"inside{suffix}": content for suffix, content in whole.items()})
    yield from itertools.islice(files_module.cut(whole), 0, None, 30)
    yield from itertools.islice(files_module.flipped(whole, rng), 0, None, 36)
    yield from itertools.islice(files_module.mistaken(whole, rng), 0, None, 22)
    for part, step in (
        (pdfs.encrypted, 3),
        (pdfs.active, 14),
        (pdfs.sized, 10),
        (pdfs.coloured, 10),
        (pdfs.empty, 3),
        (pdfs.written, 4),
        (pdfs.knots, 9),
        (pdfs.broken, 5),
    ):
        for kind, what, content in itertools.islice(part(rng), 0, None, step):
            yield files_module.Bad(kind, what, "document.pdf", content)
    for part, step in (
        (pictures.dimensions, 12),
        (pictures.colours, 16),
        (pictures.tags, 5),
        (pictures.frames, 5),
    ):
        for suffix, kind, what, content in itertools.islice(part(rng), 0, None, step):
            yield files_module.Bad(kind, what, f"picture{suffix}", content)
    for what, content in itertools.islice(files_module.archives(whole, rng), 0, 25, 6):
        yield files_module.Bad("archive", what, "archive.zip", content)


@pytest.fixture(scope="module")
def bads() -> list[files_module.Bad]:
    return list(subset())


def test_bad_files_are_read_or_refused_and_take_nothing_with_them(
    bads: list[files_module.Bad], tmp_path: Path
) -> None:
    encoder = DummyEncoder()
    collection = Collection.for_encoder(encoder)
    good = tmp_path / "good.png"
    pictures.sample(7).save(good)
    list(index_files(collection, [Upload(good, "good.png")], encoder, Report()))
    [[kept, before]] = [(page_id, collection.index.vectors([page_id])) for page_id in collection.pages]
    tried = 0
    for number, bad in enumerate(bads):
        path = tmp_path / f"{number}{Path(bad.name).suffix}"
        path.write_bytes(bad.content)
        name, report = f"{number}-{bad.name}", Report()
        list(index_files(collection, [Upload(path, name)], encoder, report, FEW))
        about = f"{bad.kind}, {bad.what}: {report}"
        assert report.finished, about
        assert report.added or report.duplicates or report.problems or report.notices, about
        for problem in [*report.problems, *report.notices]:
            assert problem.source == name or problem.source.startswith(f"{name}/"), about
            assert name in problem.message, about
            # A form that draws itself twice takes all the memory that pdfium may have.
            assert "reader" not in problem.message or bad.what == "a form in itself", about
            assert "Error" not in problem.message, about
        np.testing.assert_array_equal(collection.index.vectors([kept]), before)
        tried += 1
    assert tried >= 50
    assert collection.pages[kept].source == "good.png"


def test_the_corpus_is_the_same_each_time(bads: list[files_module.Bad]) -> None:
    assert list(subset()) == bads


def test_a_text_without_end_is_read_in_part(tmp_path: Path) -> None:
    made = {what: content for _, what, content in pdfs.written(random.Random(1))}
    (tmp_path / "long.pdf").write_bytes(made["150,000 letters in 3,240 rows"])
    page, problem = read_files([Upload(tmp_path / "long.pdf", "long.pdf")])
    assert isinstance(page, Rendered)
    assert 90_000 < len(page.page.text) <= MOST_LETTERS
    assert isinstance(problem, Problem)
    assert problem.message.startswith("Page 1 of long.pdf has a text of 1")
    assert problem.message.endswith("of which the first 100,000 were read.")


def test_nothing_outside_a_document_is_read_or_asked_for(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"BT /F 12 Tf 20 60 Td (the secret words of another file) Tj ET")
    files = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = b"http://127.0.0.1:%d/s" % server.getsockname()[1]
        for kind, what, content in pdfs.active(random.Random(1)):
            path = tmp_path / f"{len(files)}.pdf"
            path.write_bytes(
                content.replace(b"/etc/hostname", str(secret).encode())
                .replace(b"http://127.0.0.1:9/s", address)
                .replace(b"http://127.0.0.1:9/opened", address)
            )
            files.append(Upload(path, f"{kind} {what}.pdf"))
        found = list(read_files(files))
        with pytest.raises(BlockingIOError):  # nobody called
            server.accept()
    pages = [item.page for item in found if isinstance(item, Rendered)]
    assert len(pages) > 10
    assert not [page.source for page in pages if "secret" in page.text]


# Queries


@pytest.fixture(scope="module")
def base(mini: Mini) -> Collection:
    """Pages whose names and words are markup."""
    found = Collection.for_encoder(mini)
    for number, markup in enumerate(MARKUP, 1):
        texts = ["kettle", *markup.split(" "), markup, "lantern", f"sheet{number}"]
        words = [Word(t, (0.1, 0.05 * i, 0.3, 0.05 * i + 0.03)) for i, t in enumerate(texts)]
        image = Image.new("RGB", (60, 80), (200, 30 * number, 90))
        page = Page(page_id(image, words), f"{markup}.pdf", number, image, tuple(words))
        stored = StoredPage.of(page).at([(f"{markup}.pdf", number), (f"also {markup}.png", 1)])
        found.put(stored, mini.encode_pages([page])[0])
    return found


@pytest.fixture
def visit(mini: Mini, base: Collection) -> Visit:
    sessions = Sessions(base)
    tools = Tools(mini, examples=MARKUP, explainer=explainer(mini), notice=MARKUP[0])
    return Visit(tools, sessions.get(sessions.open()))


def harmless(html: str | None) -> str:
    """The text that a browser would show; fails on active content."""
    assert html is not None
    html.encode()  # no half surrogate pair, which would break the answer
    assert clean(html) == html
    tree = lxml.html.fromstring(f"<div>{html}</div>")
    for element in tree.iter():
        assert element.tag not in ("script", "xss-mark", "iframe", "object", "embed", "base", "meta"), html
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on"), html
            assert not value.strip().lower().startswith("javascript:"), html
        if element.tag == "img" and "src" in element.attrib:
            assert re.fullmatch(r"pictures/[\w-]{16}/\w+/(page|thumbnail)\.jpg", element.attrib["src"]), html
        for name, value in element.attrib.items():
            if name in ("data-map", "data-matrix", "data-link", "data-trace", "data-json", "data-rows"):
                json.loads(value)  # whole, whatever quotes are in it
    return str(tree.text_content())


def harmless_screen(screen: Screen) -> str:
    return "".join(harmless(html) for html in vars(screen).values() if html)


@pytest.mark.parametrize("markup", MARKUP[:2] + MARKUP[3:])
def test_the_check_sees_markup_that_runs(markup: str) -> None:
    with pytest.raises(AssertionError):
        harmless(f'<p title="">{markup}</p>')


@pytest.mark.parametrize("markup", MARKUP)
def test_markup_in_names_words_and_queries_is_shown_and_never_run(visit: Visit, markup: str) -> None:
    shown = harmless_screen(visit.search(f"kettle {markup}"))
    for name in MARKUP:
        assert f"{name}.pdf" in shown
    assert visit.trace is not None
    for hit in visit.trace.hits:
        screen = visit.choose(hit.page_id)
        shown = harmless_screen(screen)
        page = visit.collection.pages[hit.page_id]
        assert f"also {page.source[:-4]}.png" in shown
        harmless_screen(visit.explain())
        reading = json.loads(
            str(visit.explanation_tabs.reading(page.id, visit.explanation_tabs._reading_name()))
        )
        told = [word[4] for word in reading["words"] if word[4]]
        assert told == [clean(word.text) for word in page.words], "as parsed, to be set as text"
        marks = lxml.html.fromstring(str(visit.screen().marks))
        assert markup in json.loads(marks.attrib["data-map"])["query"] or " " in markup
        assert clean(marks.attrib["data-reading"]) == marks.attrib["data-reading"]
        for tab in TABS:
            opened = visit.open_tab(tab)
            assert getattr(opened, REGION_OF[tab]), tab
            harmless_screen(opened)
        harmless(visit.trace_record())
        harmless_screen(visit.side("pin"))
        harmless_screen(visit.side("other", "2x4"))
    for stop in STOPS:
        harmless_screen(visit.move(stop))
        harmless_screen(visit.open_at(hit.page_id, stop))
    for screen in visit.test():
        harmless_screen(screen)


def test_markup_in_the_other_rooms(visit: Visit, tmp_path: Path) -> None:
    visit.search(f"lantern {MARKUP[1]}")
    shown = "".join(harmless(html) for html in vars(visit.documents_tab()).values() if isinstance(html, str))
    for name in MARKUP:
        assert f"{name}.pdf" in shown
    for html in (visit.study.cost(visit.collection), visit.study.tokens()):
        harmless(html)
    for rooms in (visit.budget_tab(), *visit.measure("session"), *visit.study.read_all(visit.collection)):
        harmless_screen(rooms)
    labels = [Upload(tmp_path / f"{MARKUP[0]}.{kind}", f"{MARKUP[0]}.{kind}") for kind in ("jsonl", "tsv")]
    for file in labels:
        file.path.write_text(MARKUP[0])
    visit.study.take_labels(labels, visit.collection)
    assert visit.study.problem
    harmless_screen(visit.budget_tab())
    for name in MARKUP:
        for html in (
            search_tab.failure(name, name),
            examples.examples([Climb(name, name, (5, 4, 3, 2, 1))]),
            search_tab.header(name, name, 3, name),
            documents_tab.opening([name]),
            documents_tab.opened(name, 1, 3),
            documents_tab.not_opened(name, name),
            documents_tab.not_packed(name),
            documents_tab.packed(name, 1, 9),
            documents_tab.refused(name, name),
            documents_tab.switched(name, name, 3),
            documents_tab.loading(name),
            documents_tab.encoders([name, "mini"], name),
            documents_tab.failed(name),
        ):
            assert html.count("<") > 1
            harmless(html)


def test_uploads_with_markup_for_names_and_words(visit: Visit, tmp_path: Path) -> None:
    files = []
    for number, markup in enumerate(MARKUP):
        canvas = Canvas(str(tmp_path / f"{number}.pdf"), pagesize=(500, 200))
        canvas.drawString(20, 150, f"Chapter {number} {markup} of a manual about umbrellas")
        canvas.save()
        files.append(Upload(tmp_path / f"{number}.pdf", f"{markup}.pdf"))
        files.append(Upload(tmp_path / f"{number}.pdf", f"twice {markup}.pdf"))
        (tmp_path / f"{number}.png").write_bytes(b"%PDF- not at all")
        files.append(Upload(tmp_path / f"{number}.png", f"bad {markup}.png"))
    files.append(Upload(tmp_path / "0.pdf", "bell\x07 turned \u202efdp.exe half \ud800 null\0.pdf"))
    harmless(visit.receive(files).news)
    told = ""
    for tab in visit.index_pending():
        told = "".join(harmless(html) for html in (tab.news, tab.listing, tab.statistics) if html)
    for markup in MARKUP:
        assert f"bad {markup}.png" in told
        assert f"twice {markup}.pdf" in told
    assert "bell\ufffd turned \ufffdfdp.exe half \ufffd null\ufffd.pdf" in told
    shown = harmless_screen(visit.search("manual about umbrellas"))
    assert all(markup in shown for markup in MARKUP)
    sources = [document.source for document in visit.collection.documents()]
    odd = next(source for source in sources if source.startswith("bell"))
    visit.remove(odd)  # by the name that the page shows
    assert odd not in [document.source for document in visit.collection.documents()]


@pytest.mark.parametrize(
    "query",
    [
        "kettle\0 lantern \x07\x1b[31m\x7f",
        "half \ud800 a pair \udfff",
        "\u202ekettle\u202c \u2066lantern",
        "e" + "\u0301" * 400,
        "x" * 2_000,
        "🎉" * 500,
        "ما هو سعر الغلاية やかんの値段",
        "{0.__class__} %s %n ${jndi:ldap://x} ../../etc/passwd '; DROP TABLE pages; --",
    ],
)
def test_odd_queries_are_answered(visit: Visit, query: str) -> None:
    screen = visit.search(query)
    harmless_screen(screen)
    assert 'class="hit"' in (screen.results or "")


def test_a_query_of_invisible_characters_is_empty(visit: Visit) -> None:
    screen = visit.search("\u200b\u2060\ufeff")
    harmless_screen(screen)
    assert "The query is empty" in (screen.results or "")


def test_a_very_long_query_is_refused_in_words_and_quickly_shown(visit: Visit) -> None:
    screen = visit.search("<b>kettle</b> " * 80_000)
    shown = harmless(screen.results)
    assert "The query has 1,120,000 characters, over the limit of 2,000. Shorten it" in shown
    assert len(screen.results or "") < 20_000
    assert 'class="hit"' in (visit.search("kettle").results or "")


def test_a_query_that_fails_is_logged_in_short(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("<b>no</b>")

    monkeypatch.setattr(Mini, "query_evidence", fail)
    with caplog.at_level(logging.ERROR):
        shown = harmless(visit.search("kettle " * 250).results)
    assert "<b>no</b>" in shown
    assert len(caplog.records[0].getMessage()) < 200
