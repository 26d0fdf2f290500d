"""Beside a page map: what makes it, its occlusion test, and the progress of both. Pure functions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from metaembed_demo.core.text import plural
from metaembed_demo.explain.occlusion import SHARE, Verdict

from . import plot
from .figure import as_table


def offer() -> str:
    return (
        '<button type="button" class="quiet" data-action="test">Test this explanation</button>'
        f'<span class="hint">Hides {SHARE * 100:.0f}% of the page, reads it again and compares with hiding '
        "others.</span>"
    )


def testing(done: int, of: int) -> str:
    """The running test."""
    return _running("Testing", f"Read {done} of {of} versions of this page", done, of)


def steps(done: int, of: int) -> str:
    """Gradients being taken."""
    return _running("Mapping", f"Step {done} of {of}", done, of)


def offered(begin: bool) -> str:
    """The tab while a map that takes its time was not asked for. begin: make it where it is shown."""
    return (
        f'<div class="trial"{" data-begin" if begin else ""}>'
        '<button type="button" class="quiet" data-action="map">Map this page</button>'
        '<span class="hint">Blocks one part of the page after the other and computes the score again: '
        "hundreds of passes.</span></div>"
    )


def mapping(done: int, of: int) -> str:
    """The map being made."""
    told = _running("Mapping", f"Blocked {done} of {of} parts of this page", done, of)
    return f'<div class="trial">{told}</div>'


def _running(name: str, told: str, done: int, of: int) -> str:
    return (
        f'<div class="bar-run" role="progressbar" aria-valuemin="0" aria-valuemax="{of}" '
        f'aria-valuenow="{done}" aria-label="{name}">'
        f'<i style="width:{done / max(of, 1) * 100:.0f}%"></i></div>'
        f'<p class="hint num">{told} '
        '<button type="button" class="quiet" data-action="stop-test">Stop</button></p>'
    )


def verdict(found: Verdict) -> str:
    """The test's result: the finding, three bars, and the curve."""
    chance = float(np.mean(found.random))
    top = max(found.highlighted, found.attended, chance, 1e-9)
    rows = "".join(
        f'<li><span class="word">{name}</span><span class="track"><i style="width:'
        f'{max(value, 0) / top * 100:.1f}%;--shade:{shade}"></i></span>'
        f'<span class="num">{_change(-value)}</span></li>'
        for name, value, shade in (
            ("highlighted", found.highlighted, "var(--accent)"),
            (found.plain, found.attended, "var(--muted)"),
            (f"random, mean of {len(found.random)}", chance, "var(--edge)"),
        )
    )
    hidden = plural(found.hidden, found.what.rstrip("s"))
    return (
        f"<h3>{_verdict_finding(found, chance)}</h3>"
        f'<ol class="gave" aria-label="Change of the score with {hidden} of {found.of} hidden">{rows}</ol>'
        f'<p class="hint num">Change of the score, {found.full:.2f}, when {hidden} of {found.of} are hidden '
        f"and the page is read again.</p>{_curve(found)}"
        '<button type="button" class="quiet" data-action="test">Test again</button>'
    )


def _change(value: float) -> str:
    """
    >>> _change(-1.5), _change(0.25)
    ('\u22121.50', '+0.25')
    """
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def _verdict_finding(found: Verdict, chance: float) -> str:
    if found.highlighted <= 0:
        return f"It fails here: hiding the highlighted {found.what} does not lower the score"
    if chance <= 0:
        return f"The highlighted {found.what} carry the hit: hiding random ones does nothing"
    ratio = found.highlighted / chance
    if ratio < 1:
        return f"It fails here: hiding random {found.what} costs more"
    return f"Hiding the highlighted {found.what} costs {ratio:.3g} times what random ones cost"


def _curve(found: Verdict) -> str:
    """Remaining score by the share of words hidden: highlighted first, and in random order."""
    if not found.curve:
        return ""
    shares, *scores = zip(*found.curve, strict=True)
    looks = (("highlighted first", plot.ACCENT, "solid"), ("random first", plot.MUTED, "dash"))
    traces = [
        plot.trace(
            shares,
            score,
            f"<b>{name}</b><br>%{{x:.0%}} of the {found.what} hidden<br>score %{{y:.2f}}",
            name=name,
            line={"color": color, "width": 2, "dash": dash},
            marker={"color": color, "size": 5},
        )
        for score, (name, color, dash) in zip(scores, looks, strict=True)
    ]
    layout = plot.layout(
        240,
        (52, 20, 32, 44),
        xaxis=plot.axis(title=f"{found.what} hidden", tickformat=".0%", range=[-0.01, 1.01], showgrid=True),
        yaxis=plot.axis(title="score left", rangemode="tozero"),
    )
    head = [f"{found.what.capitalize()} hidden", "Highlighted first", "Random first"]
    rows = [[f"{share:.0%}", f"{a:.2f}", f"{b:.2f}"] for share, a, b in found.curve]
    names = ["share_hidden", "score_highlighted_first", "score_random_first"]
    files = plot.records(names, found.curve)
    drawn = plot.Plot(f"Score left by the share of {found.what} hidden", traces, layout)
    return plot.chart(
        "deletion", _curve_finding(found), drawn, as_table("The curve as a table", head, rows), files
    )


def _curve_finding(found: Verdict) -> str:
    first, other = (_halved(found, at) for at in (1, 2))
    highlighted = f"Hiding the highlighted {found.what} first halves the score"
    if first is None:
        return f"Hiding the highlighted {found.what} first never halves the score"
    if other is None:
        return f"{highlighted} at {first:.0%}; random ones never do"
    return f"{highlighted} at {first:.0%}, random ones at {other:.0%}"


def _halved(found: Verdict, at: int) -> float | None:
    """The share hidden where curve `at` (1 or 2) first falls to half the score, linear between its points."""
    half = found.full / 2
    for before, after in pairwise(found.curve):
        if after[at] <= half:
            return float(np.interp(-half, (-before[at], -after[at]), (before[0], after[0])))
    return None
