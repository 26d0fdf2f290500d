"""The page's HTML: what the pictures say about a Trace, and that nobody's text becomes markup."""

from __future__ import annotations

import base64
import html
import json
import re
from dataclasses import dataclass, replace
from datetime import date
from html.parser import HTMLParser

import numpy as np
import pytest

from metaembed_demo.app.theme import SHADES_DARK, SHADES_LIGHT, css
from metaembed_demo.app.views import (
    alignment_chart,
    document_rows,
    documents_tab,
    examples,
    filter_control,
    index_size_chart,
    open_page,
    score_bar,
    search_tab,
    timing_chart,
)
from metaembed_demo.app.views.budget_dial import dial
from metaembed_demo.collection.facets import Facets
from metaembed_demo.collection.filters import EVERY, PageFilter
from metaembed_demo.collection.fitting import Fit, UnreadLanguage, Verdict
from metaembed_demo.core.budgets import OURS, STOPS, Budget
from metaembed_demo.core.config import LIMITS
from metaembed_demo.core.types import Alignment, Hit, Trace
from metaembed_demo.evaluation.climbs import Climb
from metaembed_demo.evaluation.quality_curve import Curve
from metaembed_demo.index.maxsim import align, prefix_gains

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&amp;${alert(1)}{{value}}"
VOID = {"img", "br", "input", "path", "rect", "circle", "polygon", "polyline", "meta", "link"}
SIZES = [STOPS_BYTES * 256 for STOPS_BYTES in (1, 4, 8, 16, 64)]


class Document(HTMLParser):
    """Elements with their attributes and the text; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"an attribute comes twice in <{tag}>: {names}"
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1:] == [tag], f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, **wanted: str) -> list[dict[str, str]]:
        """Attributes of the elements that have all of `wanted`; `class_` matches one class."""
        class_ = wanted.pop("class_", None)
        return [
            found
            for _, found in self.elements
            if all(found.get(name.replace("_", "-")) == value for name, value in wanted.items())
            and (class_ is None or class_ in found.get("class", "").split())
        ]


@dataclass(frozen=True)
class FakePage:
    id: str = "p1"
    source: str = "report.pdf"
    number: int = 7
    title: str = "Energy use by quarter"
    width: int = 850
    height: int = 1200
    also: tuple[tuple[str, int], ...] = ()
    reading: tuple[str, ...] = ()
    language: str = ""


def address(page_id: str, name: str) -> str:
    return f"pictures/key/{page_id}/{name}"


@pytest.fixture
def vectors() -> tuple[np.ndarray, np.ndarray]:
    """A query (16, 32) and a page (64, 32) of unit rows."""
    made = np.random.default_rng(7).standard_normal((80, 32)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made[:16], made[16:]


def aligned(vectors: tuple[np.ndarray, np.ndarray], budget: Budget) -> tuple[Alignment, np.ndarray]:
    q, c = vectors
    return align("p1", q[: budget.r_q], c[: budget.r_c]), align("p1", q, c).similarity


def trace(movement: dict[str, int] | None = None, budget: Budget = STOPS[2]) -> Trace:
    return Trace(
        query_text="energy",
        budget=budget,
        hits=(Hit("p1", 2.5, 1), Hit("p2", 2.0, 2)),
        timings={"encode": 9.8, "coarse": 0.2, "rerank": 2.0, "align": 0.5, "total": 12.5},
        bytes_per_page=2048,
        pages_searched=72,
        candidates=72,
        query_vectors=np.eye(16, 32, dtype=np.float32),
        movement=movement or {},
    )


# The five shades


def test_groups_are_the_nested_steps_of_the_budgets() -> None:
    assert [group.label("query") for group in OURS.groups] == ["1", "2", "3–4", "5–8", "9–16"]
    assert [group.label("candidate") for group in OURS.groups] == ["1", "2–4", "5–8", "9–16", "17–64"]
    assert [OURS.group_of(token, "candidate").index for token in (0, 1, 3, 4, 15, 16, 63)] == [
        0,
        1,
        1,
        2,
        3,
        4,
        4,
    ]
    assert [OURS.reach(stop) for stop in STOPS] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("shades", [SHADES_LIGHT, SHADES_DARK])
def test_shades_rise_in_lightness_so_that_they_keep_their_order_without_colour(
    shades: tuple[str, ...],
) -> None:
    lightness = [116 * _luminance(shade) ** (1 / 3) - 16 for shade in shades]
    steps = np.diff(lightness)
    assert (steps > 5).all(), f"L* of the shades: {lightness}"


def test_shades_stand_out_from_the_paper_of_their_mode() -> None:
    for shades, paper, least in ((SHADES_LIGHT[:4], "#ffffff", 3.0), (SHADES_DARK, "#111317", 3.0)):
        for shade in shades:
            assert _contrast(shade, paper) >= least, shade


def test_text_colours_reach_the_contrast_of_wcag_aa() -> None:
    sheet = css()
    for block in re.findall(r"\{[^}]*--paper:[^}]*\}", sheet):
        colour = dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{6})", block))
        for text in ("ink", "muted", "accent", "warn"):
            for ground in ("paper", "well", "accent-soft" if text != "warn" else "warn-soft"):
                assert _contrast(colour[text], colour[ground]) >= 4.5, (text, ground)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# The dial


def test_dial_is_a_slider_that_says_its_value() -> None:
    drawn = Document(dial(STOPS[2], SIZES, Curve((0.4, 0.5, 0.55, 0.6, 0.61), 64)))
    (slider,) = drawn.all(role="slider")
    assert (slider["aria-valuemin"], slider["aria-valuemax"], slider["aria-valuenow"]) == ("1", "5", "3")
    assert slider["tabindex"] == "0"
    assert slider["aria-valuetext"] == "4 query by 8 candidate tokens, 2.0 KB a page, nDCG@5 0.55"
    assert [stop["data-stop"] for stop in drawn.all(class_="stop")] == ["0", "1", "2", "3", "4"]
    assert len(drawn.all(class_="on")) == 6  # three stops and three bands are lit
    assert "256 B" in drawn.words
    assert "16 KB" in drawn.words


def test_dial_without_a_curve_draws_no_quality() -> None:
    drawn = Document(dial(STOPS[0], SIZES))
    assert not drawn.all(class_="quality")
    assert "nDCG" not in drawn.words


def test_dial_marks_a_free_budget_as_untrained_and_puts_it_between_the_stops() -> None:
    budget = Budget(6, 12)
    drawn = Document(dial(budget, SIZES))
    assert "untrained" in drawn.words
    assert drawn.all(class_="dial")[0]["class"] == "dial free"
    assert not drawn.all(class_="here")
    assert 2 < OURS.position(budget) < 3


def test_results_tell_when_nothing_fits_and_of_a_language_that_is_not_read() -> None:
    pages = {"p1": FakePage(), "p2": replace(FakePage(), id="p2")}
    gains = dict.fromkeys(pages, [1.0] * 5)

    def words(verdict: Verdict, at: str = "", foreign: UnreadLanguage | None = None) -> str:
        fit = Fit({"p1": 0.917, "p2": 0.001}, 0.917, verdict, at)
        shown = search_tab.results(
            replace(trace(), fit=fit, unread_language=foreign), pages, gains, "p1", address
        )
        return Document(shown).words

    assert "Nothing fits" not in words("fits")
    assert "0.62 a token · fits 92%" in words("fits")
    assert "0.50 a token · fits under 1%" in words("fits")
    assert "Nothing fits well." in words("nothing")
    assert "larger budget" not in words("nothing")
    assert "Nothing fits well at 2×4. Try a larger budget." in words("nothing", "2×4")
    german = words("nothing", foreign=UnreadLanguage("Mini", ("en",), "de"))
    assert "this question seems to be in German" in german
    assert "fits" not in german


def test_higher_quality_is_drawn_higher() -> None:
    drawn = Document(dial(STOPS[0], SIZES, Curve((0.6, 0.5, 0.4, 0.5, 0.7), 9)))
    heights = [float(re.findall(r"bottom:([\d.]+)%", each["style"])[0]) for each in drawn.all(class_="point")]
    assert sorted(range(5), key=lambda i: heights[i]) == [2, 1, 3, 0, 4]
    assert all(0 < height < 80 for height in heights)


# Score bars


def test_score_bar_is_the_prefix_gains_in_their_shades(vectors: tuple[np.ndarray, np.ndarray]) -> None:
    found, _ = aligned(vectors, STOPS[4])
    gains = prefix_gains(found, OURS).tolist()
    drawn = Document(score_bar.score_bar(gains, top=sum(gains)))
    cells = [style for tag, each in drawn.elements if tag == "i" for style in [each["style"]]]
    widths = [float(re.findall(r"width:([\d.]+)%", style)[0]) for style in cells]
    assert widths == pytest.approx([gain / sum(gains) * 100 for gain in gains], abs=0.06)
    assert [each["class"] for tag, each in drawn.elements if tag == "i"] == ["g0", "g1", "g2", "g3", "g4"]


def test_score_bar_grows_by_a_shade_a_stop(vectors: tuple[np.ndarray, np.ndarray]) -> None:
    for reached, stop in enumerate(STOPS, 1):
        found, _ = aligned(vectors, stop)
        drawn = Document(score_bar.score_bar(prefix_gains(found, OURS).tolist(), top=found.gains.sum()))
        assert sum(tag == "i" for tag, _ in drawn.elements) == reached


def test_score_bar_stays_within_its_box_and_leaves_out_what_adds_nothing() -> None:
    drawn = Document(score_bar.score_bar([0.9, -0.2, 0.4, 0.0, 0.0], top=1.0))
    widths = [float(re.findall(r"width:([\d.]+)%", e["style"])[0]) for t, e in drawn.elements if t == "i"]
    assert len(widths) == 2
    assert sum(widths) <= 100.01
    assert Document(score_bar.score_bar([0.0] * 5, top=0.0)).all(class_="bar")


# The matrix


def cosines(text: str) -> np.ndarray:
    """What the matrix carries, as its script reads it: see tests/browser for what that draws."""
    (figure,) = Document(text).all(class_="matrix")
    data = json.loads(figure["data-matrix"])
    whole = np.frombuffer(base64.b64decode(data["sim"], validate=True), "<i2").reshape(data["size"])
    return whole / 10_000


@pytest.mark.parametrize("budget", [*STOPS, Budget(5, 7)])
def test_matrix_hands_its_script_every_cell_and_every_winner(
    vectors: tuple[np.ndarray, np.ndarray], budget: Budget
) -> None:
    found, full = aligned(vectors, budget)
    text = alignment_chart.alignment(found, full, budget)
    (figure,) = Document(text).all(class_="matrix")
    data = json.loads(figure["data-matrix"])
    assert np.abs(cosines(text) - full).max() <= 5.1e-5
    assert data["winners"] == found.winners.tolist()
    assert (data["r_q"], data["r_c"], data["size"]) == (budget.r_q, budget.r_c, [16, 64])
    assert data["page"] == "p1"
    assert [(first, last) for first, last, _ in data["groups"]] == [(1, 1), (2, 4), (5, 8), (9, 16), (17, 64)]
    assert figure["style"] == "--rows:16;--columns:64"
    (cells,) = Document(text).all(class_="cells")
    assert cells["aria-label"].startswith("Alignment matrix, 16 query tokens by 64 candidate tokens.")


def test_matrix_holds_cosines_beyond_one() -> None:
    full = np.array([[1.0, -1.0], [1.0002, 0.0]], np.float32)  # such as of rounded vectors
    text = alignment_chart.alignment(Alignment("p1", full, full.argmax(1), full.max(1)), full, Budget(2, 2))
    assert cosines(text).tolist() == [[1.0, -1.0], [1.0002, 0.0]]


def test_matrix_puts_its_strongest_token_into_words() -> None:
    similarity = np.full((2, 4), 0.1, np.float32)
    similarity[0, 1], similarity[1, 3] = 0.3, 0.61
    found = Alignment("p1", similarity, np.array([1, 3]), np.array([0.3, 0.61], np.float32))
    drawn = Document(alignment_chart.alignment(found, np.pad(similarity, ((0, 14), (0, 60))), STOPS[1]))
    assert (
        "Query token 2 takes its maximum, 0.61 (67% of the score), from candidate token 4 (group 2–4)."
        in drawn.words
    )
    assert "All 2 query tokens match candidate tokens 2–4" in drawn.words
    assert "neither words nor patches" in drawn.words
    assert "0.910" in drawn.words  # the score under the table is the sum of the maxima


def test_matrix_bars_are_the_gains(vectors: tuple[np.ndarray, np.ndarray]) -> None:
    found, full = aligned(vectors, STOPS[2])
    text = alignment_chart.alignment(found, full, STOPS[2])
    bars = re.search(r'<div class="gains".*?</div>', text)
    assert bars
    widths = [float(width) for width in re.findall(r"width:([\d.]+)%", bars[0])]
    assert widths == pytest.approx((found.gains * 100).tolist(), abs=0.06), "none beyond the budget"


# Timings and storage


def test_timing_states_the_largest_stage() -> None:
    drawn = Document(timing_chart.timing(trace().timings, 72, 72))
    assert "Encoding takes 78% of 12.5 ms" in drawn.words
    widths = [
        float(re.findall(r"width:([\d.]+)%", each["style"])[0])
        for tag, each in drawn.elements
        if tag == "i" and "width" in each.get("style", "")
    ]
    assert sum(widths) == pytest.approx(100, abs=0.1)


def test_timing_of_a_moved_dial_says_that_nothing_was_encoded() -> None:
    moved = {"encode": 0.0, "coarse": 0.1, "rerank": 2.9, "align": 0.1, "total": 3.1}
    assert "Nothing was encoded again: 3.1 ms" in Document(timing_chart.timing(moved, 72, 72)).words


def test_storage_compares_the_stops() -> None:
    drawn = Document(index_size_chart.storage(SIZES, 72))
    assert "64 times less memory" in drawn.words
    assert "16 KB" in drawn.words


# Results, page, states


def test_results_mark_the_chosen_hit_and_the_movement() -> None:
    pages = {"p1": FakePage(), "p2": replace(FakePage(), id="p2", title="Coffee", source="coffee.pdf")}
    gains = {"p1": [1.0, 0.5, 1.0, 0, 0], "p2": [1.0, 0.5, 0.5, 0, 0]}
    drawn = Document(search_tab.results(trace({"p1": 2, "p2": -1}), pages, gains, "p2", address))
    hits = drawn.all(class_="hit")
    assert [hit["data-page"] for hit in hits] == ["p1", "p2"]
    assert [hit.get("aria-current") for hit in hits] == [None, "true"]
    moved = [each["aria-label"] for each in drawn.all(class_="moved")]
    assert moved == ["moved up 2 places", "moved down 1 place"]
    assert "Best 2 of 72 pages" in drawn.words


def test_results_mark_a_page_that_was_not_among_the_hits_before() -> None:
    pages = {"p1": FakePage(), "p2": replace(FakePage(), id="p2")}
    gains = dict.fromkeys(pages, [1.0] * 5)
    drawn = Document(search_tab.results(trace({"p1": 0}), pages, gains, "p1", address))
    assert len(drawn.all(class_="new")) == 1
    assert not Document(search_tab.results(trace(), pages, gains, "p1", address)).all(class_="new")


def test_hits_tell_their_language_where_there_are_several() -> None:
    pages = {"p1": replace(FakePage(), language="de"), "p2": replace(FakePage(), id="p2")}
    gains = dict.fromkeys(pages, [1.0] * 5)

    def drawn(languages: dict[str, int]) -> str:
        return search_tab.results(trace(), pages, gains, "p1", address, languages=languages)

    assert drawn({"en": 60, "de": 12}).count("<span>German</span>") == 1
    assert "German" not in drawn({"de": 72})


ONE_DAY = (date(2026, 11, 3),) * 2


def test_the_filter_offers_what_tells_pages_apart_and_loses_no_part_of_it() -> None:
    plain = Facets({"a.pdf": 1}, {"pdf": 1}, {"en": 1}, 1, None, 1)
    assert filter_control.control(EVERY, plain) == ""
    facets = Facets({"a.pdf": 60, HOSTILE: 12}, {"pdf": 60, "png": 12}, {"en": 60}, 60, ONE_DAY, 5)
    open_ = Document(filter_control.control(EVERY, facets))
    assert not open_.all(class_="only-chip")
    for words in ("a.pdf (60)", "PNG (12)", "Pages", "Added", "Left out: 5 pages without a date."):
        assert words in open_.words
    assert "Languages" not in open_.words
    only = PageFilter.parse('document:"b*" lang:de pages:3-10 pages:20- added:2026-11-01..')
    html = filter_control.control(only, facets)
    drawn = Document(html)
    assert HOSTILE not in html
    names = ("b*", "German", "pages 3-10", "from page 20", "added from 2026-11-01")
    labels = [
        each["aria-label"] for _, each in drawn.elements if "data-filter" in each and "aria-label" in each
    ]
    assert labels == [f"Remove {name}" for name in names]
    checked = {each["value"] for tag, each in drawn.elements if tag == "input" and "checked" in each}
    assert checked == {"b*", "de", "20-"}
    ends = [each.get("value") for tag, each in drawn.elements if "data-end" in each]
    assert ends == ["3", "10", "2026-11-01", ""]


def test_a_page_tells_how_it_was_read() -> None:
    page = replace(FakePage(), reading=("The text layer was read: 312 words.", HOSTILE), language="de")
    html = open_page.page(page, 1, address)
    for words in ("How this page was read", "The text layer was read: 312 words.", "Its language: German."):
        assert words in html
    assert HOSTILE not in html
    assert "How this page was read" not in open_page.page(FakePage(), 1, address)


def test_pictures_stand_at_their_addresses_in_their_sizes() -> None:
    pages = {"p1": FakePage(), "p2": replace(FakePage(), id="p2")}
    gains = dict.fromkeys(pages, [1.0] * 5)
    drawn = Document(search_tab.results(trace(), pages, gains, "p1", address))
    sources = [each["src"] for tag, each in drawn.elements if tag == "img"]
    assert sources == ["pictures/key/p1/thumbnail.jpg", "pictures/key/p2/thumbnail.jpg"]
    (picture,) = [e for tag, e in Document(open_page.page(pages["p2"], 2, address)).elements if tag == "img"]
    assert picture["src"] == "pictures/key/p2/page.jpg"
    assert (picture["width"], picture["height"]) == ("850", "1200"), "so that nothing jumps when it arrives"


@pytest.mark.parametrize(
    "state",
    [
        search_tab.no_pages(),
        search_tab.no_query(72, "energy use"),
        search_tab.failure("It broke.", "energy use"),
        document_rows.listing([], 0),
    ],
)
def test_every_state_says_what_to_do_in_one_action(state: str) -> None:
    drawn = Document(state)
    assert sum(tag == "button" for tag, _ in drawn.elements) == 1
    assert drawn.all(class_="do")[0]["data-action"] in ("restore", "query")


def test_text_from_outside_never_becomes_markup() -> None:
    page = FakePage(source=HOSTILE, title=HOSTILE, also=((HOSTILE, 2),))
    problem = documents_tab.Outcome(1, (HOSTILE,), (FakeProblem(HOSTILE, f"{HOSTILE}: {HOSTILE}"),), 1.0)
    parts = [
        search_tab.header(HOSTILE, HOSTILE, 1),
        examples.examples([Climb(HOSTILE, HOSTILE, (5, 4, 3, 2, 1))]),
        search_tab.no_query(3, HOSTILE),
        search_tab.failure(HOSTILE, HOSTILE),
        search_tab.results(
            trace(), {"p1": page, "p2": page}, {"p1": [1.0] * 5, "p2": [1.0] * 5}, "p1", address
        ),
        open_page.page(page, 1, address),
        documents_tab.progress(1, 2, HOSTILE, 1),
        documents_tab.outcome(problem),
        documents_tab.failed(HOSTILE),
        document_rows.listing([FakeDocument(HOSTILE)], 1),
    ]
    for part in parts:
        drawn = Document(part)
        assert not {tag for tag, _ in drawn.elements} & {"script"}
        assert all("onerror" not in attributes for _, attributes in drawn.elements)
        assert "alert(1)" in html.unescape(part)  # it is shown, as text


def test_listing_carries_the_document_name_unharmed_to_its_remove_button() -> None:
    drawn = Document(document_rows.listing([FakeDocument(HOSTILE)], 1))
    assert [each["data-remove"] for _, each in drawn.elements if "data-remove" in each] == [HOSTILE]


def test_outcome_gives_each_problem_its_own_message_and_tells_duplicates() -> None:
    problems = (FakeProblem("a.pdf", "a.pdf is empty."), FakeProblem("b.pdf", "b.pdf needs a password."))
    drawn = Document(
        documents_tab.outcome(documents_tab.Outcome(3, ("c.pdf page 1 is the same.",), problems, 2.0))
    )
    assert "3 pages added in 2.0 s" in drawn.words
    assert "2 problems" in drawn.words
    for words in ("a.pdf is empty.", "b.pdf needs a password.", "c.pdf page 1 is the same."):
        assert words in drawn.words


def test_notices_are_told_apart_from_problems_and_blank_pages_are_counted() -> None:
    notices = (
        FakeProblem("a.pdf", "Pages 2-9 of a.pdf are blank."),
        FakeProblem(HOSTILE, f"Page 1 of {HOSTILE} is."),
    )
    html = documents_tab.outcome(documents_tab.Outcome(3, (), (), 2.0, notices, blank=8))
    drawn = Document(html)
    assert "3 pages added in 2.0 s, 8 blank pages left out" in drawn.words
    assert "2 notices" in drawn.words
    assert "Pages 2-9 of <b>a.pdf</b> are blank." in html
    assert "problem" not in drawn.words
    assert "warn" not in html
    assert HOSTILE not in html
    nothing = Document(documents_tab.outcome(documents_tab.Outcome(0, (), (), 2.0, blank=1))).words
    assert "No page was added, 1 blank page left out" in nothing


def test_cancelled_upload_says_that_what_was_done_stays() -> None:
    words = Document(documents_tab.outcome(documents_tab.Outcome(4, (), (), 2.0, cancelled=True))).words
    assert "4 pages added so far and searchable" in words


def test_progress_counts_pages_and_names_the_file() -> None:
    drawn = Document(documents_tab.progress(3, 12, "report.pdf", 3))
    (bar,) = drawn.all(role="progressbar")
    assert (bar["aria-valuenow"], bar["aria-valuemax"]) == ("3", "12")
    assert "3 of 12 pages" in drawn.words
    assert "report.pdf, page 3" in drawn.words


def test_limits_are_shown() -> None:
    words = Document(documents_tab.limits(LIMITS)).words
    assert f"{LIMITS.max_pages:,} pages a file" in words


@dataclass(frozen=True)
class FakeProblem:
    source: str
    message: str


@dataclass(frozen=True)
class FakeDocument:
    source: str
    pages: int = 2
    kind: str = "pdf"
