"""Chart of the parts of a page that each Meta Token reads, over a corpus. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from metaembed_demo.core.budgets import GROUPS, Group, group_of
from metaembed_demo.core.text import DASH
from metaembed_demo.explain.token_statistics import KINDS, TokenStatistics

from .figure import Files, as_table, figure, nothing

TINTS = (88, 56, 32, 14)  # percent of ink, one a kind of word


def specialisation(tokens: Sequence[TokenStatistics]) -> str:
    """Chart of each candidate token's position on the page, number of words and kinds of words."""
    if not tokens:
        return nothing(
            "specialisation",
            "Nothing has been read yet",
            "Add documents: this then shows which part of a page each Meta Token reads.",
        )
    groups = _by_group(tokens)
    most = max(max(token.words for token in tokens), 1e-9)
    blocks = "".join(_block(group, found, most) for group, found in groups)
    body = (
        '<div class="token-stats"><div class="token-stats-chart">'
        '<div class="token-stats-head" aria-hidden="true">'
        "<span>Token</span><span><i>first word</i><i>last word</i></span><span>Words read</span></div>"
        f'<div role="img" aria-label="{_description(groups)}">{blocks}</div></div>'
        f"{_kinds(groups)}</div>"
        + as_table(
            f"All {len(tokens)} tokens as a table",
            ["Token", "From", "Mean place", "To", "Words read"],
            [_row(token) for token in tokens],
        )
    )
    note = (
        "A bar holds 80% of what the token reads, between the first and the last word of a page in reading "
        "order; the tick is its mean place. Words read is the effective number on the median page."
    )
    return figure("specialisation", _finding(groups), body, *_files(tokens), note)


def _files(tokens: Sequence[TokenStatistics]) -> Files:
    names = ["token", "group", "place", "p10", "p90", "words", *KINDS]
    rows = [_csv_row(token) for token in tokens]
    return [dict(zip(names, row, strict=True)) for row in rows], [list[object](names), *rows]


def _by_group(tokens: Sequence[TokenStatistics]) -> list[tuple[Group, list[TokenStatistics]]]:
    ordered = sorted(tokens, key=lambda token: token.token)
    found = [(group, [t for t in ordered if group_of(t.token, "candidate") is group]) for group in GROUPS]
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


def _description(groups: Sequence[tuple[Group, Sequence[TokenStatistics]]]) -> str:
    return "; ".join(
        f"{_token_name(group)}: {_words(_typical(found))} each, {_span(found)} of the page"
        for group, found in groups
    )


def _span(tokens: Sequence[TokenStatistics]) -> str:
    """The part of a page that the group's median token reads, in percent."""
    return f"{statistics.median(token.high - token.low for token in tokens) * 100:.0f}%"


def _block(group: Group, tokens: Sequence[TokenStatistics], most: float) -> str:
    rows = "".join(_token(token, most) for token in tokens)
    return (
        f'<div class="token-stats-group" style="--shade:{group.shade}">'
        f'<span class="token-stats-name num">{group.label("candidate")}</span>'
        f'<div class="token-stats-rows">{rows}</div>'
        f'<span class="token-stats-typical num">{_count(_typical(tokens))}</span></div>'
    )


def _token(token: TokenStatistics, most: float) -> str:
    low, high = _within(token.low), _within(token.high)
    place, width = _within(token.place), max(high - low, 0.0)
    part = f"{low * 100:.0f}{DASH}{high * 100:.0f}% of the page"
    return (
        f'<span class="token-row" title="Token {token.token + 1}: {_words(token.words)}, {part}">'
        f'<span><i style="left:{low * 100:.1f}%;width:{width * 100:.1f}%"></i>'
        f'<b style="left:{place * 100:.1f}%"></b></span>'
        f'<span><i style="width:{max(token.words, 0) / most * 100:.1f}%"></i></span></span>'
    )


def _within(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def _kinds(groups: Sequence[tuple[Group, Sequence[TokenStatistics]]]) -> str:
    """The kinds of words that each group reads, one bar per group."""
    keys = "".join(
        f'<span><i class="chip" style="--tint:{tint}%"></i>{name}</span>'
        for name, tint in zip(KINDS.values(), TINTS, strict=True)
    )
    rows = []
    for group, tokens in groups:
        shares = _shares(tokens)
        words = ", ".join(f"{KINDS[kind]} {share * 100:.0f}%" for kind, share in shares.items())
        bar = "".join(
            f'<i style="width:{share * 100:.2f}%;--tint:{tint}%"></i>'
            for share, tint in zip(shares.values(), TINTS, strict=True)
            if share > 0
        )
        rows.append(
            f'<span class="key num" style="--shade:{group.shade}">{group.label("candidate")}</span>'
            f'<span class="stack" role="img" title="{words}" aria-label="{_token_name(group)}: {words}">'
            f"{bar}</span>"
        )
    return (
        f'<div class="token-stats-kinds"><h4>What they read</h4><p>{keys}</p>'
        f'<div class="token-stats-bars">{"".join(rows)}</div></div>'
    )


def _shares(tokens: Sequence[TokenStatistics]) -> dict[str, float]:
    """Mean share of each kind; they sum to 1 if anything was read."""
    sums = {kind: sum(max(token.kinds.get(kind, 0.0), 0.0) for token in tokens) for kind in KINDS}
    total = sum(sums.values())
    return {kind: value / total if total else 0.0 for kind, value in sums.items()}


def _row(token: TokenStatistics) -> list[str]:
    places = [f"{share * 100:.0f}%" for share in (token.low, token.place, token.high)]
    return [str(token.token + 1), *places, _count(token.words)]


def _csv_row(token: TokenStatistics) -> list[object]:
    label = group_of(token.token, "candidate").label("candidate")
    shares = [round(token.kinds.get(kind, 0.0), 4) for kind in KINDS]
    places = [round(share, 4) for share in (token.place, token.low, token.high)]
    return [token.token + 1, label, *places, round(token.words, 2), *shares]
