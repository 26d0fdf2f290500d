"""The budgets of an encoder: stops, groups, places on the dial."""

from __future__ import annotations

import pytest

from metaembed_demo.core.budgets import OURS, Budget, Budgets, Group

THREE = Budgets.parse("1x1 4x8 32x128")
SIX = Budgets.parse("1x1 2x4 4x8 8x16 8x32 16x64")


@pytest.mark.parametrize("budgets", [THREE, OURS, SIX, OURS.within(4, 8), OURS.within(16, 6)])
def test_each_stop_reaches_its_group_and_has_a_whole_place(budgets: Budgets) -> None:
    assert [budgets.position(stop) for stop in budgets] == list(range(len(budgets)))
    assert [budgets.nearest(stop) for stop in budgets] == list(range(len(budgets)))
    assert [group.count for group in budgets.groups] == [len(budgets)] * len(budgets)
    assert budgets.reach(budgets.full) == len(budgets)
    for side, tokens in (("query", budgets.full.r_q), ("candidate", budgets.full.r_c)):
        for token in range(tokens):
            first, end = budgets.group_of(token, side).span(side)
            assert first <= token < end


def test_a_stop_may_add_tokens_to_one_side_alone() -> None:
    added = SIX.groups[4]
    assert (added.label("query"), added.label("candidate")) == ("", "17–32")
    assert SIX.query_sizes == (1, 1, 2, 4, 0, 8)
    assert SIX.page_sizes == (1, 3, 4, 8, 16, 32)
    assert SIX.group_of(8, "query") is SIX.groups[5]
    assert SIX.reach(Budget(8, 16)) == 4
    assert SIX.reach(Budget(8, 17)) == 5


@pytest.mark.parametrize(
    ("free", "place"),
    [(Budget(1, 4), 0.5), (Budget(8, 64), 4.5), (Budget(16, 64), 5.0), (Budget(99, 99), 5.0)],
)
def test_budgets_between_stops_lie_between_them(free: Budget, place: float) -> None:
    assert SIX.position(free) == place


@pytest.mark.parametrize("count", range(1, 13))
def test_there_are_as_many_shades_as_groups(count: int) -> None:
    shades = [Group(i, (i + 1, i + 1), (i + 1, i + 1), count).shade for i in range(count)]
    assert len(set(shades)) == count
    assert shades[-1] == "var(--shade-5)"
    if count == len(OURS):
        assert shades == [f"var(--shade-{i})" for i in range(1, 6)]


@pytest.mark.parametrize("text", ["", "2x4 1x1", "1x1 1x1", "1x8 2x4", "1x1 0x4", " ".join(["1x1"] * 13)])
def test_what_is_not_nested_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)budget"):
        Budgets.parse(text)


@pytest.mark.parametrize("pairs", [[(1,)], [(1, 2, 3)], ["ab"], [(1.0, 2.0)], [(True, True)]])
def test_what_is_no_pair_is_refused(pairs: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="pair of whole numbers"):
        Budgets.of(pairs)
