"""The sample corpus: shipped or indexed once, kept, brought up to date, searchable without a cache too."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PIL import Image
from reportlab.lib.pagesizes import A6
from reportlab.pdfgen.canvas import Canvas

from metaembed_demo.collection import fitting, index_file, lazy_pictures
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.progress import Report
from metaembed_demo.collection.reencode import reencode
from metaembed_demo.collection.search import search
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import Query, Upload
from metaembed_demo.documents import poppler
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.encoders.registry import MULTILINGUAL, load_encoder
from metaembed_demo.evaluation import climbs, sample_calibrations, sample_corpus, shipped_samples
from metaembed_demo.evaluation.beir import Beir, Judgements, collect, digests_of, load_beir
from metaembed_demo.evaluation.sample_corpus import Samples, open_samples, ship
from metaembed_demo.evaluation.shipped_samples import Shipped, pack_vectors, unpack_vectors
from metaembed_demo.index.quantization import KINDS
from tests.support.dummy_encoder import DummyEncoder
from tests.support.sample_pages import keep_as, random_vectors

PAGES = {
    "coffee.pdf": ["Fill the tank and press the steam button to descale", "Grind size sets the taste"],
    "trains.pdf": ["Trains from Bern to Zurich leave from platform 4"],
}
QUESTIONS = {
    "How do I descale the tank?": "coffee.pdf#1",
    "Which grind size tastes best?": "coffee.pdf#2",
    "Which platform for trains to Zurich?": "trains.pdf",
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    (folder / "qrels").mkdir(parents=True)
    for name, texts in PAGES.items():
        write_pdf(folder / name, texts)
    lines = [json.dumps({"_id": f"q{i}", "text": text}) for i, text in enumerate(QUESTIONS)]
    (folder / "queries.jsonl").write_text("\n".join(lines), encoding="utf-8")
    judged = [f"q{i}\t{target}\t1" for i, target in enumerate(QUESTIONS.values())]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(judged))
    return folder


def write_pdf(path: Path, texts: list[str]) -> None:
    canvas = Canvas(str(path), pagesize=A6)
    for text in texts:
        canvas.setFontSize(9)
        canvas.drawString(20, 380, text)
        canvas.showPage()
    canvas.save()


class CountingEncoder(DummyEncoder):
    """Counts the pages and queries that it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = self.queries = 0

    def encode_pages(self, pages):  # type: ignore[no-untyped-def]
        self.pages += len(pages)
        return super().encode_pages(pages)

    def encode_queries(self, queries):  # type: ignore[no-untyped-def]
        self.queries += len(queries)
        return super().encode_queries(queries)


def test_the_second_start_encodes_nothing(corpus: Path, tmp_path: Path) -> None:
    first = open_samples(CountingEncoder(), corpus, tmp_path / "cache", tell=lambda _: None)
    assert len(first.collection) == first.report.added == 3
    assert first.curve is not None
    assert first.curve.questions == 3
    encoder = CountingEncoder()
    second = open_samples(encoder, corpus, tmp_path / "cache", tell=lambda _: None)
    assert (encoder.pages, encoder.queries) == (0, 0)
    assert second.curve == first.curve
    assert sorted(second.collection.pages) == sorted(first.collection.pages)


@pytest.mark.slow
def test_a_changed_corpus_is_brought_up_to_date_and_measured_again(corpus: Path, tmp_path: Path) -> None:
    open_samples(DummyEncoder(), corpus, tmp_path / "cache", tell=lambda _: None)
    write_pdf(corpus / "trains.pdf", ["Trains from Bern to Zurich leave from platform 9", "No bicycles"])
    encoder = CountingEncoder()
    again = open_samples(encoder, corpus, tmp_path / "cache", tell=lambda _: None)
    assert encoder.pages == 2
    assert encoder.queries > 0
    assert len(again.collection) == 4


def test_a_damaged_cache_is_made_anew(corpus: Path, tmp_path: Path) -> None:
    cache, told = tmp_path / "cache", []
    open_samples(DummyEncoder(), corpus, cache, tell=told.append)
    (manifest,) = cache.glob("samples-*/manifest.json")
    manifest.write_text("{}")
    assert len(open_samples(DummyEncoder(), corpus, cache, tell=told.append).collection) == 3
    assert any("made anew" in line for line in told)


def test_without_a_writable_cache_the_corpus_is_searchable_all_the_same(corpus: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("where the cache should be")
    told: list[str] = []
    samples = open_samples(DummyEncoder(), corpus, blocked, tell=told.append)
    assert len(samples.collection) == 3
    assert samples.curve is not None
    assert any("will not be kept" in line for line in told)


def test_a_kept_index_that_cannot_be_written_is_read_all_the_same(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = open_samples(DummyEncoder(), corpus, cache, tell=lambda _: None)
    before = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    # As root, whom CI may be, no folder is read-only.
    monkeypatch.setattr(sample_corpus, "_writable", lambda folder: cache not in folder.parents)
    told: list[str] = []
    again = open_samples(DummyEncoder(), corpus, cache, tell=told.append)
    assert again.report.added == 0 < first.report.added
    assert again.curve == first.curve
    assert any("METAEMBED_CACHE" in line for line in told)
    assert {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()} == before


def test_examples_are_short_questions_about_different_documents(corpus: Path, tmp_path: Path) -> None:
    samples = open_samples(DummyEncoder(), corpus, tmp_path / "cache", tell=lambda _: None)
    asked = [example.question for example in samples.examples]
    assert asked == ["How do I descale the tank?", "Which platform for trains to Zurich?"]
    assert not any(
        example.ranks for example in samples.examples
    )  # on three pages nothing climbs three places


def test_a_corpus_without_questions_has_no_curve(corpus: Path, tmp_path: Path) -> None:
    (corpus / "queries.jsonl").unlink()
    samples = open_samples(DummyEncoder(), corpus, tmp_path / "cache", tell=lambda _: None)
    assert len(samples.collection) == 3
    assert samples.curve is None
    assert samples.examples == ()


# What is shipped


@pytest.fixture
def shipped(corpus: Path, tmp_path: Path) -> Path:
    """The corpus with a picture in it, as it would be shipped for the dummy encoder."""
    Image.linear_gradient("L").convert("RGB").resize((90, 60)).save(corpus / "sky.png")
    beir, encoder, out = load_beir(corpus), DummyEncoder(), tmp_path / "samples.npz"
    told = ship(collect(beir, encoder, Report()), beir, encoder, out)
    assert told["pages"] == 4
    assert told["bytes"] == out.stat().st_size
    return out


@pytest.fixture
def opened(corpus: Path, shipped: Path, tmp_path: Path) -> Samples:
    return open_shipped(corpus, shipped, tmp_path / "cache", CountingEncoder())


def open_shipped(corpus: Path, shipped: Path, cache: Path, encoder: DummyEncoder) -> Samples:
    return open_samples(encoder, corpus, cache, tell=lambda _: None, shipped=shipped)


def test_what_is_shipped_serves_without_reading_encoding_or_writing(
    corpus: Path, shipped: Path, tmp_path: Path
) -> None:
    encoder, cache = CountingEncoder(), tmp_path / "cache"
    found = open_shipped(corpus, shipped, cache, encoder)
    assert (encoder.pages, encoder.queries, found.report.added) == (0, 0, 0)
    assert not cache.exists()
    read = open_samples(DummyEncoder(), corpus, cache, tell=lambda _: None)
    assert found.examples == read.examples
    assert found.curve is not None
    assert found.curve.questions == 3
    for ours, theirs in zip(found.collection.pages.values(), read.collection.pages.values(), strict=True):
        assert ours.as_json() == theirs.as_json()
        assert ours.picture == theirs.picture
        assert ours.title == theirs.title
    ids = list(read.collection.pages)
    cosines = (found.collection.index.vectors(ids) * read.collection.index.vectors(ids)).sum(-1)
    assert cosines.min() > 0.999


def test_the_encoder_whose_vectors_are_shipped_beside_reads_nothing(
    corpus: Path, shipped: Path, tmp_path: Path
) -> None:
    other = CountingEncoder()
    other.fingerprint = "dummy-2"
    *_, made = reencode(open_shipped(corpus, shipped, tmp_path, DummyEncoder()).collection, other, Event())
    assert isinstance(made, Collection)
    shipped_samples.write_vectors(shipped.with_name(PATHS.shipped_vectors.name), made)
    other.pages = 0
    found = open_shipped(corpus, shipped, tmp_path / "cache", other)
    assert (other.pages, found.collection.fingerprint) == (0, "dummy-2")
    assert list(found.collection.pages) == list(made.pages)
    assert found.curve is not None
    assert other.queries > 0, "what the questions find is measured"
    again = CountingEncoder()
    again.fingerprint = "dummy-2"
    open_shipped(corpus, shipped, tmp_path / "cache", again)
    assert (again.pages, again.queries) == (0, 0), "and kept"


def test_an_up_to_date_cache_is_taken_first_for_its_pictures(
    corpus: Path, shipped: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    open_samples(DummyEncoder(), corpus, cache, tell=lambda _: None)
    pages = open_shipped(corpus, shipped, cache, DummyEncoder()).collection.pages.values()
    assert all(isinstance(page.kept, bytes) for page in pages)


@pytest.mark.parametrize("what", ["a file", "the encoder", "the shipped file"])
def test_the_corpus_is_read_where_what_is_shipped_does_not_fit(
    corpus: Path, shipped: Path, tmp_path: Path, what: str
) -> None:
    encoder = CountingEncoder()
    if what == "a file":
        write_pdf(corpus / "trains.pdf", ["Trains from Bern to Zurich leave from platform 9"])
    elif what == "the encoder":
        encoder.fingerprint = "dummy-2"
    else:
        shipped.write_bytes(shipped.read_bytes()[:-400])
    found = open_shipped(corpus, shipped, tmp_path / "cache", encoder)
    assert encoder.pages == len(found.collection) == 4


def test_new_questions_are_measured_on_the_shipped_pages(corpus: Path, shipped: Path, tmp_path: Path) -> None:
    questions = corpus / "queries.jsonl"
    questions.write_text(questions.read_text().replace("tastes best", "is best"), encoding="utf-8")
    encoder = CountingEncoder()
    assert open_shipped(corpus, shipped, tmp_path / "cache", encoder).curve is not None
    assert encoder.pages == 0 < encoder.queries
    again = CountingEncoder()
    open_shipped(corpus, shipped, tmp_path / "cache", again)
    assert again.queries == 0  # the curve was kept


def test_a_shipped_collection_does_all_that_one_does(opened: Samples, tmp_path: Path) -> None:
    collection = opened.collection.copy()
    index_file.pack(collection, tmp_path)
    home = Collection.for_encoder(DummyEncoder())
    file = Upload(tmp_path / index_file.NAME, "mine.zip")
    assert index_file.add(home, file, base=collection)[:2] == (4, 4)
    *_, other = reencode(collection, DummyEncoder(), Event())
    assert isinstance(other, Collection)
    assert list(other.pages) == list(home.pages) == list(collection.pages)
    asked = Query("Which platform for trains to Zurich?")
    for kind in ("int8", "binary", "float16"):
        keep_as(collection, kind)
        hit = search(collection, DummyEncoder(), asked, STOPS[-1]).hits[0]
        assert collection.pages[hit.page_id].source == "trains.pdf"
    assert collection.remove("coffee.pdf") == 2
    assert len(collection) == 2
    assert len(opened.collection) == 4


def test_a_picture_is_drawn_once_however_many_ask(opened: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    real = lazy_pictures.picture_of
    monkeypatch.setattr(lazy_pictures, "picture_of", lambda file, at: (drawn.append(at), real(file, at))[1])
    pages = [*opened.collection.pages.values(), *opened.collection.copy().pages.values()]
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(lambda page: page.picture, pages * 3))
    assert len(set(pictures)) == len(drawn) == 4
    for page, picture in zip(pages, pictures, strict=False):
        assert Image.open(io.BytesIO(picture)).size == (page.width, page.height)
        assert page.at([("elsewhere.pdf", 7)]).picture is picture


def test_pictures_are_made_behind(opened: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.draw_behind().join()
    monkeypatch.setattr(lazy_pictures, "picture_of", None)
    assert all(page.thumbnail for page in opened.collection.pages.values())


def test_a_file_that_is_gone_is_named(
    opened: Samples, corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (corpus / "trains.pdf").unlink()
    page = next(page for page in opened.collection.pages.values() if page.source == "trains.pdf")
    with pytest.raises(ValueError, match=r"trains\.pdf"):
        page.picture  # noqa: B018
    opened.draw_behind().join()
    assert "trains.pdf" in caplog.text


@pytest.mark.parametrize(("kind", "least"), [(np.int8, 0.9998), (np.int16, 0.999_999)])
def test_vectors_keep_their_directions(kind: type, least: float) -> None:
    vectors = random_vectors(3, 5, 64, 384)
    again = unpack_vectors(pack_vectors(vectors, np.dtype(kind)))
    assert np.linalg.norm(again, axis=-1) == pytest.approx(1)
    assert (again * vectors).sum(-1).min() > least


# The file in assets/. Where one of these fails: python -m metaembed_demo samples --ship


@pytest.fixture(scope="module")
def beir() -> Beir:
    return load_beir(PATHS.sample_corpus)


@pytest.fixture(scope="module")
def asset(mini: Mini, beir: Beir) -> Shipped:
    """What is shipped: it fits this encoder and these sample files."""
    found = shipped_samples.read(PATHS.shipped_samples, mini, beir.files, digests_of(beir))
    assert found is not None
    return found


def test_the_shipped_file_is_small_and_up_to_date(asset: Shipped, mini: Mini, beir: Beir) -> None:
    assert PATHS.shipped_samples.stat().st_size < 4_000_000
    assert asset.measured is not None
    assert asset.measured.key == sample_corpus._state(beir, asset.collection, mini)
    assert {document.source for document in asset.collection.documents()} == {f.name for f in beir.files}


def test_the_shipped_fit_is_of_this_encoder_and_these_pages(asset: Shipped, mini: Mini) -> None:
    fit = fitting.calibration_of(mini.fingerprint)
    assert fit is not None
    assert (fit.pages, fit.own) == (len(asset.collection), 180)
    for stop in STOPS:
        assert fit.chance(0.2, stop) < fitting.NOTHING < 0.5 < fit.chance(0.6, stop)
    for bins in fit.reliability:
        assert sum(count for *_, count in bins) == fit.own + fit.foreign
    assert len(fit.reliability) == len(STOPS)


def test_the_shipped_calibrations_are_of_the_shipped_pages(asset: Shipped, mini: Mini, beir: Beir) -> None:
    path, digests = PATHS.shipped_samples.with_name(sample_calibrations.NAME), digests_of(beir)
    multilingual = load_encoder(MULTILINGUAL)
    beside = shipped_samples.read(PATHS.shipped_samples, multilingual, beir.files, digests)
    assert beside is not None
    assert list(beside.collection.pages) == list(asset.collection.pages)
    for encoder in (mini, multilingual):
        found = sample_calibrations.read(path, encoder.fingerprint, digests)
        for kind in KINDS:
            of_kind = found.of(kind)
            assert of_kind is not None
            assert of_kind.auto is not None
            assert of_kind.auto.pages == len(asset.collection)
        assert not sample_calibrations.read(path, encoder.fingerprint, {"another": "file"})
    assert not sample_calibrations.read(path, "another encoder")


def test_the_shipped_climbs_are_what_a_search_by_meaning_gives(
    asset: Shipped, mini: Mini, beir: Beir
) -> None:
    path = PATHS.shipped_samples.with_name(climbs.NAME)
    found = climbs.read(path, sample_corpus._state(beir, asset.collection, mini), 5)
    assert found is not None
    assert len({climb.source for climb in found}) == len(found) == climbs.EXAMPLES
    assert [climb.places for climb in found] == sorted((climb.places for climb in found), reverse=True)
    index = asset.collection.index
    answers = climbs.answers_of(beir, Judgements(beir.qrels, asset.collection))
    for climb in found:
        (vectors,) = (each.vectors for each in mini.encode_queries([Query(climb.question)]))
        judged = answers[climbs.asked(climb.question)]
        for stop, rank in zip(STOPS, climb.ranks, strict=True):
            hits = index.rerank(vectors, stop, index.ids, len(index))
            assert min(hit.rank for hit in hits if hit.page_id in judged) == rank


def test_pages_read_now_are_those_that_are_shipped(asset: Shipped, mini: Mini, beir: Beir) -> None:
    names = {"house-rules.pdf", "slides.pdf", "pictures/beagle.png"}
    files = [file for file in beir.files if file.name in names]
    read = collect(Beir(beir.folder, {}, {}, files), mini, Report())
    assert {page.source for page in read.pages.values()} == names
    same_ids = asset.renderer == poppler.signature()  # ids are hashes of the pixels
    for page in read.pages.values():
        page_id = asset.collection.holder((page.source, page.number))
        assert page_id is not None
        ours = asset.collection.pages[page_id]
        assert ours.as_json()["words"] == page.as_json()["words"]
        assert (ours.width, ours.height) == (page.width, page.height)
        assert ours.id == page.id or not (same_ids or page.source.endswith(".png"))
        cosines = (read.index.full([page.id]) * asset.collection.index.vectors([ours.id])).sum(-1)
        assert cosines.min() > 0.999
