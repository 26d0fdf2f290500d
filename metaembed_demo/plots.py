"""A Trace as pictures in HTML: score bars, the alignment matrix, stage timings. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metaembed_demo.app.theme import GROUPS, Group, group_of

from .charts import SAVE, savable
from .maxsim import candidate_gains
from .records import STOPS, Alignment, Budget, FloatArray
from .text import DASH, TIMES, attribute, budget_text, bytes_text, ms_text

LEVELS = 14  # steps of ink in the matrix; more cannot be told apart
STAGES = {"encode": "Encoding", "coarse": "Coarse search", "rerank": "Re-ranking", "align": "Aligning"}
CAPTION = (
    "Meta Tokens are learned vectors that have read the whole input. They are neither words nor patches: "
    "a row is not a word of the query and a column is not a place on the page."
)


def score_bar(gains: Sequence[float], top: float, side: str = "query") -> str:
    """One hit's score split by token group.

    Args:
        gains: five sums, what the groups added (`maxsim.prefix_gains`, or `candidate_gains`).
        top: the score that fills the bar, usually that of the best hit.
        side: "query" or "candidate", whose groups they are.
    """
    top = max(top, 1e-9)
    parts = [max(float(gain), 0.0) / top * 100 for gain in gains]
    squeeze = min(1.0, 100 / max(sum(parts), 1e-9))
    cells = "".join(
        f'<i style="width:{part * squeeze:.2f}%;--shade:{group.shade}" '
        f'title="{_tokens(side.capitalize(), group, side)}: {gain:+.2f}"></i>'
        for part, gain, group in zip(parts, gains, GROUPS, strict=True)
        if part > 0
    )
    words = ", ".join(
        f"{_tokens(side, group, side)} {gain:.2f}" for gain, group in zip(gains, GROUPS, strict=True) if gain
    )
    return f'<span class="bar" role="img" aria-label="Score by group: {words}">{cells}</span>'


def _tokens(word: str, group: Group, side: str) -> str:
    first, last = group.query if side == "query" else group.candidate
    return f"{word} token{'' if first == last else 's'} {group.label(side)}".strip()


def legend(reach: int) -> str:
    """The five shades in words; groups beyond `reach` (1 to 5) are dimmed."""
    keys = "".join(
        f'<span class="key{"" if g.index < reach else " off"}" style="--shade:{g.shade}">'
        f"{g.label('query')}</span>"
        for g in GROUPS
    )
    return f'<p class="legend">Query tokens {keys}</p>'


def alignment(found: Alignment, full: FloatArray, budget: Budget) -> str:
    """The r_q x r_c matrix of one hit, with winners ringed, margins in the five shades and gains beside it.

    Args:
        found: the hit's alignment at `budget`.
        full: (R_q, R_c) float32 cosines at full size; what lies outside the budget is drawn faint.
        budget: the budget in use.
    """
    rows, columns = full.shape
    r_q, r_c = found.similarity.shape
    low, high = float(full.min()), float(full.max())
    data = {
        "sim": [[round(float(v), 3) for v in row] for row in full],
        "winners": [int(w) for w in found.winners],
        "r_q": r_q,
        "r_c": r_c,
        "groups": [[*g.candidate, g.label("candidate")] for g in GROUPS],
    }
    best = int(np.argmax(found.gains))
    return (
        f'<figure class="matrix" {_files(found)} data-matrix="{attribute(data)}" '
        f'style="--rows:{rows};--columns:{columns}">'
        f"<h3>{_finding(found)}</h3>"
        f'<div class="matrix-grid">'
        f'<div class="axis-x"><span>Candidate tokens 1{DASH}{columns}</span></div>'
        f'<div class="margin-x">{_margin("candidate", columns, r_c)}</div>'
        f'<div class="axis-y"><span>Query tokens 1{DASH}{rows}</span></div>'
        f'<div class="margin-y">{_margin("query", rows, r_q)}</div>'
        f'<div class="cells" tabindex="0" role="application" aria-label="Alignment matrix, {rows} query '
        f'tokens by {columns} candidate tokens. Arrow keys move from cell to cell.">'
        f"{_cells(full, found.winners, r_q, r_c, low, high)}<i class='cursor' hidden></i></div>"
        f'<div class="gains" aria-hidden="true">{_gains(found.gains, rows)}</div>'
        f'<div class="axis-g">gain, max 1</div>'
        f"</div>"
        f'<p class="reading" aria-live="polite">{_sentence(best, found)}</p>'
        '<div class="both" aria-live="polite">Point at a cell, or use the arrow keys, to see what its two '
        "tokens read.</div>"
        f"{_prefixes(found)}"
        f'<p class="scale num" aria-hidden="true">cosine {low:.2f}<i></i>{high:.2f}'
        f'<span class="ring"></span> a row{chr(0x2019)}s maximum</p>'
        f"<figcaption>{CAPTION}</figcaption>"
        f"{_table(found, budget)}{SAVE}</figure>"
    )


def _files(found: Alignment) -> str:
    """The matrix as its JSON and CSV files have it; tokens count from 1 there."""
    rows, columns = found.similarity.shape
    cosines = np.round(found.similarity.astype(float), 4).tolist()
    data = {
        "page_id": found.page_id,
        "cosines": cosines,
        "winners": [int(w) + 1 for w in found.winners],
        "gains": np.round(found.gains.astype(float), 4).tolist(),
    }
    head = ["query token", *(f"candidate token {j + 1}" for j in range(columns))]
    return savable("alignment", data, [head, *([i + 1, *cosines[i]] for i in range(rows))])


def _prefixes(found: Alignment) -> str:
    """What each nested group of candidate tokens added to the score."""
    gains = candidate_gains(found)
    reached = [g for g in GROUPS if g.candidate[0] <= found.similarity.shape[1]]
    words = "".join(
        f'<li><i style="--shade:{g.shade}"></i>{_tokens("", g, "candidate").strip()} '
        f"<b>{gains[g.index]:+.2f}</b></li>"
        for g in reached
    )
    top = max(float(np.maximum(gains, 0).sum()), 1e-9)
    return (
        f'<div class="prefixes"><p>What each group of candidate tokens added</p>'
        f'{score_bar(gains.tolist(), top, "candidate")}<ul class="num">{words}</ul></div>'
    )


def _finding(found: Alignment) -> str:
    """The matrix in one line: which candidate group the query tokens read most."""
    groups = [group_of(int(w), "candidate") for w in found.winners]
    counts = [sum(g.index == i for g in groups) for i in range(len(GROUPS))]
    most = GROUPS[int(np.argmax(counts))]
    n, r_q = counts[most.index], len(groups)
    if r_q == 1:
        return f"The one query token matches candidate {_tokens('', most, 'page').strip()}"
    if n == r_q:
        return f"All {r_q} query tokens match candidate {_tokens('', most, 'page').strip()}"
    return f"{n} of {r_q} query tokens match best in candidate {_tokens('', most, 'page').strip()}"


def _span(group: Group) -> str:
    """Such as tokens 17–64, kept on one line."""
    return f'<span class="span">{_tokens("", group, "candidate")}</span>'


def _sentence(i: int, found: Alignment) -> str:
    j = int(found.winners[i])
    share = float(found.gains[i]) / (float(found.gains.sum()) or 1.0)
    group = group_of(j, "candidate").label("candidate")
    return (
        f'Query token <b class="num">{i + 1}</b> takes its maximum, <b class="num">{found.gains[i]:.2f}</b> '
        f'({share * 100:.0f}% of the score), from candidate token <b class="num">{j + 1}</b> '
        f'(group <span class="span">{group}</span>).'
    )


def _margin(side: str, size: int, reach: int) -> str:
    """One strip of shades along the matrix; tokens outside the budget are dimmed."""
    parts = []
    for group in GROUPS:
        first, last = group.query if side == "query" else group.candidate
        last = min(last, size)
        inside = max(0, min(reach, last) - first + 1)
        for span, dim in ((inside, ""), (last - first + 1 - inside, " off")):
            if span > 0:
                parts.append(f'<i class="{dim.strip()}" style="flex:{span};--shade:{group.shade}"></i>')
    return "".join(parts)


def _cells(
    full: FloatArray, winners: Sequence[int] | np.ndarray, r_q: int, r_c: int, low: float, high: float
) -> str:
    """The cells as one SVG path for each level of ink, inside and outside the budget apart."""
    rows, columns = full.shape
    levels = np.rint((full - low) / max(high - low, 1e-9) * (LEVELS - 1)).astype(int)
    inside = np.zeros(full.shape, bool)
    inside[:r_q, :r_c] = True
    paths = []
    for name, mask in (("in", inside), ("out", ~inside)):
        for level in range(LEVELS):
            where = np.argwhere((levels == level) & mask)
            if len(where):
                d = "".join(f"M{j} {i}h1v1h-1z" for i, j in where)
                ink = 0.03 + 0.9 * (level / (LEVELS - 1)) ** 1.4
                paths.append(f'<path class="{name}" d="{d}" fill-opacity="{ink:.2f}"/>')
    edge = "" if (r_q, r_c) == (rows, columns) else f'<path class="edge" d="M{r_c} 0V{r_q}H0"/>'
    rings = "".join(
        f'<rect class="ring" x="{j}" y="{i}" width="1" height="1"/>' for i, j in enumerate(winners)
    )
    return (
        f'<svg viewBox="0 0 {columns} {rows}" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(paths)}{edge}{rings}</svg>"
    )


def _gains(gains: FloatArray, rows: int) -> str:
    """One bar a query token; its length is the token's maximum cosine, 1 fills the width."""
    bars = []
    for i in range(rows):
        width = min(max(float(gains[i]), 0.0), 1.0) * 100 if i < len(gains) else 0.0
        bars.append(f'<i style="width:{width:.1f}%;--shade:{group_of(i, "query").shade}"></i>')
    return "".join(f"<span>{bar}</span>" for bar in bars)


def _table(found: Alignment, budget: Budget) -> str:
    score = float(found.gains.sum()) or 1.0
    rows = "".join(
        f"<tr><td>{i + 1}</td><td>{int(j) + 1}</td><td>{group_of(int(j), 'page').label('page')}</td>"
        f"<td>{gain:.3f}</td><td>{gain / score * 100:.0f}%</td></tr>"
        for i, (j, gain) in enumerate(zip(found.winners, found.gains, strict=True))
    )
    return (
        f'<details class="as-table"><summary>The {len(found.gains)} maxima of '
        f"{budget_text(budget.r_q, budget.r_c)} as a table</summary>"
        '<table class="figures num"><thead><tr><th scope="col">Query token</th>'
        '<th scope="col">Candidate token</th>'
        f'<th scope="col">Group</th><th scope="col">Cosine</th><th scope="col">Share</th></tr></thead>'
        f"<tbody>{rows}</tbody>"
        f'<tfoot><tr><td colspan="3">MaxSim score</td><td>{float(found.gains.sum()):.3f}</td></tr></tfoot>'
        "</table></details>"
    )


def timing(timings: dict[str, float], pages: int, candidates: int, how: str = "exactly") -> str:
    """Stage timings as one stacked bar under a title that states the finding.

    Args:
        timings: milliseconds by stage, as in `Trace.timings`.
        pages: pages in the index; candidates: pages scored, and how.
    """
    stages = {stage: timings.get(stage, 0.0) for stage in STAGES}
    total = max(timings.get("total", 0.0), sum(stages.values()), 1e-9)
    rest = total - sum(stages.values())
    shown = [(STAGES[s], ms) for s, ms in stages.items()] + ([("Other", rest)] if rest >= 0.05 else [])
    inks = (88, 60, 40, 24, 12)
    bar = "".join(
        f'<i style="width:{ms / total * 100:.2f}%;--tint:{ink}%" title="{name}: {ms_text(ms)}"></i>'
        for (name, ms), ink in zip(shown, inks, strict=False)
        if ms > 0
    )
    rows = "".join(
        f'<tr><th scope="row"><i class="chip" style="--tint:{ink}%"></i>{name}</th>'
        f"<td>{ms_text(ms)}</td><td>{ms / total * 100:.0f}%</td></tr>"
        for (name, ms), ink in zip(shown, inks, strict=False)
    )
    scored = f"{candidates:,} of {pages:,} pages were scored {how}."
    return (
        f'<figure class="timing" {savable("timing", timings, [["stage", "ms"], *shown])}>'
        f"<h3>{_slowest(shown, total)}</h3>"
        f'<div class="stack" role="img" aria-label="{_stage_words(shown)}">{bar}</div>'
        f'<table class="figures named num"><thead class="hidden"><tr><th>Stage</th>'
        f"<th>Milliseconds</th><th>Share</th></tr>"
        f"</thead><tbody>{rows}</tbody><tfoot><tr><th scope='row'>In all</th><td>{ms_text(total)}</td>"
        f"<td>100%</td></tr></tfoot></table>"
        f"<figcaption>Wall time on the server, without drawing the page. {scored}</figcaption>{SAVE}</figure>"
    )


def _slowest(stages: Sequence[tuple[str, float]], total: float) -> str:
    name, ms = max(stages, key=lambda stage: stage[1])
    if stages[0][1] == 0.0:  # the dial, the storage or the pages changed: the query's vectors were kept
        return f"Nothing was encoded again: {ms_text(total)} in all"
    takes = "takes" if name != "Other" else "work takes"
    return f"{name} {takes} {ms / total * 100:.0f}% of {ms_text(total)}"


def _stage_words(stages: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {ms_text(ms)}" for name, ms in stages)


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
