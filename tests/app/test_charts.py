"""The charts: what their titles say, what plotly is to draw, what they save; see also test_charts_browser."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from plotly import graph_objects as go

from metaembed_demo.app import theme
from metaembed_demo.app.views import (
    figure,
    index_size_chart,
    occlusion_test,
    plot,
    rank_chart,
    timing_chart,
    token_chart,
    tradeoff_chart,
)
from metaembed_demo.app.views.figure import named
from metaembed_demo.app.views.rank_chart import Line
from metaembed_demo.app.views.timing_chart import Past
from metaembed_demo.app.views.tradeoff_chart import Point
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.explain.contents import CONTENTS
from metaembed_demo.explain.occlusion import Verdict
from metaembed_demo.explain.token_statistics import KINDS, TokenStatistics
from tests.app.test_views import HOSTILE, SIZES, Document

TITLE = '<b>"x"&'
NAMES = [named(stop) for stop in STOPS]
OURS = [768 * n for n in (1, 4, 8, 16, 64)]  # 384 components of two bytes


def line(page_id: str, *ranks: int, title: str = "Energy use", where: str = "report.pdf p. 7") -> Line:
    return Line(page_id, title, where, ranks)


LINES = [
    line("p1", 5, 3, 2, 1, 1, title="How to descale"),
    line("p2", 1, 1, 1, 2, 2),
    line("p3", 23, 14, 5, 3, 3, title=TITLE),
    line("p4", 41, 11, 4, 4, 1204),
]


def point(i: int, quality: float | None = None, p50: float = 20.0) -> Point:
    low, high = (None, None) if quality is None else (quality - 0.03, quality + 0.02)
    return Point(NAMES[i], quality, low, high, p50, 1.5 * p50, SIZES[i])


def points(*qualities: float | None) -> list[Point]:
    return [point(i, quality) for i, quality in enumerate(qualities)]


def past(budget: str, total: float, encode: float = 0.0, query: str = "energy") -> Past:
    stages = {"encode": encode, "coarse": 0.5, "rerank": total - encode - 1.0, "align": 0.25}
    return Past(query, budget, {**stages, "total": total})


def statistics_of(
    token: int, words: float, place: float = 0.5, width: float = 0.2, **kinds: float
) -> TokenStatistics:
    return TokenStatistics(token, place, place - width / 2, place + width / 2, words, kinds or {"text": 1.0})


STATISTICS = [
    statistics_of(0, 120, width=0.9, text=0.5, ocr=0.25, visual=0.25),
    *(statistics_of(t, 48, t / 4) for t in range(1, 4)),
    *(statistics_of(t, 9, t / 64) for t in range(16, 64)),
]


def heading(text: str) -> str:
    found = re.search(r"<h3>(.*?)</h3>", text)
    assert found
    return html.unescape(found[1])


def files(text: str) -> tuple[object, list[list[object]]]:
    """What the chart's JSON and CSV buttons save."""
    (frame,) = Document(text).all(class_="chart")
    return json.loads(frame["data-json"]), json.loads(frame["data-rows"])


def plotted(text: str) -> go.Figure:
    """The chart's figure, whose every property plotly knows, on wide screens and on narrow ones."""
    (found,) = Document(text).all(class_="plot")
    assert found["role"] == "img"
    assert found["aria-label"]
    spec = json.loads(found["data-plot"])
    narrow = go.Figure(spec["data"], spec["layout"])
    for path, value in spec["narrow"].items():
        narrow.layout[path] = value
    for trace in spec["data"]:
        assert not _colours(trace) - GIVEN
    return go.Figure(spec["data"], spec["layout"])


def _colours(trace: object) -> set[str]:
    """All that a trace names as a colour."""
    if isinstance(trace, dict):
        named = [c for k, v in trace.items() if k == "color" for c in (v if isinstance(v, list) else [v])]
        return set(named).union(*map(_colours, trace.values()))
    return set()


GIVEN = {f"var({name})" for name in re.findall(r"(--[a-z0-9-]+):", theme.css())}


def buttons(text: str) -> list[dict[str, str]]:
    """The buttons of the chart's table, which clicks on its points press."""
    return Document(text).all(class_="go")


# The frame


def test_figure_carries_title_note_and_data_unharmed() -> None:
    data = {"title": HOSTILE, "value": 0.25}
    text = figure.figure("made-up", HOSTILE, "<p>Drawing</p>", data, [["name"], [HOSTILE]], note=HOSTILE)
    drawn = Document(text)
    assert heading(text) == HOSTILE
    assert files(text) == (data, [["name"], [HOSTILE]])
    assert not {tag for tag, _ in drawn.elements} & {"script", "img"}
    assert [each["data-save"] for _, each in drawn.elements if "data-save" in each] == ["png", "json", "csv"]
    assert drawn.all(data_figure="made-up")


def test_a_plot_can_be_saved_as_svg_too_and_names_its_axes_for_who_cannot_see_it() -> None:
    made = plot.Plot("Ranks by <b>stop", [{"type": "scatter", "y": [1]}], {"height": 100})
    drawn = Document(plot.chart("made-up", "Title", made, "", ([], [["a"]])))
    saves = [each["data-save"] for _, each in drawn.elements if "data-save" in each]
    assert saves == ["png", "svg", "json", "csv"]
    (box,) = drawn.all(class_="plot")
    assert box["aria-label"].startswith("Ranks by <b>stop")
    assert box["style"] == "min-height:100px", "nothing moves when it is drawn"


def test_figure_refuses_numbers_that_json_does_not_know() -> None:
    with pytest.raises(ValueError, match="JSON"):
        figure.figure("made-up", "", "", {"value": float("nan")}, [])


@pytest.mark.parametrize(
    "text",
    [
        rank_chart.ranks([], 0, None),
        tradeoff_chart.tradeoff([], "nDCG@5", 0),
        timing_chart.history([]),
        index_size_chart.scale([], 0),
        index_size_chart.scale(SIZES, 0),
        token_chart.specialisation([]),
    ],
)
def test_nothing_yet_says_how_to_get_it(text: str) -> None:
    drawn = Document(text)
    assert drawn.all(class_="chart-nothing")
    assert not drawn.all(class_="chart")
    assert re.search(r"(not|no|nothing)\b.* yet$", heading(text).lower())
    assert "<p>" in text


def test_style_sheet_names_only_colours_of_the_page() -> None:
    sheet = (theme.WEB / "charts.css").read_text("utf-8")
    given = set(re.findall(r"(--[a-z0-9-]+):", theme.css()))
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", sheet)) <= given | {"--shade"}
    assert not re.findall(r"#[0-9a-f]{3,8}\b", sheet)


# Ranks


@pytest.mark.parametrize(
    ("ranks", "says"),
    [
        ((5, 3, 2, 1, 1), "8×16 is enough to find it; 1×1 ranks it fifth"),
        ((5, 3, 2, 2, 1), "16×64 finds it; 1×1 ranks it fifth"),
        ((23, 1, 2, 1, 1), "8×16 is enough to find it; 1×1 ranks it 23rd"),
        ((1, 1, 1, 1, 1), "All five budgets rank it first"),
        ((1, 2, 2, 4, 4), "1×1 puts it first; 16×64 only fourth"),
        ((9, 5, 5, 3, 2), "16×64 ranks it second, up from ninth at 1×1"),
        ((2, 5, 5, 3, 12), "16×64 ranks it 12th, down from second at 1×1"),
        ((2, 2, 4, 3, 2), "1×1 and 16×64 both rank it second; 4×8 fourth"),
    ],
)
def test_ranks_state_what_the_budgets_make_of_the_open_page(ranks: tuple[int, ...], says: str) -> None:
    assert heading(rank_chart.ranks([line("p", *ranks)], 2, "p")) == says


@pytest.mark.parametrize(
    ("coarse", "says"),
    [
        ((1, 2, 3, 4, 5), "1×1 and 16×64 agree on the first 5 pages, in the same order"),
        ((2, 1, 3, 4, 5), "1×1 and 16×64 agree on the first 5 pages, in another order"),
        ((1, 2, 30, 4, 6), "2 of the first 5 pages change between 1×1 and 16×64"),
        ((1,), "1×1 and 16×64 agree on the first page"),
        ((2,), "1×1 and 16×64 differ on the first page"),
    ],
)
def test_ranks_without_an_open_page_count_the_first_that_change(coarse: tuple[int, ...], says: str) -> None:
    lines = [line(f"p{i}", rank, 1, 1, 1, i) for i, rank in enumerate(coarse, 1)]
    assert heading(rank_chart.ranks(lines, 0, None)) == says
    assert heading(rank_chart.ranks(lines, 0, "a page that is not drawn")) == says


def test_ranks_count_only_first_pages_that_are_all_drawn() -> None:
    lines = [line("a", 1, 1, 1, 1, 1), line("b", 9, 2, 2, 2, 2), line("d", 3, 3, 3, 3, 4)]
    assert heading(rank_chart.ranks(lines, 0, None)) == "1 of the first 2 pages change between 1×1 and 16×64"
    assert heading(rank_chart.ranks(lines[2:], 0, None)) == "None of these pages comes first at 16×64"


def test_a_point_presses_the_button_of_its_rank() -> None:
    text = rank_chart.ranks(LINES, 2, "p1")
    found = buttons(text)
    assert len(found) == 5 * len(LINES)
    for trace in plotted(text).data:
        pressed = [found[int(n)] for n in trace.customdata]
        (line_of,) = [each for each in LINES if each.page_id == pressed[0]["data-page"]]
        assert [(each["data-page"], each["data-stop"]) for each in pressed] == [
            (line_of.page_id, str(stop)) for stop in range(5)
        ]
        assert line_of.where in trace.meta
        assert trace.hovertext == tuple(
            f"rank {rank:,} at {name}" for rank, name in zip(line_of.ranks, NAMES, strict=True)
        )
    assert {each["data-stop"] for each in found if "tabindex" not in each} == {"2"}, "the others by arrows"


def test_the_open_page_is_on_top_in_the_accent() -> None:
    colours = [trace.line.color for trace in plotted(rank_chart.ranks(LINES, 2, "p1")).data]
    assert colours == ["var(--muted)"] * (len(LINES) - 1) + ["var(--accent)"]


def test_ranks_beyond_ten_stand_below_in_order_with_their_number() -> None:
    drawn = plotted(rank_chart.ranks(LINES, 2, "p1"))
    texts = {text for trace in drawn.data for text in trace.text if text}
    assert texts == {"23rd", "14th", "41st", "11th", "1,204th"}
    assert drawn.layout.yaxis.ticktext[-1] == "lower"
    for stop in range(5):
        places = sorted(
            (int(str(trace.hovertext[stop]).split()[1].replace(",", "")), trace.y[stop])
            for trace in drawn.data
        )
        heights = [y for _, y in places]
        assert heights == sorted(set(heights)), "a lower rank stands lower, and no two share a place"
        bottom, top = drawn.layout.yaxis.range
        assert top < heights[0] < heights[-1] < bottom


def test_ranks_within_ten_leave_no_room_for_lower_ones() -> None:
    drawn = plotted(rank_chart.ranks([line("p1", 3, 2, 1, 1, 1)], 4, "p1"))
    assert drawn.layout.yaxis.range == (3, 0)
    assert drawn.layout.yaxis.ticktext == ("1", "2", "3")


def test_titles_from_files_stay_text() -> None:
    lines = [
        line("p1", 1, 2, 30, 1, 1, title=HOSTILE, where=HOSTILE),
        line(TITLE, 2, 1, 1, 2, 2, title=TITLE),
    ]
    text = rank_chart.ranks(lines, 0, TITLE) + timing_chart.history([past("4x8", 9.0, query=HOSTILE)])
    drawn = Document(text)
    assert not {tag for tag, _ in drawn.elements} & {"script", "img"}
    assert all("onerror" not in attributes for _, attributes in drawn.elements)
    assert TITLE in drawn.words
    assert len(drawn.all(class_="go", data_page=TITLE)) == 5
    (spec,) = Document(rank_chart.ranks(lines, 0, TITLE)).all(class_="plot")
    written = json.loads(spec["data-plot"])
    assert "&lt;script>" in written["data"][0]["meta"], "plotly takes some tags, and all entities"
    assert not re.search(r"<(?!/?(b|br|span|extra)\b)", json.dumps([written["data"], written["layout"]]))


def test_ranks_are_saved_as_they_are() -> None:
    data, rows = files(rank_chart.ranks(LINES, 3, "p3"))
    assert isinstance(data, dict)
    assert (data["current"], data["chosen"]) == ("8x16", "p3")
    assert {each["id"]: tuple(each["ranks"]) for each in data["pages"]} == {e.page_id: e.ranks for e in LINES}
    assert rows[0] == ["page_id", "title", "where", "1x1", "2x4", "4x8", "8x16", "16x64"]
    assert len(rows) == 1 + len(LINES)


@pytest.mark.parametrize("ranks", [(), (0, 1, 1, 1, 1)])
def test_a_line_has_ranks_from_one_on(ranks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ranks from 1"):
        line("p", *ranks)


# Quality, latency, memory


@pytest.mark.parametrize(
    ("qualities", "current", "says"),
    [
        ((0.61, 0.64, 0.65, 0.66, 0.67), 2, "4×8 keeps 97% of the quality at an eighth of the memory"),
        ((0.61, 0.64, 0.65, 0.66, 0.67), 0, "1×1 keeps 91% of the quality at a 64th of the memory"),
        ((0.61, 0.64, 0.65, 0.66, 0.67), 4, "2×4 keeps 96% of the quality at a 16th of the memory"),
        ((0.1, 0.2, 0.3, 0.4, 0.67), 4, "8×16 keeps 60% of the quality at a quarter of the memory"),
        ((0.61, 0.64, 0.65, 0.67, 0.67), 3, "8×16 is as good as 16×64 at a quarter of the memory"),
        ((0.61, 0.64, 0.70, 0.67, 0.67), 2, "4×8 scores 4% higher than 16×64 at an eighth of the memory"),
        ((0.0, 0.64, 0.65, 0.66, 0.67), 0, "1×1 keeps 0% of the quality at a 64th of the memory"),
        ((None,) * 5, 1, "2×4 answers in 20.0 ms at a 16th of the memory of 16×64"),
        ((0.6,), 0, "1×1 answers in 20.0 ms and takes 256 B a page"),
    ],
)
def test_tradeoff_states_what_a_stop_keeps(
    qualities: Sequence[float | None], current: int, says: str
) -> None:
    text = tradeoff_chart.tradeoff(points(*qualities), "nDCG@5", current)
    assert heading(text) == says
    assert len({trace.xaxis for trace in plotted(text).data}) == 3


def test_tradeoff_does_not_call_agreement_quality() -> None:
    text = tradeoff_chart.tradeoff(points(0.4, 0.6, 0.6, 0.6, 1.0), tradeoff_chart.OVERLAP, 0)
    assert heading(text) == "1×1 keeps 40% of the first five pages at a 64th of the memory"


def test_tradeoff_without_quality_says_so() -> None:
    text = tradeoff_chart.tradeoff(points(*(None,) * 5), "nDCG@5", 1)
    assert [each.text for each in plotted(text).layout.annotations][-1] == "Not measured yet"
    assert "95% interval" not in Document(text).all(class_="plot")[0]["data-plot"]


def test_tradeoff_draws_what_was_measured_with_its_whiskers() -> None:
    quality, latency, memory, *_ = plotted(
        tradeoff_chart.tradeoff(points(0.61, None, 0.65, 0.66, 0.67), "nDCG@5", 2)
    ).data
    assert quality.y == (0.61, None, 0.65, 0.66, 0.67)
    assert quality.error_y.array[0] == pytest.approx(0.02)
    assert quality.error_y.arrayminus[0] == pytest.approx(0.03)
    assert (latency.y[0], latency.error_y.array[0]) == (20.0, 10.0)
    assert memory.y == tuple(SIZES)
    assert quality.hovertext[0] == "<b>1×1</b><br>0.610<br>95% interval 0.580–0.630"


def test_a_stop_of_the_tradeoff_is_a_button_that_searches_there() -> None:
    text = tradeoff_chart.tradeoff(points(0.61, 0.64, 0.65, 0.66, 0.67), "nDCG@5", 2)
    found = buttons(text)
    assert [(each["data-action"], each["data-value"]) for each in found] == [
        ("use", stop) for stop in ("1x1", "2x4", "4x8", "8x16", "16x64")
    ]
    assert plotted(text).data[0].customdata == (0, 1, 2, 3, 4)


def test_tradeoff_files_hold_the_numbers() -> None:
    data, rows = files(tradeoff_chart.tradeoff(points(0.61, None, 0.65, 0.66, 0.67), "nDCG@5", 2))
    assert isinstance(data, dict)
    assert data["quality"] == "nDCG@5"
    assert data["stops"][1] == {
        "budget": "2x4",
        "quality": None,
        "low": None,
        "high": None,
        "p50_ms": 20.0,
        "p95_ms": 30.0,
        "bytes_per_page": 1024,
    }
    assert rows[1] == ["1x1", 0.61, 0.58, 0.63, 20.0, 30.0, 256]


# Memory at scale


def test_scale_gives_the_memory_of_every_stop_by_pages() -> None:
    text = index_size_chart.scale(OURS, 113)
    says = "113 pages take 87 KB at 1×1 and 5.6 MB at 16×64; a million, 768 MB and 49 GB"
    assert heading(text) == says
    *lines, ours, _, _, paper = plotted(text).data
    assert [trace.name for trace in lines] == list(reversed(NAMES))
    for trace, size in zip(lines, reversed(OURS), strict=True):
        assert (trace.x[0], trace.x[-1]) == (100, 10**8)
        assert 113 in trace.x
        assert trace.y == tuple(size * pages for pages in trace.x)
    assert (set(ours.x), ours.y) == ({113}, tuple(size * 113 for size in OURS))
    assert (paper.x, paper.y) == ((100_000,), (42.72 * 1024**3,))
    assert "100 million pages" in Document(text).words
    assert "4.9 TB" in Document(text).words


def test_scale_names_how_the_vectors_are_kept() -> None:
    text = index_size_chart.scale([48, 192, 384, 768, 3072], 113, 384, "binary")
    assert "D = 384, binary" in Document(text).words
    data, _ = files(text)
    assert isinstance(data, dict)
    assert (data["dim"], data["kept"]) == (384, "binary")


def test_scale_starts_at_any_number_of_pages() -> None:
    assert heading(index_size_chart.scale(OURS, 1)).startswith("1 page takes 768 B at 1×1 and 49 KB at 16×64")
    assert (
        heading(index_size_chart.scale(OURS, 10**6))
        == "1 million pages take 768 MB at 1×1 and 49 GB at 16×64"
    )


def test_scale_names_the_papers_figures_as_the_papers() -> None:
    words = Document(index_size_chart.scale(OURS, 113)).words
    assert "The paper’s Table 3: 100,000 candidates on an A100, D = 3584, bf16" in words
    assert "to read 42.72 GiB once takes an A100 22 ms" in words
    for value in ("0.68 GiB", "1.67 ms", "10.68 GiB", "1.92 ms", "42.72 GiB", "6.25 ms", "arXiv 2509.18095"):
        assert value in words
    data, _ = files(index_size_chart.scale(OURS, 113))
    assert isinstance(data, dict)
    assert data["paper"]["stops"]["8x16"] == {"gib": 10.68, "ms": 1.92}


# A session's searches


def test_history_compares_searches_with_moves_of_the_dial() -> None:
    searches = [past("16x64", 40.0, encode=30.0), past("4x8", 4.0), past("1x1", 3.0), past("2x4", 3.5)]
    assert heading(timing_chart.history(searches)) == "A search takes 40.0 ms, a move of the dial 3.5 ms"
    assert heading(timing_chart.history(searches[:1])) == "One search, 40.0 ms"
    assert heading(timing_chart.history(searches[:1] * 3)) == "Half of 3 searches took less than 40.0 ms"
    assert heading(timing_chart.history(searches[1:])) == "Half of 3 moves of the dial took less than 3.5 ms"


def test_history_stacks_the_stages_of_each_search() -> None:
    drawn = plotted(timing_chart.history([past("16x64", 40.0, encode=30.0), past("4x8", 4.0)]))
    *stages, strip, top = drawn.data
    assert [trace.name for trace in stages] == [
        "Encoding",
        "Coarse search",
        "Re-ranking",
        "Aligning",
        "Other",
    ]
    assert [sum(trace.y[i] for trace in stages) for i in (0, 1)] == pytest.approx([40, 4])
    assert strip.marker.color == ("var(--shade-5)", "var(--shade-3)")
    assert top.y == (40.0, 4.0)
    assert top.hovertext[1].startswith("<b>energy</b><br>4×8: 4.0 ms in all<br>Coarse search 0.5 ms")


def test_history_gives_percentiles_by_budget_coarse_to_fine() -> None:
    searches = [past("16x64", 40.0), *(past("4×8", ms) for ms in (2.0, 4.0, 12.0)), past("5x7", 3.0)]
    rows = re.findall(
        r"<tr><th scope=\"row\">.*?</span> (.*?)</th>(.*?)</tr>", timing_chart.history(searches)
    )
    assert [name for name, _ in rows] == ["4×8", "5×7", "16×64"]
    assert re.findall(r"<td>(.*?)</td>", rows[0][1]) == ["3", "4.0 ms", "11.2 ms"]


def test_history_keeps_the_columns_readable_and_the_file_whole() -> None:
    searches = [past("16x64", 40.0 + i, encode=30.0) for i in range(timing_chart.KEPT + 20)]
    text = timing_chart.history(searches)
    assert plotted(text).data[0].x == tuple(range(21, 21 + timing_chart.KEPT)), "numbered from the first on"
    data, rows = files(text)
    assert isinstance(data, list)
    assert len(data) == len(rows) - 1 == len(searches)
    stages = ["encode", "coarse", "rerank", "words", "refine", "align", "total"]
    assert rows[0] == ["query", "budget", *(f"{stage}_ms" for stage in stages)]


def test_history_shows_a_budget_that_it_cannot_read() -> None:
    assert "all of it" in Document(timing_chart.history([past("all of it", 3.0)])).words


# What the tokens read


def test_specialisation_states_how_much_the_first_and_the_last_group_read() -> None:
    says = "Token 1 reads 120 words of a page, tokens 17–64 read 9 each"
    assert heading(token_chart.specialisation(STATISTICS)) == says
    assert heading(token_chart.specialisation(STATISTICS[:1])) == "Token 1 reads 120 words of a page"
    assert heading(token_chart.specialisation(STATISTICS[1:4])) == "Tokens 2–4 read 48 words of a page each"
    few = [statistics_of(0, 1), statistics_of(20, 0.42)]
    assert heading(token_chart.specialisation(few)) == "Token 1 reads 1 word of a page, tokens 17–64 read 0.4"


def test_specialisation_draws_every_token_where_it_reads() -> None:
    drawn = plotted(token_chart.specialisation(list(reversed(STATISTICS))))
    places, means, words, *_ = drawn.data
    assert len(places.x) == len(means.x) == len(words.x) == len(STATISTICS)
    assert places.hovertext[0] == "<b>Token 1</b><br>120 words, 5–95% of the page"
    assert words.x == tuple(token.words for token in STATISTICS)
    assert list(dict.fromkeys(words.marker.color)) == [f"var(--shade-{i})" for i in (1, 2, 5)]
    for low, width, mean in zip(places.base, places.x, means.x, strict=True):
        assert 0 <= low <= mean <= low + width <= 1


def test_specialisation_tells_what_contents_the_finest_tokens_tell_apart() -> None:
    assert "Knowing which" not in token_chart.specialisation(STATISTICS)
    shares = dict.fromkeys(CONTENTS, 0.1) | {"other": 0.5}
    told = [replace(each, contents=shares, bits=0.01, slice_bits=0.005) for each in STATISTICS]
    text = token_chart.specialisation(told)
    assert "Knowing which of tokens 17–64 reads a word tells 0.48 bits of its kind of content" in text
    assert "48 equal slices of the page would tell 0.24" in text
    assert '<tr><th scope="row">Other</th><td>50%</td><td>50%</td><td>50%</td></tr>' in text
    assert '<tr><th scope="row">Of slices</th><td>0.01</td>' in text


def test_specialisation_tells_the_kinds_of_words_by_group() -> None:
    text = token_chart.specialisation(STATISTICS)
    kinds = plotted(text).data[3:]
    assert [trace.name for trace in kinds] == list(KINDS.values())
    assert kinds[0].y == ("1", "2–4", "17–64")
    assert [trace.x[0] for trace in kinds] == [0.5, 0.25, 0.25, 0.0]
    _, rows = files(token_chart.specialisation(STATISTICS))
    names = ["token", "group", "place", "p10", "p90", "words", *KINDS, *CONTENTS, "bits", "slice_bits"]
    assert rows[0] == names
    assert rows[1] == [1, "1", 0.5, 0.05, 0.95, 120, 0.5, 0.25, 0.25, 0.0, *[0.0] * len(CONTENTS), 0.0, 0.0]


# The test of an explanation


@pytest.mark.parametrize(
    ("curve", "says"),
    [
        (
            ((0, 8, 8), (0.5, 0, 8), (1, 0, 0)),
            "Hiding the highlighted words first halves the score at 25%, random ones at 75%",
        ),
        (
            ((0, 8, 8), (1, 0, 5)),
            "Hiding the highlighted words first halves the score at 50%; random ones never do",
        ),
        (((0, 8, 8), (1, 5, 0)), "Hiding the highlighted words first never halves the score"),
    ],
)
def test_the_deletion_curve_says_where_the_score_is_halved(
    curve: tuple[tuple[float, float, float], ...], says: str
) -> None:
    text = occlusion_test.verdict(Verdict("words", 3, 60, 8.0, 4.0, 2.0, (1.0,), curve))
    assert f"<h3>{says}</h3>" in text
    first, other = plotted(text).data
    assert (first.name, other.name) == ("highlighted first", "random first")
    assert (first.y, other.y) == (tuple(row[1] for row in curve), tuple(row[2] for row in curve))
    _, rows = files(text)
    assert rows[1:] == [list(row) for row in curve]
