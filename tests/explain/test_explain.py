"""Attribution and the occlusion test, with the real encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from metaembed_demo.collection.stored_page import StoredPage
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.types import Alignment, Embedding, FloatArray, Page, Query, Word
from metaembed_demo.documents.extraction import read
from metaembed_demo.encoders.attribution import AttentionEvidence, Evidence
from metaembed_demo.encoders.base import Mask
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.explain.explainer import KEPT, Explainer, Explanation, PageAttribution, explainer
from metaembed_demo.explain.occlusion import CURVE, Occlusion, Verdict, attended, trial
from metaembed_demo.explain.page_cache import PageCache
from metaembed_demo.index.maxsim import align
from tests.support.dummy_encoder import DummyEncoder
from tests.support.evidence import evidence_of

TEXT = (
    "The harbour office opens at eight. Fishing boats unload before noon and leave by the north quay. "
    "Descale the espresso machine every month: dissolve citric acid in water and run the pump twice. "
    "Tickets for the museum are sold at the kiosk, and children enter free on Sundays and holidays."
)


def stored(text: str, name: str = "page") -> StoredPage:
    words = tuple(
        Word(word, (0.1 + 0.1 * (i % 8), 0.05 * (i // 8), 0.19 + 0.1 * (i % 8), 0.05 * (i // 8) + 0.04))
        for i, word in enumerate(text.split())
    )
    return StoredPage.of(Page(name, f"{name}.pdf", 1, Image.new("RGB", (120, 160), "white"), words))


def explained(
    mini: Mini, page: StoredPage, question: str, budget: Budget
) -> tuple[Explanation, FloatArray, Alignment]:
    made = Explainer(mini)
    vectors = mini.encode_queries([Query(question)])[0].vectors
    rows = made.look(page).evidence.vectors()
    alignment = align(page.id, vectors[: budget.r_q], rows[: budget.r_c])
    return made.explain(page, mini.query_evidence(Query(question)), vectors, alignment), vectors, alignment


@pytest.mark.parametrize("budget", STOPS, ids=str)
def test_highlighted_words_matter_most(mini: Mini, budget: Budget) -> None:
    found, vectors, alignment = explained(mini, stored(TEXT), "how do I clean the coffee machine?", budget)
    occlusion = Occlusion(mini, found.looked, vectors, budget)
    *progress, verdict = trial(occlusion, found.total, attended(found.looked, alignment))
    assert isinstance(verdict, Verdict)
    assert verdict.full == pytest.approx(float(alignment.gains.sum()), abs=1e-3)
    assert verdict.highlighted > 3 * np.mean(verdict.random), verdict
    assert verdict.ratio > 3
    assert (verdict.what, verdict.of) == ("words", len(TEXT.split()))
    assert verdict.hidden == round(0.1 * len(TEXT.split()))
    assert progress[-1] == (progress[-1][1],) * 2  # all versions were read
    assert [row[0] for row in verdict.curve] == list(CURVE)
    assert verdict.curve[0][1] == verdict.curve[0][2] == pytest.approx(verdict.full)
    assert verdict.curve[-1][1] == pytest.approx(verdict.curve[-1][2]), "with nothing left the order is alike"


def test_matching_words_contribute_most(mini: Mini) -> None:
    found, _, _ = explained(mini, stored(TEXT), "descaling", STOPS[-1])
    best = [found.words[i].text for i in np.argsort(-found.total)[:3]]
    assert "Descale" in best, best
    assert found.parts.shape == (16, len(TEXT.split()))


def test_masks_by_hand(mini: Mini) -> None:
    found, vectors, _ = explained(
        mini, stored("one two three four five six seven eight nine ten"), "two", STOPS[0]
    )
    occlusion = Occlusion(mini, found.looked, vectors, STOPS[0])
    weights = np.arange(10, dtype=np.float32)
    assert np.flatnonzero(occlusion.first(weights, 0.2)).tolist() == [8, 9]
    assert occlusion.first(weights, 0.0).sum() == 0
    assert occlusion.first(weights, 0.01).sum() == 1, "at least one"
    assert occlusion.drawn(0.3, np.random.default_rng(1)).sum() == 3


def test_a_picture_is_tested_by_its_cells(mini: Mini) -> None:
    image = Image.new("RGB", (360, 240), "white")
    ImageDraw.Draw(image).ellipse([220, 60, 340, 180], fill=(220, 30, 30))
    page = StoredPage.of(read(Page("ball", "ball.png", 1, image)))
    found, vectors, alignment = explained(mini, page, "a red ball", STOPS[0])
    occlusion = Occlusion(mini, found.looked, vectors, STOPS[0])
    assert occlusion.what == "cells"
    everything, nothing = occlusion.scores([np.zeros(len(found.words), bool), occlusion.parts])
    assert everything == pytest.approx(float(alignment.gains.sum()), abs=2e-2)
    assert nothing < everything, "a sheet of one colour is no red ball"


def test_encoders_without_attribution_have_no_explainer(mini: Mini) -> None:
    assert explainer(DummyEncoder()) is None
    assert isinstance(explainer(mini), Explainer)


class Counting(DummyEncoder):
    """Counts calls of page_evidence."""

    waits = False

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def query_evidence(self, query: Query) -> Evidence:
        raise NotImplementedError

    def without(self, page: Page, evidence: Evidence, hidden: Mask) -> Page:
        return page

    def page_evidence(self, page: Page) -> Iterator[tuple[int, int] | Evidence]:
        self.looks += 1
        yield AttentionEvidence(
            page.words,
            np.ones((1, 1, 1), np.float32),
            np.ones((1, 1, 1), np.float32),
            np.array([0]),
            np.ones((1, 1), np.float32),
            np.ones(1, np.float32),
        )


def test_the_last_pages_are_kept() -> None:
    encoder = Counting()
    made = Explainer(encoder)
    pages = [stored("word", f"page{i}") for i in range(KEPT + 1)]
    for page in pages:
        made.look(page)
    assert made.look(pages[-1]).page.id == pages[-1].id
    assert made.look(pages[-1]).page.source == "", "another session may hold the page under another name"
    assert encoder.looks == KEPT + 1
    made.look(pages[0])  # the oldest went
    assert encoder.looks == KEPT + 2


def test_a_page_of_the_same_id_and_other_content_is_another_one() -> None:
    """An id does not cover where words are; and a value is forgotten with its page alone."""
    mine, kept = stored("one two", "page1"), PageCache[str](3)
    moved = replace(mine, words=tuple(replace(word, box=(0.5, 0.5, 0.6, 0.6)) for word in mine.words))
    elsewhere = mine.at([("other.pdf", 7)])
    kept.put(mine, "mine")
    assert (kept.get(mine), kept.get(moved), kept.get(elsewhere)) == ("mine", None, "mine")
    kept.put(moved, "theirs")
    assert (kept.get(mine), kept.get(moved)) == ("mine", "theirs")
    kept.forget([elsewhere])
    assert (kept.get(mine), kept.get(moved)) == (None, "theirs")


class Blind(Counting):
    """Encodes all pages alike, so that hiding words has no effect."""

    def encode_pages(self, pages: Sequence[Page]) -> list[Embedding]:
        return [Embedding(np.eye(4, dtype=np.float32)) for _ in pages]


def test_ratio_without_any_drop() -> None:
    page = stored("one two three four five six seven eight nine ten")
    bare = Page("p", "p.pdf", 1, None, page.words)
    looked = PageAttribution(bare, evidence_of(Counting(), bare))
    occlusion = Occlusion(Blind(), looked, np.eye(4, dtype=np.float32), Budget(2, 4))
    *_, verdict = trial(occlusion, np.arange(10.0, dtype=np.float32), np.ones(10, np.float32))
    assert isinstance(verdict, Verdict)
    assert (verdict.full, verdict.highlighted, set(verdict.random)) == (2.0, 0.0, {0.0})
    assert verdict.ratio == float("inf")
