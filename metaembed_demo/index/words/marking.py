"""The words of a page that a question meets, for marking them on it."""

from __future__ import annotations

from collections.abc import Sequence

from .asking import Asked
from .stemming import stems, stop_words
from .tokenizer import Terms, is_paired, terms


def matches(asked: Asked, words: Sequence[str], language: str = "") -> list[int]:
    """Indices of the words of a page, in `language`, that `asked` meets: as written, by stem or whole form.

    Stop words of the language are left out. Parts of a quoted phrase count only where the phrase stands, if
    it does; those of a code only where the code does.
    """
    found = terms(words)
    strict = [phrase for phrase in asked.phrases if _runs(found, phrase)]
    left_out = {part for code in asked.codes for part in code.parts}.union(*strict)
    left_out |= stop_words(asked.forms, language)
    loose = [part for part in asked.forms if part not in left_out and (len(part) > 1 or is_paired(part))]
    surfaces = {surface for part in loose for surface in asked.surfaces(part)}
    of_stem = {form for part in loose for form in asked.forms[part]}
    wholes = {form for group in (*asked.question.groups, *asked.question.joins) for form in group.whole}
    marked = [
        span
        for part, stem, span in zip(found.parts, stems(found.plain, language), found.spans, strict=True)
        if part in surfaces or stem in of_stem
    ]
    marked += [span for form, span in found.whole if form in wholes]
    for run in (*strict, *(code.parts for code in asked.codes if len(code.parts) > 1)):
        marked += _runs(found, run)
    return sorted({at for first, last in marked for at in range(first, last + 1)})


def holds_all(asked: Asked, words: Sequence[str], language: str = "") -> bool:
    """Whether a page has all words of `asked`, as written or by stem; stop words do not count."""
    wanted = set(asked.forms) - stop_words(asked.forms, language)
    found = terms(words)
    written, stemmed = set(found.parts), set(stems(found.plain, language))
    return bool(wanted) and all(part in written or stemmed & {*asked.forms[part]} for part in wanted)


def _runs(found: Terms, parts: Sequence[str]) -> list[tuple[int, int]]:
    """Spans of the parts where they stand in a row."""
    size, spans = len(parts), []
    for at, part in enumerate(found.parts):
        if part == parts[0] and found.parts[at : at + size] == list(parts):
            spans.append((found.spans[at][0], found.spans[at + size - 1][1]))
    return spans
