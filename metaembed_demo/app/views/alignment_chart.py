"""The alignment matrix of one hit, with its margins, gains and table, as HTML. Pure functions."""

from __future__ import annotations

import base64
from functools import cache

import numpy as np

from metaembed_demo.core.budgets import OURS, Budget, Budgets, Group
from metaembed_demo.core.text import DASH, budget_text
from metaembed_demo.core.types import Alignment, FloatArray, Similarity, divisor
from metaembed_demo.index.maxsim import candidate_gains

from .figure import SAVE
from .html import json_attribute
from .score_bar import _tokens, score_bar

SCALE = 10_000  # cosines are sent as int16 ten-thousandths
CAPTION = (
    "Meta Tokens are learned vectors that have read the whole input. They are neither words nor patches: "
    "a row is not a word of the query and a column is not a place on the page."
)


def alignment(
    found: Alignment,
    full: FloatArray,
    budget: Budget,
    budgets: Budgets = OURS,
    similarity: Similarity = "MaxSim",
) -> str:
    """The r_q x r_c matrix of one hit, with winners ringed, margins in the groups' shades, and gains.

    web/alignment_chart.js draws the cells and makes the files to save, from the numbers in `data-matrix`.

    Args:
        found: the hit's alignment at `budget`.
        full: (R_q, R_c) float32 cosines at full size; cells outside the budget are drawn faint.
        budget: the current budget. budgets: the encoder's. similarity: what the score is told as.
    """
    rows, columns = full.shape
    r_q, r_c = found.similarity.shape
    low, high = float(full.min()), float(full.max())
    data = {
        "page": found.page_id,
        "sim": base64.b64encode(np.rint(full * SCALE).astype("<i2").tobytes()).decode(),
        "size": full.shape,
        "winners": found.winners.tolist(),
        "r_q": r_q,
        "r_c": r_c,
        "groups": [[*g.candidate, g.label("candidate")] for g in budgets.groups],
    }
    best = int(np.argmax(found.gains))
    return (
        f'<figure class="matrix" data-figure="alignment" {json_attribute("matrix", data)} '
        f'style="--rows:{rows};--columns:{columns}">'
        f"<h3>{_finding(found, budgets)}</h3>"
        f'<div class="matrix-grid">'
        f'<div class="axis-x"><span>Candidate tokens 1{DASH}{columns}</span></div>'
        f'<div class="margin-x">{_margin(budgets, "candidate", columns, r_c)}</div>'
        f'<div class="axis-y"><span>Query tokens 1{DASH}{rows}</span></div>'
        f'<div class="margin-y">{_margin(budgets, "query", rows, r_q)}</div>'
        f'<div class="cells" tabindex="0" role="application" aria-label="Alignment matrix, {rows} query '
        f'tokens by {columns} candidate tokens. Arrow keys move from cell to cell.">'
        f'<svg viewBox="0 0 {columns} {rows}" preserveAspectRatio="none" aria-hidden="true"></svg>'
        f"<i class='cursor' hidden></i></div>"
        f'<div class="gains" aria-hidden="true">{_gains(found.gains, budgets)}</div>'
        f'<div class="axis-g">gain, max 1</div>'
        f"</div>"
        f'<p class="reading" aria-live="polite">{_sentence(best, found, budgets)}</p>'
        '<div class="both" aria-live="polite"><p><span class="by-mouse">Point at a cell, or use the arrow '
        'keys,</span><span class="by-touch">Tap a cell</span> to see what its two tokens read.</p></div>'
        f"{_prefixes(found, budgets, similarity)}"
        f'<p class="scale num" aria-hidden="true">cosine {low:.2f}<i></i>{high:.2f}'
        f'<span class="ring"></span> a row{chr(0x2019)}s maximum</p>'
        f"<figcaption>{CAPTION}</figcaption>"
        f"{_table(found, budget, similarity)}{SAVE}</figure>"
    )


def _prefixes(found: Alignment, budgets: Budgets, similarity: Similarity) -> str:
    """The score contribution of each nested group of candidate tokens."""
    gains = candidate_gains(found, budgets) / divisor(similarity, len(found.gains))
    columns = found.similarity.shape[1]
    reached = [g for g in budgets.groups if g.label("candidate") and g.candidate[0] <= columns]
    words = "".join(
        f'<li><i class="g{g.index}"></i>{_tokens("", g, "candidate").strip()} '
        f"<b>{gains[g.index]:+.2f}</b></li>"
        for g in reached
    )
    top = max(float(np.maximum(gains, 0).sum()), 1e-9)
    return (
        f'<div class="prefixes"><p>What each group of candidate tokens added</p>'
        f'{score_bar(gains.tolist(), top, "candidate")}<ul class="num">{words}</ul></div>'
    )


def _finding(found: Alignment, budgets: Budgets) -> str:
    """The finding: the candidate group with the most winners."""
    groups = [budgets.group_of(int(w), "candidate") for w in found.winners]
    counts = [sum(g.index == i for g in groups) for i in range(len(budgets))]
    most = budgets.groups[int(np.argmax(counts))]
    n, r_q = counts[most.index], len(groups)
    if r_q == 1:
        return f"The one query token matches candidate {_tokens('', most, 'page').strip()}"
    if n == r_q:
        return f"All {r_q} query tokens match candidate {_tokens('', most, 'page').strip()}"
    return f"{n} of {r_q} query tokens match best in candidate {_tokens('', most, 'page').strip()}"


def _span(group: Group) -> str:
    """A token range such as "tokens 17–64", without line breaks."""
    return f'<span class="span">{_tokens("", group, "candidate")}</span>'


def _sentence(i: int, found: Alignment, budgets: Budgets) -> str:
    j = int(found.winners[i])
    share = float(found.gains[i]) / (float(found.gains.sum()) or 1.0)
    group = budgets.group_of(j, "candidate").label("candidate")
    return (
        f'Query token <b class="num">{i + 1}</b> takes its maximum, <b class="num">{found.gains[i]:.2f}</b> '
        f'({share * 100:.0f}% of the score), from candidate token <b class="num">{j + 1}</b> '
        f'(group <span class="span">{group}</span>).'
    )


@cache
def _margin(budgets: Budgets, side: str, size: int, reach: int) -> str:
    """One strip of shades along the matrix; tokens outside the budget are dimmed."""
    parts = []
    for group in budgets.groups:
        first, end = group.span(side)
        end = min(end, size)
        inside = max(0, min(reach, end) - first)
        for span, dim in ((inside, ""), (end - first - inside, " off")):
            if span > 0:
                parts.append(f'<i class="g{group.index}{dim}" style="flex:{span}"></i>')
    return "".join(parts)


def _gains(gains: FloatArray, budgets: Budgets) -> str:
    """One bar per query token in use; its length is the token's maximum cosine, with 1 at full width."""
    return "".join(
        f"<span><i class=g{budgets.group_of(i, 'query').index} style=width:{width * 100:.1f}%></i></span>"
        for i, width in enumerate(np.clip(gains, 0, 1).tolist())
    )


def _table(found: Alignment, budget: Budget, similarity: Similarity) -> str:
    """The maxima as a table, whose rows web/alignment_chart.js fills."""
    score = float(found.gains.sum()) / divisor(similarity, len(found.gains))
    return (
        f'<details class="as-table"><summary>The {len(found.gains)} maxima of '
        f"{budget_text(budget.r_q, budget.r_c)} as a table</summary>"
        '<table class="figures num"><thead><tr><th scope="col">Query token</th>'
        '<th scope="col">Candidate token</th>'
        f'<th scope="col">Group</th><th scope="col">Cosine</th><th scope="col">Share</th></tr></thead>'
        "<tbody></tbody>"
        f'<tfoot><tr><td colspan="3">{similarity} score</td><td>{score:.3f}</td></tr></tfoot>'
        "</table></details>"
    )
