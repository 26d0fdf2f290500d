"""Chart of the parts of a page that each Meta Token reads, over a corpus. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from metaembed_demo.core.budgets import OURS, Budgets, Group
from metaembed_demo.core.text import DASH
from metaembed_demo.explain.contents import CONTENTS
from metaembed_demo.explain.token_statistics import KINDS, TokenStatistics

from . import plot
from .figure import Files, as_table, nothing

TINTS = (0.88, 0.56, 0.32, 0.14)  # opacity, one a kind of word
CONTENT_ROWS = (*(name.capitalize() for name in CONTENTS), "Bits", "Of slices")
ROW = 7.5  # px a token
APART = 1.5  # rows between two groups


def specialisation(tokens: Sequence[TokenStatistics], budgets: Budgets = OURS) -> str:
    """Chart of each candidate token's position on the page, number of words and kinds of words."""
    if not tokens:
        return nothing(
            "specialisation",
            "Nothing has been read yet",
            "Add documents: this then shows which part of a page each Meta Token reads.",
        )
    groups = _by_group(tokens, budgets)
    tables = as_table(
        f"All {len(tokens)} tokens as a table",
        ["Token", "From", "Mean place", "To", "Words read"],
        [_row(token) for token in tokens],
    ) + as_table(
        "Kinds of words as a table",
        ["Tokens", *KINDS.values()],
        [[group.label("candidate"), *_percents(found)] for group, found in groups],
    )
    tables += as_table(
        "Kinds of content as a table",
        ["Tokens", *(group.label("candidate") for group, _ in groups)],
        list(zip(CONTENT_ROWS, *(_contents(found) for _, found in groups), strict=True)),
    )
    told = (
        "A bar holds 80% of what the token reads, between the first and the last word of a page in reading "
        "order; the tick is its mean place. Words read is the effective number on the median page."
        + _told_apart(groups[-1])
    )
    return plot.chart(
        "specialisation", _finding(groups), _plot(groups), tables, _files(tokens, budgets), told
    )


def _files(tokens: Sequence[TokenStatistics], budgets: Budgets) -> Files:
    names = ["token", "group", "place", "p10", "p90", "words", *KINDS, *CONTENTS, "bits", "slice_bits"]
    return plot.records(names, [_csv_row(token, budgets) for token in tokens])


def _by_group(
    tokens: Sequence[TokenStatistics], budgets: Budgets
) -> list[tuple[Group, list[TokenStatistics]]]:
    ordered = sorted(tokens, key=lambda token: token.token)
    found: list[tuple[Group, list[TokenStatistics]]] = [(group, []) for group in budgets.groups]
    for token in ordered:
        found[budgets.group_of(token.token, "candidate").index][1].append(token)
    return [(group, members) for group, members in found if members]


def _typical(tokens: Sequence[TokenStatistics]) -> float:
    return statistics.median(token.words for token in tokens)


def _finding(groups: Sequence[tuple[Group, Sequence[TokenStatistics]]]) -> str:
    (coarse, first), (fine, last) = groups[0], groups[-1]
    many = len(first) > 1
    said = (
        f"{_token_name(coarse)} {'read' if many else 'reads'} {_words(_typical(first))} of a page"
        f"{' each' if many else ''}"
    )
    if coarse is fine:
        return said
    name = _token_name(fine)
    return (
        f"{said}, {name[0].lower()}{name[1:]} read {_count(_typical(last))}{' each' if len(last) > 1 else ''}"
    )


def _token_name(group: Group) -> str:
    return f"Token{'' if group.candidate[0] == group.candidate[1] else 's'} {group.label('candidate')}"


def _count(words: float) -> str:
    return f"{words:.0f}" if words >= 4.95 or words == int(words) else f"{words:.1f}"


def _words(words: float) -> str:
    count = _count(words)
    return f"{count} word{'' if count == '1' else 's'}"


def _within(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def _plot(groups: Sequence[tuple[Group, Sequence[TokenStatistics]]]) -> plot.Plot:
    """Three panels: places and numbers of words, a row a token, and kinds of words, a bar a group."""
    tokens = [(group, token) for group, found in groups for token in found]
    y = [i + APART * at for at in range(len(groups)) for i in range(*_span_of(groups, at))]
    colors = [group.shade for group, _ in tokens]
    low, high = [_within(t.low) for _, t in tokens], [_within(t.high) for _, t in tokens]
    told = [
        f"<b>Token {t.token + 1}</b><br>{_words(t.words)}, {a * 100:.0f}{DASH}{b * 100:.0f}% of the page"
        for (_, t), a, b in zip(tokens, low, high, strict=True)
    ]
    bar = {"type": "bar", "orientation": "h"}
    tick = {"symbol": "line-ns", "size": 6, "line": {"color": plot.INK, "width": 2}}
    places, widths = [_within(t.place) for _, t in tokens], [b - a for a, b in zip(low, high, strict=True)]
    read = [max(t.words, 0.0) for _, t in tokens]
    traces = [
        plot.trace(widths, y, told, base=low, marker={"color": colors, "opacity": 0.55}, **bar),
        plot.trace(places, y, mode="markers", marker=tick),
        plot.trace(read, y, told, xaxis="x2", marker={"color": colors}, **bar),
    ]
    names = [group.label("candidate") for group, _ in groups]
    shares = [_shares(found) for _, found in groups]
    third = {"xaxis": "x3", "yaxis": "y2", "marker": {"color": plot.INK, "line": {"width": 0}}, **bar}
    for (kind, name), tint in zip(KINDS.items(), TINTS, strict=True):
        share, words = [found[kind] for found in shares], f"<b>Tokens %{{y}}</b><br>{name} %{{x:.0%}}"
        traces.append(plot.trace(share, names, words, name=name, opacity=tint, **third))
    starts = [_span_of(groups, at)[0] + APART * at for at in range(len(groups))]
    edges = [start - 0.5 - APART / 2 for start in starts]
    inner = max(round((y[-1] + 1) * ROW), 26 * len(groups) + 48)  # px
    kinds = 26 * len(groups) / inner
    between = {"tickvals": edges, "showgrid": True, "gridcolor": plot.HAIR}
    whole = [y[-1] + 0.5 + APART / 2, edges[0]]
    upper = {"domain": [1 - kinds, 1], "autorange": "reversed", "anchor": "x3", "type": "category"}
    layout = plot.layout(
        inner + 96,
        (48, 8, 48, 48),
        legend={"orientation": "v", "x": 0.72, "y": 1 - kinds - 0.02, "yanchor": "top"},
        xaxis=plot.axis(
            {0: "start", 0.5: "", 1: "end"}, domain=[0, 0.44], range=[-0.01, 1.01], showgrid=True
        ),
        xaxis2={"domain": [0.47, 0.62], "nticks": 4, "rangemode": "tozero", "showgrid": True},
        xaxis3={"domain": [0.72, 1], "range": [0, 1], "visible": False, "anchor": "y2"},
        yaxis=plot.axis(dict(zip(starts, names, strict=True)), range=whole, showgrid=False, minor=between),
        yaxis2=upper | {"showgrid": False, "showline": False},
        annotations=[
            plot.heading("Place on the page"),
            plot.heading("Words read", ("2", "")),
            plot.heading("What they read", ("3", "2")),
        ],
    )
    below = 0.24  # of the height on a narrow screen, where the kinds are below the tokens
    domains = {"xaxis": [0, 0.62], "xaxis2": [0.68, 1], "xaxis3": [0, 1]}
    domains |= {"yaxis": [below + 0.12, 1], "yaxis2": [0.06, below]}
    narrow: plot.Layout = {"height": inner + 296, "legend.x": 0, "legend.y": 0.05, "legend.orientation": "h"}
    narrow |= {f"{axis}.domain": domain for axis, domain in domains.items()}
    return plot.Plot("Place, number and kinds of the words that each token reads", traces, layout, narrow)


def _span_of(groups: Sequence[tuple[Group, Sequence[TokenStatistics]]], at: int) -> tuple[int, int]:
    """The first row of group `at`, and of the next one."""
    first = sum(len(found) for _, found in groups[:at])
    return first, first + len(groups[at][1])


def _percents(tokens: Sequence[TokenStatistics]) -> list[str]:
    return [f"{share * 100:.0f}%" for share in _shares(tokens).values()]


def _shares(tokens: Sequence[TokenStatistics]) -> dict[str, float]:
    """Mean share of each kind; they sum to 1 if anything was read."""
    sums = {kind: sum(max(token.kinds.get(kind, 0.0), 0.0) for token in tokens) for kind in KINDS}
    total = sum(sums.values())
    return {kind: value / total if total else 0.0 for kind, value in sums.items()}


def _contents(tokens: Sequence[TokenStatistics]) -> list[str]:
    known = [token for token in tokens if token.contents]
    shares = [statistics.fmean(t.contents[name] for t in known) if known else 0.0 for name in CONTENTS]
    bits, slice_bits = _bits(tokens)
    return [*(f"{share * 100:.0f}%" for share in shares), f"{bits:.2f}", f"{slice_bits:.2f}"]


def _bits(tokens: Sequence[TokenStatistics]) -> tuple[float, float]:
    return sum(token.bits for token in tokens), sum(token.slice_bits for token in tokens)


def _told_apart(finest: tuple[Group, Sequence[TokenStatistics]]) -> str:
    group, tokens = finest
    bits, slice_bits = _bits(tokens)
    if not slice_bits:
        return ""
    return (
        f" Knowing which of tokens {group.label('candidate')} reads a word tells {bits:.2f} bits of its kind "
        f"of content ({', '.join(CONTENTS[:-1])}); {len(tokens)} equal slices of the page would tell "
        f"{slice_bits:.2f}."
    )


def _row(token: TokenStatistics) -> list[str]:
    places = [f"{share * 100:.0f}%" for share in (token.low, token.place, token.high)]
    return [str(token.token + 1), *places, _count(token.words)]


def _csv_row(token: TokenStatistics, budgets: Budgets) -> list[object]:
    label = budgets.group_of(token.token, "candidate").label("candidate")
    shares = [round(token.kinds.get(kind, 0.0), 4) for kind in KINDS]
    places = [round(share, 4) for share in (token.place, token.low, token.high)]
    contents = [round(token.contents.get(name, 0.0), 4) for name in CONTENTS]
    bits = [round(token.bits, 5), round(token.slice_bits, 5)]
    return [token.token + 1, label, *places, round(token.words, 2), *shares, *contents, *bits]
