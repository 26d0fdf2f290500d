"""What is known of the judged answer to the open question: its ranks on the dial, a tick on its page."""

from __future__ import annotations

from collections.abc import Sequence

from .figure import nth

HITS = 10  # that are shown; where pages are not all ranked, an answer beyond them has no rank
TICK = '<span class="judged" title="Judged to answer this question">✓ judged</span>'


def ranks_told(ranks: Sequence[int | None]) -> tuple[str, ...]:
    """
    >>> ranks_told([76, None, 1])
    ('76th', '>10th', '1st')
    """
    return tuple(nth(rank) if rank else f">{nth(HITS)}" for rank in ranks)
