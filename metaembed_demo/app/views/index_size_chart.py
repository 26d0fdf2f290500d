"""Chart of the memory of a large index at every stop, next to the paper's figures. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from metaembed_demo.core.budgets import OURS, Budgets
from metaembed_demo.core.text import TIMES, bytes_text, plural
from metaembed_demo.evaluation.sizing import GIB, PAPER, PAPER_PAGES, PAPER_SETTING, read_ms

from . import plot
from .figure import SAVE, Files, as_table, named, nothing, savable

STEPS = (*(m * 10**power for power in range(2, 8) for m in (1, 2, 5)), 10**8)  # pages of the lines
ROWS = (10_000, 100_000, 10**6, 10**7, 10**8)  # pages of the table
TICKS = {100: "100", 10_000: "10,000", 10**6: "1 million", 10**8: "100 million"}
MEMORY_TICKS = {10**3: "1 KB", 10**6: "1 MB", 10**9: "1 GB", 10**12: "1 TB"}


def scale(
    bytes_per_page: Sequence[int],
    pages: int,
    dim: int | None = None,
    kept: str = "fp16",
    at: int = 0,
    more: str = "",
    budgets: Budgets = OURS,
) -> str:
    """Memory of an index at every stop by number of pages, next to the paper's figures.

    Args:
        bytes_per_page: a size per stop, coarse to fine.
        pages: in the index.
        dim: components of a vector; needed if `bytes_per_page` are not those of float16.
        kept: name of the storage kind. at: pages that the paper's figures are scaled to; 0: the paper's own.
        more: attributes, see `figure.origin`. budgets: the stops.
    """
    if len(bytes_per_page) != len(budgets) or pages < 1:
        return nothing(
            "scale", "No index to scale yet", "Add documents: this then shows what many more would take."
        )
    at = at or PAPER_PAGES
    dim = dim or bytes_per_page[0] // (2 * budgets[0].r_c)
    rows = [
        [_pages(n), *(bytes_text(size * n) for size in bytes_per_page)] for n in sorted({pages, at, *ROWS})
    ]
    paper = [[named(OURS[i]), f"{gib:.2f} GiB", f"{ms:.2f} ms"] for i, (gib, ms) in PAPER.items()]
    tables = as_table("Memory as a table", ["Pages", *map(named, budgets)], rows) + as_table(
        f"The paper’s Table 3: {PAPER_SETTING}", ["Stop", "Memory", "Scoring"], paper
    )
    gib, ms = PAPER[max(PAPER)]
    scaled = "" if at == PAPER_PAGES else f", scaled to {_pages(at)}"
    note = (
        f"Memory of the vectors alone, D = {dim}, {kept}, both axes logarithmic. The dotted line marks these "
        "pages; the diamonds are the paper’s Table 3 (MetaEmbed, arXiv 2509.18095: "
        f"{PAPER_SETTING}{scaled}), whose GiB is 1.07 GB. Its {ms} ms at {named(OURS[-1])} are less than one "
        f"query takes alone: to read {gib} GiB once takes an A100 {read_ms(gib):.0f} ms. One index serves "
        "every stop, so it holds what its finest stop needs."
    )
    files = _files(bytes_per_page, pages, dim, kept, at, budgets)
    drawn = _plot(bytes_per_page, pages, at, budgets)
    return plot.chart("scale", _finding(pages, bytes_per_page, budgets), drawn, tables, files, note, more)


def _plot(bytes_per_page: Sequence[int], pages: int, at: int, budgets: Budgets) -> plot.Plot:
    steps = sorted({*STEPS, pages, at})
    shades = [group.shade for group in budgets.groups]
    lines = [
        plot.trace(
            steps,
            [size * n for n in steps],
            [f"{name}  <b>{bytes_text(size * n)}</b>" for n in steps],
            mode="lines",
            name=name,
            line={"color": shade, "width": 2},
        )
        for name, shade, size in reversed(list(zip(map(named, budgets), shades, bytes_per_page, strict=True)))
    ]
    sizes = [size * pages for size in bytes_per_page]
    ours = plot.trace([pages] * len(sizes), sizes, mode="markers", marker={"size": 9, "color": shades})
    paper = [_of_paper(i, at, shades[budgets.nearest(OURS[i])], first=i == min(PAPER)) for i in PAPER]
    here = plot.line((pages, pages), (0, 1), plot.MUTED, dash="dot", layer="below", yref="paper")
    along: plot.Layout = {
        "hoverformat": ",",
        "ticksuffix": " pages",
        "range": [math.log10(steps[0]) - 0.1, 8.05],
    }
    layout = plot.layout(
        360,
        (56, 40, 28, 44),
        hovermode="x unified",
        xaxis=plot.axis(TICKS, "pages", type="log", showgrid=True, **along),
        yaxis=plot.axis(MEMORY_TICKS, type="log"),
        shapes=[here],
    )
    words = "Memory by number of pages, one line a stop, both axes logarithmic"
    return plot.Plot(words, [*lines, ours, *paper], layout)


def _of_paper(stop: int, at: int, shade: str, first: bool) -> plot.Trace:
    """One diamond, a trace of its own: a unified hover tells one point a trace."""
    gib, ms = PAPER[stop]
    took = f", scored in {ms} ms" if at == PAPER_PAGES else f" ({gib} GiB for {PAPER_PAGES:,} pages)"
    size = gib * GIB * at / PAPER_PAGES
    told = f"the paper at {named(OURS[stop])}  <b>{bytes_text(size)}</b>{took}"
    look = {"symbol": "diamond", "size": 11, "color": plot.PAPER, "line": {"color": shade, "width": 2}}
    shown = {"name": "The paper", "legendgroup": "paper", "showlegend": first}
    return plot.trace([at], [size], [told], mode="markers", marker=look, **shown)


def _files(
    bytes_per_page: Sequence[int], pages: int, dim: int, kept: str, at: int, budgets: Budgets
) -> Files:
    """The chart's JSON and CSV."""
    stops = [str(stop) for stop in budgets]
    data = {
        "pages": pages,
        "dim": dim,
        "kept": kept,
        "bytes": {stop: size * pages for stop, size in zip(stops, bytes_per_page, strict=True)},
        "paper": {
            "source": "arXiv 2509.18095, Table 3",
            "setting": PAPER_SETTING,
            "scaled_to_pages": at,
            "stops": {str(OURS[i]): {"gib": gib, "ms": ms} for i, (gib, ms) in PAPER.items()},
        },
    }
    rows: list[list[object]] = [
        [stop, pages, size, size * pages] for stop, size in zip(stops, bytes_per_page, strict=True)
    ]
    return data, [["budget", "pages", "bytes_per_page", "bytes"], *rows]


def _finding(pages: int, sizes: Sequence[int], budgets: Budgets) -> str:
    coarse, fine = sizes[0], sizes[-1]
    said = (
        f"{_pages(pages)} {'takes' if pages == 1 else 'take'} {bytes_text(coarse * pages)} at "
        f"{named(budgets[0])} and {bytes_text(fine * pages)} at {named(budgets.full)}"
    )
    million = 10**6
    return (
        said
        if pages >= million
        else f"{said}; a million, {bytes_text(coarse * million)} and {bytes_text(fine * million)}"
    )


def _pages(pages: int) -> str:
    """
    >>> [_pages(n) for n in (1, 113, 1_500, 1_500_000, 100_000_000)]
    ['1 page', '113 pages', '1,500 pages', '1.5 million pages', '100 million pages']
    """
    return f"{pages / 1e6:g} million pages" if pages >= 1e6 else plural(pages, "page")


def storage(bytes_per_page: Sequence[int], pages: int, budgets: Budgets = OURS) -> str:
    """Index size at each stop as bars in the groups' shades.

    Args:
        bytes_per_page: a size a stop, coarse to fine.
        pages: pages in the index. budgets: the stops.
    """
    largest = max(bytes_per_page)
    sizes: list[list[object]] = [["budget", "bytes a page", "bytes of all pages"]]
    sizes += [[str(stop), size, size * pages] for stop, size in zip(budgets, bytes_per_page, strict=True)]
    ratio = largest / max(min(bytes_per_page), 1)
    rows = "".join(
        f'<tr><th scope="row">{group.query[1]}{TIMES}{group.candidate[1]}</th>'
        f'<td class="track"><i style="width:{size / largest * 100:.1f}%;--shade:{group.shade}"></i></td>'
        f"<td>{bytes_text(size)}</td><td>{bytes_text(size * pages)}</td></tr>"
        for group, size in zip(budgets.groups, bytes_per_page, strict=True)
    )
    return (
        f'<figure class="storage" {savable("storage", sizes, sizes)}>'
        f"<h3>The coarsest stop needs {ratio:.0f} times less memory than the finest</h3>"
        '<table class="figures named num"><thead><tr><th scope="col">Stop</th>'
        '<th scope="col"><span class="hidden">Size</span></th>'
        '<th scope="col">A page</th><th scope="col">All pages</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>{SAVE}</figure>"
    )
