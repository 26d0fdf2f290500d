"""Chart of the memory of a large index at every stop, next to the paper's figures. Pure functions."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from metaembed_demo.core.budgets import GROUPS, STOPS
from metaembed_demo.core.text import TIMES, bytes_text, plural

from .figure import NAMES, SAVE, Files, figure, nothing, savable, table
from .html import safe

MULTIPLES = (1, 1.5, 2, 3, 4, 5, 7)  # steps of the slider within a power of ten
STEPS = (*(int(m * 10**power) for power in range(2, 8) for m in MULTIPLES), 10**8)  # pages
AXIS = (4.0, 13.2)  # powers of ten of the bytes at the ends of the memory axis
TICKS = (("1 MB", 1024**2), ("1 GB", 1024**3), ("1 TB", 1024**4))
# MetaEmbed, arXiv 2509.18095, table 3: stop -> GiB of the candidates' vectors and ms to score them.
PAPER = {0: (0.68, 1.67), 3: (10.68, 1.92), 4: (42.72, 6.25)}
PAPER_SETTING = "100,000 candidates on an A100, D = 3584, bf16"


def scale(bytes_per_page: Sequence[int], pages: int, dim: int | None = None, kept: str = "fp16") -> str:
    """Memory of an index at every stop by number of pages, next to the paper's figures.

    web/index_size_chart.js updates it when the slider moves.

    Args:
        bytes_per_page: five sizes, one per stop, coarse to fine.
        pages: initial value of the slider.
        dim: components of a vector; needed if `bytes_per_page` are not those of float16.
        kept: name of the storage kind.
    """
    if len(bytes_per_page) != len(STOPS) or pages < 1:
        return nothing(
            "scale", "No index to scale yet", "Add documents: this then shows what many more would take."
        )
    sizes = [size * pages for size in bytes_per_page]
    rows = "".join(_memory_row(i, size) for i, size in enumerate(sizes))
    ticks = "".join(f'<span style="left:{_along(size):.2f}%">{name}</span>' for name, size in TICKS)
    lines = "".join(f'<i style="left:{_along(size):.2f}%"></i>' for _, size in TICKS)
    dim = dim or bytes_per_page[0] // (2 * STOPS[0].r_c)
    body = (
        f"{_slider(bytes_per_page, pages)}"
        '<div class="scale-both"><section class="scale-ours"><h4>This demo '
        f"<span>D = {dim}, {safe(kept)}</span></h4>"
        f'<div class="scale-chart"><div class="scale-ticks num" aria-hidden="true">{ticks}</div>'
        f'<div class="scale-lines" aria-hidden="true">{lines}</div>{rows}</div></section>'
        f"{_paper()}</div>"
    )
    note = (
        "Memory of the vectors alone, on a log scale; 1 GB here is the paper’s GiB. One index serves every "
        "stop, so it holds what its finest stop needs."
    )
    return figure("scale", _finding(pages, sizes), body, *_files(bytes_per_page, pages, dim, kept), note)


def _files(bytes_per_page: Sequence[int], pages: int, dim: int, kept: str) -> Files:
    """The chart's JSON and CSV; web/index_size_chart.js replaces both when the slider moves."""
    stops = [str(stop) for stop in STOPS]
    data = {
        "pages": pages,
        "dim": dim,
        "kept": kept,
        "bytes": {stop: size * pages for stop, size in zip(stops, bytes_per_page, strict=True)},
        "paper": {
            "source": "arXiv 2509.18095, Table 3",
            "setting": PAPER_SETTING,
            "stops": {stops[i]: {"gib": gib, "ms": ms} for i, (gib, ms) in PAPER.items()},
        },
    }
    rows: list[list[object]] = [
        [stop, pages, size, size * pages] for stop, size in zip(stops, bytes_per_page, strict=True)
    ]
    return data, [["budget", "pages", "bytes_per_page", "bytes"], *rows]


def _finding(pages: int, sizes: Sequence[int]) -> str:
    return (
        f"{_pages(pages)} {'takes' if pages == 1 else 'take'} {_size(sizes[0])} at {NAMES[0]} "
        f"and {_size(sizes[-1])} at {NAMES[-1]}"
    )


def _pages(pages: int) -> str:
    """
    >>> [_pages(n) for n in (1, 113, 1_500, 1_500_000, 100_000_000)]
    ['1 page', '113 pages', '1,500 pages', '1.5 million pages', '100 million pages']
    """
    return f"{pages / 1e6:g} million pages" if pages >= 1e6 else plural(pages, "page")


def _size(n: float) -> str:
    """As `bytes_text`, and terabytes beyond.

    >>> [_size(n) for n in (768, 49152 * 10**6, 49152 * 10**8)]
    ['768 B', '46 GB', '4.5 TB']
    """
    terabytes = n / 1024**4
    if n < 1000 * 1024**3:
        return bytes_text(n)
    return f"{terabytes:.0f} TB" if terabytes >= 10 else f"{terabytes:.1f} TB"


def _along(size: float) -> float:
    """The position of `size` bytes on the memory axis, in percent."""
    return min(max((math.log10(max(size, 1)) - AXIS[0]) / (AXIS[1] - AXIS[0]), 0.0), 1.0) * 100


def _slider(bytes_per_page: Sequence[int], pages: int) -> str:
    step = min(range(len(STEPS)), key=lambda i: abs(math.log(STEPS[i] / pages)))
    data = {
        "bytes": list(bytes_per_page),
        "steps": STEPS,
        "axis": AXIS,
        "stops": [str(s) for s in STOPS],
        "names": NAMES,
    }
    return (
        f'<div class="scale-set" data-scale="{safe(json.dumps(data))}">'
        f'<p class="scale-pages num">{_pages(pages)}</p><div data-undrawn>'
        f'<input type="range" min="0" max="{len(STEPS) - 1}" step="1" value="{step}" aria-label="Pages" '
        f'aria-valuetext="{_pages(pages)}" style="--at:{step / (len(STEPS) - 1) * 100:.2f}%">'
        '<p class="scale-ends num" aria-hidden="true"><span>100</span><span style="left:33.3%">10,000</span>'
        '<span style="left:66.7%">1 million</span><span>100 million</span></p></div></div>'
    )


def _memory_row(i: int, size: int) -> str:
    reference = ""
    if i in PAPER:
        gib, _ = PAPER[i]
        words = f"The paper, {NAMES[i]}: {gib} GiB for {PAPER_SETTING}"
        reference = (
            f'<i class="scale-reference" style="left:{_along(gib * 1024**3):.2f}%" title="{words}"></i>'
        )
    return (
        f'<p class="scale-row num" style="--shade:{GROUPS[i].shade}"><span>{NAMES[i]}</span>'
        f'<span class="scale-track">{reference}'
        f'<i class="scale-dot" style="left:{_along(size):.2f}%"></i></span>'
        f"<b>{_size(size)}</b></p>"
    )


def _paper() -> str:
    rows = [[NAMES[i], f"{gib:.2f} GiB", f"{ms:.2f} ms"] for i, (gib, ms) in PAPER.items()]
    return (
        '<section class="scale-paper"><h4><i class="scale-reference"></i>The paper’s Table 3 '
        f"<span>{PAPER_SETTING}</span></h4>{table(['Stop', 'Memory', 'Scoring'], rows)}"
        '<p><a href="https://arxiv.org/abs/2509.18095" target="_blank" rel="noopener">MetaEmbed, arXiv '
        "2509.18095</a></p></section>"
    )


def storage(bytes_per_page: Sequence[int], pages: int) -> str:
    """Index size at each stop as bars in the five shades.

    Args:
        bytes_per_page: five sizes, one a stop, coarse to fine.
        pages: pages in the index.
    """
    largest = max(bytes_per_page)
    sizes: list[list[object]] = [["budget", "bytes a page", "bytes of all pages"]]
    sizes += [[str(stop), size, size * pages] for stop, size in zip(STOPS, bytes_per_page, strict=True)]
    ratio = largest / max(min(bytes_per_page), 1)
    rows = "".join(
        f'<tr><th scope="row">{group.query[1]}{TIMES}{group.candidate[1]}</th>'
        f'<td class="track"><i style="width:{size / largest * 100:.1f}%;--shade:{group.shade}"></i></td>'
        f"<td>{bytes_text(size)}</td><td>{bytes_text(size * pages)}</td></tr>"
        for group, size in zip(GROUPS, bytes_per_page, strict=True)
    )
    return (
        f'<figure class="storage" {savable("storage", sizes, sizes)}>'
        f"<h3>The coarsest stop needs {ratio:.0f} times less memory than the finest</h3>"
        '<table class="figures named num"><thead><tr><th scope="col">Stop</th>'
        '<th scope="col"><span class="hidden">Size</span></th>'
        '<th scope="col">A page</th><th scope="col">All pages</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>{SAVE}</figure>"
    )
