"""Switching the encoder: the pages come along, a failure costs nothing, nobody's names leak."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaembed_demo.app.views import documents_tab
from metaembed_demo.app.visitors.encoder_choice import Encoders, switch
from metaembed_demo.app.visitors.session import Sessions
from metaembed_demo.app.visitors.tools import Tools
from metaembed_demo.app.visitors.upload_queue import uploads_of
from metaembed_demo.app.visitors.visitor import Visit
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.reencode import opened, reencode
from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.config import PATHS, Space
from metaembed_demo.core.types import Page, Word
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.encoders.registry import affordable
from metaembed_demo.encoders.vlm.checkpoints import save_vlm
from metaembed_demo.encoders.vlm.encoder import VLM, create
from metaembed_demo.encoders.vlm.prompts import Item
from metaembed_demo.evaluation import shipped_samples
from tests.support import tiny_vlm
from tests.support.app_server import Served, Tab, serve
from tests.support.dummy_encoder import DummyEncoder

pytestmark = pytest.mark.slow


class Other(DummyEncoder):
    name, fingerprint = "Other", "other-1"


def load(name: str) -> Encoder:
    if name == "broken":
        raise FileNotFoundError("There are no weights in broken. Fetch them first.")
    if name == "worse":
        raise RuntimeError("CUDA error: device lost")
    return Other(dim=32)


def page(text: str, number: int, source: str = "guide.pdf") -> StoredPage:
    image = Image.new("RGB", (60, 80), (9 * number, 90, 90))
    return StoredPage.of(Page(f"p{number}", source, number, image, (Word(text, (0.1, 0.1, 0.3, 0.2)),)))


@pytest.fixture
def base() -> Collection:
    encoder = DummyEncoder()
    found = Collection.for_encoder(encoder)
    for number, text in enumerate(["tank", "train", "boat", "lens", "bread"], 1):
        stored = page(text, number)
        found.put(stored, encoder.encode_pages([Page(stored.id, "", 1, None, stored.words)])[0])
    return found


@pytest.fixture
def encoders(base: Collection) -> Encoders:
    return Encoders(["mini", "other", "broken", "worse"], Tools(DummyEncoder()), base, load)


@pytest.fixture
def visit(encoders: Encoders, base: Collection) -> Visit:
    sessions = Sessions(base)
    return Visit(encoders.tools("mini"), sessions.get(sessions.open()))


def test_pages_and_query_come_along(visit: Visit, encoders: Encoders) -> None:
    visit.search("boat")
    *running, done = switch(visit, encoders, "other")
    assert all(tab.busy for tab in running)
    assert "Loading other" in str(running[0].news)
    assert "5 pages encoded again" in str(done.news)
    assert not done.busy
    assert visit.collection.fingerprint == "other-1"
    assert visit.tools.encoder.name == "Other"
    assert visit.tools.curve is None, "it was measured with the other encoder"
    assert visit.chosen == "p3", "the open search was asked again"
    screen = visit.screen()
    assert "Other" in str(screen.header)
    assert screen.page, "its picture is sent anew"
    *_, back = switch(visit, encoders, "mini")
    assert visit.collection.fingerprint == "dummy-1"
    assert "encoded again" in str(back.news)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("broken", "Fetch them first"),
        ("worse", "device lost"),
        ("<b>", "There is no encoder called &lt;b&gt; here"),
    ],
)
def test_an_encoder_that_does_not_load_changes_nothing(
    visit: Visit, encoders: Encoders, name: str, told: str
) -> None:
    *_, last = switch(visit, encoders, name)
    assert told in str(last.news)
    assert visit.collection.fingerprint == "dummy-1"
    assert visit.search("boat").results
    assert visit.chosen == "p3"


def test_a_stop_changes_nothing(visit: Visit, encoders: Encoders) -> None:
    steps = switch(visit, encoders, "other")
    next(steps)
    next(steps)
    visit.stop.set()
    *_, last = steps
    assert "Stopped" in str(last.news)
    assert visit.collection.fingerprint == "dummy-1"


def test_what_is_uploaded_or_removed_meanwhile_is_as_the_visitor_left_it(
    visit: Visit, encoders: Encoders
) -> None:
    mine = page("kettle", 9, "mine.pdf")
    steps = switch(visit, encoders, "other")
    while "4 of 5" not in str(next(steps).news):
        pass
    visit.collection.put(mine, visit.tools.encoder.encode_pages([opened(mine)])[0])
    visit.collection.drop(["p1"])
    visit.collection.note_place("p2", ("copy.pdf", 1))
    list(steps)
    assert visit.collection.fingerprint == "other-1"
    assert sorted(visit.collection.pages) == ["p2", "p3", "p4", "p5", "p9"]
    assert visit.collection.sources() == {"guide.pdf", "copy.pdf", "mine.pdf"}
    visit.search("kettle")
    assert visit.chosen == "p9"


def test_a_switch_waits_for_an_upload(visit: Visit, encoders: Encoders) -> None:
    uploads = uploads_of(visit.session)
    uploads._idle.clear()  # files are being read
    steps = switch(visit, encoders, "other")
    for _ in range(8):
        assert next(steps).busy
    assert visit.collection.fingerprint == "dummy-1"
    uploads._idle.set()
    assert "5 pages encoded again" in str(list(steps)[-1].news)
    assert visit.collection.fingerprint == "other-1"


def test_a_second_click_reads_nothing_twice(visit: Visit, encoders: Encoders) -> None:
    steps = switch(visit, encoders, "other")
    next(steps)
    (told,) = switch(visit, encoders, "other")
    assert told.news is None
    assert told.busy
    list(steps)
    assert visit.collection.fingerprint == "other-1"
    list(switch(visit, encoders, "mini"))
    assert visit.collection.fingerprint == "dummy-1", "the next one is taken"


def test_storage_comes_along(visit: Visit, encoders: Encoders) -> None:
    visit.collection.index = visit.collection.index.stored_as("binary")
    visit.collection.index.recall = 0.9
    list(switch(visit, encoders, "other"))
    assert (visit.collection.index.storage, visit.collection.index.recall) == ("binary", 0.9)
    visit.search("boat")
    assert visit.chosen == "p3"


def test_the_samples_of_later_visitors_have_full_vectors_whatever_this_one_stores(
    visit: Visit, encoders: Encoders, base: Collection
) -> None:
    visit.collection.index = visit.collection.index.stored_as("binary")
    list(switch(visit, encoders, "other"))
    exact = Other(dim=32).encode_pages([opened(page) for page in base.pages.values()])
    known = encoders.known(Other(dim=32))
    assert known is not None
    for each, vectors in zip(exact, known.index.vectors(list(base.pages)), strict=True):
        np.testing.assert_allclose(vectors, each.vectors, atol=1e-3)


def test_shipped_vectors_are_not_read_again(
    visit: Visit, encoders: Encoders, base: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, path = Other(dim=32), tmp_path / "samples-multilingual.npz"
    *_, made = reencode(base, other, threading.Event())
    assert isinstance(made, Collection)
    monkeypatch.setattr(PATHS.__class__, "shipped_vectors", path)
    assert shipped_samples.write_vectors(path, made) == path.stat().st_size
    monkeypatch.setattr(DummyEncoder, "encode_pages", lambda *_: pytest.fail("they are shipped"))
    list(switch(visit, encoders, "other"))
    assert visit.collection.fingerprint == "other-1"
    ids = list(base.pages)
    cosines = (visit.collection.index.vectors(ids) * made.index.vectors(ids)).sum(-1)
    assert cosines.min() > 0.999


def test_shipped_vectors_of_others_are_not_taken(base: Collection, tmp_path: Path) -> None:
    other, path = Other(dim=32), tmp_path / "samples-multilingual.npz"
    *_, made = reencode(base, other, threading.Event())
    assert isinstance(made, Collection)
    assert shipped_samples.read_vectors(path, other, base.pages) is None
    shipped_samples.write_vectors(path, made)
    assert shipped_samples.read_vectors(path, DummyEncoder(), base.pages) is None
    changed = Collection.for_encoder(DummyEncoder())
    changed.put(page("another", 3), DummyEncoder().encode_pages([Page("p3", "", 1, None, ())])[0])
    found = shipped_samples.read_vectors(path, other, changed.pages)
    assert found is not None
    assert len(found) == 0, "a page that bears the id of another"
    path.write_bytes(path.read_bytes()[:-40])
    assert shipped_samples.read_vectors(path, other, base.pages) is None


def test_pages_known_under_an_encoder_are_not_read_again(
    visit: Visit, encoders: Encoders, base: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(switch(visit, encoders, "other"))
    monkeypatch.setattr(DummyEncoder, "encode_pages", lambda *_: pytest.fail("they are known"))
    list(switch(visit, encoders, "mini"))
    np.testing.assert_array_equal(visit.collection.index.vectors(["p3"]), base.index.vectors(["p3"]))


def test_samples_come_back_under_the_other_encoder(visit: Visit, encoders: Encoders) -> None:
    list(switch(visit, encoders, "other"))
    visit.clear()
    assert len(visit.collection) == 0
    visit.restore()
    assert len(visit.collection) == 5
    assert visit.collection.fingerprint == "other-1"


def test_no_visitors_file_names_reach_the_next(visit: Visit, encoders: Encoders, base: Collection) -> None:
    visit.collection.note_place("p1", ("my diary.pdf", 1))
    mine = page("secret", 9, "my diary.pdf")
    vectors = DummyEncoder().encode_pages([Page("p9", "", 1, None, mine.words)])[0]
    visit.collection.put(mine, vectors)
    list(switch(visit, encoders, "other"))
    shared = encoders.base(Other(dim=32), visit.collection, base)
    assert "p9" not in shared.pages
    assert all(source == "guide.pdf" for p in shared.pages.values() for source, _ in p.places)


def test_each_encoder_is_loaded_once(base: Collection) -> None:
    loaded: list[str] = []

    def counting(name: str) -> Encoder:
        loaded.append(name)
        return Other(dim=32)

    encoders = Encoders(["mini", "other"], Tools(DummyEncoder()), base, counting)
    assert encoders.tools("other") is encoders.tools("other")
    assert loaded == ["other"]
    assert encoders.choice(encoders.tools("other")) == ("other", 0)
    assert np.isfinite(encoders.tools("other").encoder.dim)


def test_the_choice_is_shown_only_where_there_is_one() -> None:
    assert documents_tab.encoders(["mini"], "mini") == ""
    shown = documents_tab.encoders(["mini", "models/<qwen>"], "mini", busy=True)
    assert 'data-value="mini" data-tokens="0" disabled aria-pressed="true"' in shown
    assert "&lt;qwen&gt;" in shown


# Visual tokens a page


@pytest.fixture
def seeing() -> VLM:
    """A tiny vision-language model that takes up to 2,000 visual tokens a page."""
    model, processor = tiny_vlm.BACKBONES["qwen2_vl"].build()
    processor.image_processor.size = {"shortest_edge": 4 * 14**2, "longest_edge": 2000 * 28**2}
    return create(model, processor, "tiny/qwen2_vl", projection=8, rank=2)


@pytest.fixture
def choices(seeing: VLM, base: Collection) -> Encoders:
    return Encoders(["mini", "seeing"], Tools(DummyEncoder()), base, lambda _: seeing)


def test_a_resolution_is_another_encoder_on_the_same_weights(seeing: VLM) -> None:
    assert seeing.max_visual_tokens == 2000
    assert seeing.resolutions == (256, 576, 768, 1024, 1280)
    views = [seeing.at(tokens) for tokens in seeing.resolutions]
    assert len({view.fingerprint for view in [*views, seeing]}) == 6
    assert seeing.at(256).fingerprint == views[0].fingerprint
    assert all(view.network is seeing.network and view.lock is seeing.lock for view in views)
    image = Image.effect_noise((900, 1200), 80).convert("RGB")
    page = Page("p", "a.pdf", 1, image)
    pad = seeing.network.model.config.image_token_id
    read = [view.inputs([Item("", image)], False)[0]["input_ids"] for view in (views[0], seeing)]
    few, many = ((ids == pad).sum().item() for ids in read)
    assert 200 < few <= 256
    assert 1000 < many <= 2000
    small, large = views[0].encode_pages([page])[0].vectors, seeing.encode_pages([page])[0].vectors
    assert np.abs(small - large).max() > 1e-3
    loaded = seeing.settings.model_copy(update={"max_visual_tokens": 256})
    alike = VLM(seeing.network.model, views[1].processor, None, seeing.manifest, seeing._identity, loaded)
    assert alike.fingerprint == views[0].fingerprint, "as if it had been loaded with that limit"


@pytest.mark.parametrize(
    ("name", "sizes", "found"),
    [
        ("paligemma", {}, ()),  # one resolution
        ("mllama", {}, ()),  # its tiles stand outside the sequence
        ("qwen2_vl", {}, ()),  # so tiny that every limit is above its own
        ("idefics3", {"image_seq_len": 64, "edge": 4}, (64, 320, 640)),  # square tiles
    ],
)
def test_only_what_lowers_the_resolution_is_offered(
    name: str, sizes: dict[str, int], found: tuple[int, ...]
) -> None:
    model, processor = tiny_vlm.BACKBONES[name].build()
    if sizes:
        processor.image_seq_len = sizes["image_seq_len"]
        processor.image_processor.size = {"longest_edge": 32 * sizes["edge"]}
    made = create(model, processor, "tiny", rank=2)
    assert made.resolutions == found
    with pytest.raises(ValueError, match="cannot read pages at 100 visual tokens"):
        made.at(100)


def test_pages_come_along_to_another_resolution(visit: Visit, choices: Encoders, seeing: VLM) -> None:
    visit.search("boat")
    list(switch(visit, choices, "seeing"))
    own = visit.collection
    assert own.fingerprint == seeing.fingerprint
    assert choices.choice(visit.tools) == ("seeing", 0)
    assert choices.limits("seeing") == (2000, 256, 576, 768, 1024, 1280)
    first, *_, done = switch(visit, choices, "seeing", 256)
    assert "Loading" not in str(first.news), "the weights are there"
    assert "0 of 5 pages" in str(first.news)
    assert "at most 256 visual tokens a page" in str(done.news)
    assert choices.choice(visit.tools) == ("seeing", 256)
    assert visit.tools.encoder.fingerprint == visit.collection.fingerprint != own.fingerprint
    assert visit.tools.encoder.network is seeing.network  # type: ignore[attr-defined]
    assert visit.search("train").results
    assert len(visit.collection) == 5
    with pytest.raises(ValueError, match="different encoders"):
        own.merge(visit.collection)
    visit.clear()
    visit.restore()
    assert visit.collection.fingerprint == visit.tools.encoder.fingerprint
    list(switch(visit, choices, "mini"))
    assert choices.choice(visit.tools) == ("mini", 0)
    assert choices.limits("mini") == ()


def test_a_resolution_that_is_not_offered_changes_nothing(visit: Visit, choices: Encoders) -> None:
    for name, tokens in (("seeing", 300), ("mini", 256)):
        *_, last = switch(visit, choices, name, tokens)
        assert f"cannot read pages at {tokens} visual tokens" in str(last.news)
        assert visit.collection.fingerprint == "dummy-1"


def test_a_served_page_takes_the_choice(tmp_path: Path) -> None:
    model, processor = tiny_vlm.BACKBONES["qwen2_vl"].build()
    processor.image_processor.size = {"shortest_edge": 4 * 14**2, "longest_edge": 2000 * 28**2}
    save_vlm(create(model, processor, "tiny", projection=8, rank=2), tmp_path / "seeing", merged=True)
    name = str(tmp_path / "seeing")
    with serve(tmp_path / "uploads", ENCODERS=name) as app:
        tab = Tab(app.address)
        assert "data-tokens" not in tab.send(None, "load").replace('data-tokens=\\"0\\"', "")
        told = tab.send("encoders", "submit", {"value": name, "tokens": 0})
        assert "Loading seeing" in told
        assert 'data-tokens=\\"1280\\"' in told
        told = tab.send("encoders", "submit", {"value": name, "tokens": 256})
        assert "4 pages encoded again" in told
        assert "at most 256 visual tokens a page" in told
        assert 'data-tokens=\\"256\\" aria-pressed=\\"true\\"' in told


def test_what_changes_the_documents_is_answered_with_the_encoders(small: Served) -> None:
    tab = Tab(small.address)
    tab.send(None, "load")
    for name, event, told in (
        ("listing", "submit", {"action": "clear", "value": ""}),
        ("news", "submit", {"action": "undo", "value": ""}),
        ("storage", "submit", {"value": "int8"}),
        ("results", "apply", {"value": "mini-multilingual-2"}),
    ):
        answer = tab.send(name, event, told)
        assert '"success":true' in answer.replace(" ", ""), answer
    assert "There is no encoder called mini-multilingual-2 here" in answer


def test_the_resolutions_are_shown_where_there_are_some() -> None:
    assert documents_tab.resolutions("mini", (), 0) == ""
    shown = documents_tab.resolutions("<qwen>", (16384, 256, 1280), 256)
    assert 'data-value="&lt;qwen&gt;" data-tokens="256" aria-pressed="true">256<' in shown
    assert 'data-tokens="1280" aria-pressed="false">1,280<' in shown
    assert 'data-tokens="0" aria-pressed="false">Own<' in shown
    assert "16,384" in shown
    assert documents_tab.resolutions("a", (9, 8), 0, busy=True).count(" disabled ") == 2


def test_a_space_without_a_gpu_falls_back_to_mini_and_says_so(visit: Visit) -> None:
    assert affordable("mini", Space(here=True, zero_gpu=False)) == ("mini", "")
    assert affordable("owner/name", Space(here=False, zero_gpu=False)) == ("owner/name", "")
    assert affordable("owner/name", Space(here=True, zero_gpu=True)) == ("owner/name", "")
    name, notice = affordable("owner/name", Space(here=True, zero_gpu=False))
    assert name == "mini"
    assert "owner/name needs a GPU" in notice
    visit.tools = replace(visit.tools, notice=notice)
    assert "owner/name needs a GPU" in str(visit.screen().header)


def test_a_page_that_bears_a_samples_id_gives_the_samples_no_vectors(
    base: Collection, encoders: Encoders
) -> None:
    """All visitors search the samples with the vectors that one of them had computed."""
    sample = base.pages["p1"]
    forged = replace(sample, words=(replace(sample.words[0], text="boat"),))
    made, other = Collection.for_encoder(Other(dim=32)), Other(dim=32)
    for stored in (forged, base.pages["p2"]):
        made.put(stored, other.encode_pages([Page(stored.id, "", 1, None, stored.words)])[0])
    assert list(encoders.base(other, made, base).pages) == ["p2"]
