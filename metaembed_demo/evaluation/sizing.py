"""What an index of any number of pages takes: arithmetic on the layout, as docs/scale.md has it.

Its tables (scripts/sizing.py), the command `sizing` and the room Budget share it. GB is 10^9 bytes; GiB, the
unit of machines' memory and of the paper's table, is 2^30.
"""

from __future__ import annotations

from dataclasses import dataclass

from metaembed_demo.collection.convert_storage import sizes
from metaembed_demo.core.budgets import OURS, Budget
from metaembed_demo.index import quantization
from metaembed_demo.index.cascade import PREFIX
from metaembed_demo.index.local import EXACT_UP_TO

GIB, TIB = 2**30, 2**40
R_C = OURS.full.r_c
SCAN = f"int8 prefix of {PREFIX.r_c}"  # of a page, what the scan reads
KINDS = (*quantization.KINDS, SCAN)
PICTURE, WORDS = 80_800, 2_100  # bytes a page on disk, the sample corpus (113 pages) as `merge` wrote it
# MetaEmbed, arXiv 2509.18095, table 3: stop -> GiB of the candidates' vectors and ms to score them.
PAPER = {0: (0.68, 1.67), 3: (10.68, 1.92), 4: (42.72, 6.25)}
PAPER_PAGES, PAPER_DIM = 100_000, 3584
PAPER_SETTING = f"100,000 candidates on an A100, D = {PAPER_DIM}, bf16"
A100_BANDWIDTH = 2.039e12  # bytes a second that its memory gives at most, the 80 GB one's data sheet
USABLE = 0.7  # share of a machine's memory that the index may take: assumed


def bytes_a_page(kind: str, dim: int, r_c: int = R_C) -> int:
    """Bytes of the first `r_c` vectors of a page, one of KINDS.

    >>> [bytes_a_page(kind, 128) for kind in KINDS]
    [16384, 8196, 2048, 1024, 2052]
    """
    if kind == SCAN:
        return sizes(Budget(1, min(r_c, PREFIX.r_c)), R_C, dim)["int8"]
    return sizes(Budget(1, r_c), max(r_c, R_C), dim)[kind]


@dataclass(frozen=True)
class OnDisk:
    """Mean bytes that a page takes on disk beside its vectors, and where the figures are from."""

    picture: float = PICTURE
    words: float = WORDS
    source: str = "the sample corpus"


def read_ms(gib: float) -> float:
    """Milliseconds in which an A100 can read so many GiB once, at least.

    >>> [(ms, round(read_ms(gib), 1)) for gib, ms in PAPER.values()]
    [(1.67, 0.4), (1.92, 5.6), (6.25, 22.5)]
    """
    return gib * GIB / A100_BANDWIDTH * 1e3


def memory(pages: int, kind: str, dim: int, r_c: int = R_C, scan: int = PREFIX.r_c) -> int:
    """Bytes of memory for the vectors of an index that holds `r_c` vectors a page.

    Above 5,000 pages float16 has beside them the int8 prefixes of `scan` vectors that a scan reads.

    >>> memory(5_000, "float16", 128), memory(10_000, "float16", 128), memory(10_000, "int8", 128)
    (81920000, 184360000, 81960000)
    """
    scanned = kind == "float16" and pages > EXACT_UP_TO
    return pages * (
        bytes_a_page(kind, dim, r_c) + (bytes_a_page(SCAN, dim, min(r_c, scan)) if scanned else 0)
    )


def disk(
    pages: int,
    kind: str,
    dim: int,
    r_c: int = R_C,
    beside: OnDisk | None = None,
    scan: int = PREFIX.r_c,
) -> int:
    """Bytes of a saved index: what memory holds, the full vectors of codes, pictures and words.

    >>> disk(1_000, "float16", 128), disk(1_000, "binary", 128)
    (99284000, 100308000)
    """
    beside = beside or OnDisk()
    full = 0 if kind == "float16" else pages * bytes_a_page("float16", dim, r_c)
    return memory(pages, kind, dim, r_c, scan) + full + round(pages * (beside.picture + beside.words))


def pages_in(ram_gib: float, a_page: float, usable: float = USABLE) -> int:
    """How many pages of so many bytes fit into the usable share of a machine's memory.

    >>> pages_in(10, 1024, usable=0.5)
    5242880
    """
    return int(ram_gib * GIB * usable // a_page)


def nodes(pages: int, a_page: float, ram_gib: float, usable: float = USABLE) -> int:
    """Machines of so much memory that hold so many pages.

    >>> nodes(5242881, 1024, 10, usable=0.5)
    2
    """
    return -(-pages // pages_in(ram_gib, a_page, usable))


def hours(pages: float, a_second: float) -> float:
    """
    >>> hours(7200, 2)
    1.0
    """
    return pages / a_second / 3600


def span(in_hours: float) -> str:
    """
    >>> span(0.5), span(12), span(48), span(24 * 365.25 * 3)
    ('30 min', '12.0 h', '2.0 days', '3.0 years')
    """
    if in_hours < 1:
        return f"{in_hours * 60:.0f} min" if in_hours * 60 >= 1 else f"{in_hours * 3600:.0f} s"
    if in_hours < 48:
        return f"{in_hours:.1f} h"
    days = in_hours / 24
    return f"{days:,.1f} days" if days < 1000 else f"{days / 365.25:.1f} years"
