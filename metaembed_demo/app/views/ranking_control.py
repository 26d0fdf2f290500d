"""What ranks pages (meaning, words or both) and how far the query is refined: the control, as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from metaembed_demo.collection.modes import BOTH, MEANING, WORDS

from .html import safe

STEPS = (0, 10, 25, 50)  # of query refinement
HINTS = {
    MEANING: "By Meta Tokens alone.",
    WORDS: "By BM25 alone: the dial changes the MaxSim scores, not the order.",
    BOTH: "By Meta Tokens and BM25 together; exact codes and quoted phrases come first.",
}
REFINES = (
    "Guided Query Refinement moves the query's vectors towards what both rankings agree on, step by step, "
    "and ranks their best pages again."
)


WORDS_ALONE = ("", "By words")  # the complement, unless a second encoder is chosen


def control(
    mode: str,
    steps: int,
    picture_alone: bool = False,
    path: str = "",
    complements: Sequence[str] = (),
    complement: str = "",
) -> str:
    """The control under the query; web/ranking_control.js sends what is chosen.

    Args:
        mode: one of `modes.MODES`. steps: of refinement, usually one of STEPS.
        picture_alone: whether the query has no words, so that meaning ranks in any mode.
        path: HTML that shows what refinement did to the open search.
        complements: names of encoders that can refine; complement: the one that is chosen, "" for the words.
    """
    names = [(each, each.capitalize()) for each in (MEANING, WORDS, BOTH)]
    hint = "A picture without words is searched by meaning." if picture_alone else HINTS[mode]
    refined = _refinement(steps, path, complements, complement) if mode == BOTH else ""
    return (
        f'<div class="rank-by">{_segments("mode", "Rank pages by", names, mode, hint)}'
        f'<p class="hint">{hint}</p>{refined}</div>'
    )


def reading(name: str, done: tuple[int, int], due: bool) -> str:
    """How far the encoder `name` is with the pages it has to read: done, of all.

    due: whether the page's script is to ask for it.
    """
    asks = " data-unread" if due else ""
    return (
        f'<p class="hint" role="status"{asks}>{safe(name)} reads the best pages: '
        f'<span class="num">{done[0]} of {done[1]}</span></p>'
    )


def _refinement(steps: int, path: str, complements: Sequence[str], complement: str) -> str:
    names = [(str(each), str(each) if each else "Off") for each in sorted({*STEPS, steps})]
    now = f'<span class="num">{steps} steps</span>' if steps else '<span class="hidden">off</span>'
    options = [WORDS_ALONE, *((safe(name), f"By {safe(name)}") for name in complements)]
    chosen = safe(complement) if complement in complements else ""
    by = _segments("complement", "Refine by", options, chosen) if complements else ""
    return (
        f'<details class="refine"><summary>Refine<span class="hidden"> the query:</span> {now}</summary>'
        '<div class="refine-panel"><div class="refine-how">'
        f"{_segments('steps', 'Steps', names, str(steps))}{by}"
        f'<p class="hint">{REFINES}</p></div>{path}</div></details>'
    )


def _segments(name: str, title: str, options: list[tuple[str, str]], chosen: str, told: str = "") -> str:
    """Radio buttons that look like one control in parts. options: values and labels; told: shown on hover."""
    tip = f' title="{told}"' if told else ""
    parts = "".join(
        f'<label><input type="radio" name="{name}" value="{value}"{" checked" if value == chosen else ""}>'
        f"<span>{label}</span></label>"
        for value, label in options
    )
    return f'<fieldset class="segments"{tip}><legend class="hidden">{title}</legend>{parts}</fieldset>'
