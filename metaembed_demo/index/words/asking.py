"""A question against one index: its terms in the index's languages, its literals, other spellings."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import tantivy

from .engine import STEMS, WHOLE, WORDS, entry_at
from .question import Group, Question
from .stemming import stems
from .tokenizer import is_paired

RARE = 0.02  # share of the pages that may hold a code that counts as one
FEW = 5  # pages that may in any case
MOST_SPELLINGS = 3
FUZZY_LETTERS = ((4, 1), (8, 2))  # least letters, edits
_ROUNDS, _LOOK = 8, 5  # searches for spellings, and pages looked at in each


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as one index answers it.

    forms: the folded parts -> their stems in each language; of a misspelled one, those of its spellings.
    also: misspelled parts -> the spellings that were searched instead.
    codes: words, and runs of words, asked for as they stand: on a page in one piece they make it come first.
    missing: quoted phrases that no page holds.
    unsearched: what the index cannot look for: "phrases", "other spellings".
    """

    question: Question
    forms: Mapping[str, tuple[str, ...]]
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    codes: tuple[Group, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()
    missing: tuple[tuple[str, ...], ...] = ()
    unsearched: tuple[str, ...] = ()

    def surfaces(self, part: str) -> tuple[str, ...]:
        """The part, or its other spellings."""
        return self.also.get(part, (part,))


class Asker:
    """Asks one searcher. languages: those of the pages. right: words that are spelled right, as known."""

    def __init__(
        self,
        searcher: tantivy.Searcher,
        schema: tantivy.Schema,
        languages: Iterable[str],
        right: Container[str] = (),
    ) -> None:
        self.searcher, self.schema = searcher, schema
        self.languages, self.right = tuple(languages), right

    def ask(self, question: Question) -> Asked:
        forms, also = {}, {}
        for part, bare in question.plain.items():
            forms[part] = stems_in([bare], self.languages)
            known = self._holds(WORDS, [part]) or self._holds(STEMS, forms[part])
            if not known and (spellings := self._spellings(part)):
                also[part], forms[part] = spellings, stems_in(spellings, self.languages)
        found = [phrase for phrase in question.phrases if self._first(self.phrase(phrase))]
        missing = [phrase for phrase in question.phrases if phrase not in found]
        codes = tuple(group for group in (*question.groups, *question.joins) if self._is_code(group))
        return Asked(question, forms, also, codes, tuple(found), tuple(missing))

    def phrase(self, parts: Sequence[str]) -> tantivy.Query:
        """The parts next to one another."""
        if len(parts) == 1:
            return self.term(WORDS, parts[0])
        return tantivy.Query.phrase_query(self.schema, WORDS, list(parts))

    def code(self, group: Group) -> tantivy.Query:
        """A code in one piece, or written apart."""
        ways = [self.term(WHOLE, form) for form in group.whole]
        if len(group.parts) > 1:
            ways.append(self.phrase(group.parts))
        return tantivy.Query.disjunction_max_query(ways)

    def term(self, name: str, text: str) -> tantivy.Query:
        return tantivy.Query.term_query(self.schema, name, text)

    def _is_code(self, group: Group) -> bool:
        """Whether it is written like a code, or a run of words makes one, and only a few pages hold it."""
        if not group.may_be_code:
            return False
        most = most_holding(self.searcher.num_docs)
        return 0 < len(self.searcher.search(self.code(group), most + 1, count=False).hits) <= most

    def _holds(self, name: str, texts: Iterable[str]) -> bool:
        known = [text for text in texts if self.searcher.doc_freq(name, text)]
        return any(self._first(self.term(name, text)) for text in known)

    def _first(self, query: tantivy.Query) -> bool:
        return bool(self.searcher.search(query, 1, count=False).hits)

    def _spellings(self, part: str) -> tuple[str, ...]:
        """Words of the pages that a misspelled word may stand for, the likeliest first."""
        if not part.isalpha() or is_paired(part) or part in self.right:
            return ()
        for letters, edits in FUZZY_LETTERS:
            if len(part) >= letters and (found := self._within(part, edits)):
                begins = {word: word[0] != part[0] for word in found}
                found.sort(key=lambda word: (begins[word], -self.searcher.doc_freq(WORDS, word), word))
                return tuple(found[:MOST_SPELLINGS])
        return ()

    def _within(self, part: str, edits: int) -> list[str]:
        """Words at most `edits` from `part`. tantivy finds their pages; the words are read from those."""
        fuzzy = tantivy.Query.fuzzy_term_query(self.schema, WORDS, part, distance=edits)
        found: list[str] = []
        for _ in range(_ROUNDS):
            seen = [(tantivy.Occur.MustNot, self.term(WORDS, word)) for word in found]
            query = tantivy.Query.boolean_query([(tantivy.Occur.Must, fuzzy), *seen])
            places = [place for _, place in self.searcher.search(query, _LOOK, count=False).hits]
            words = {word for place in places for word in entry_at(self.searcher, place).words.split()}
            new = [word for word in words - set(found) if within(word, part, edits)]
            if not new:
                break
            found += sorted(new)
        return found


def stems_in(bare: Iterable[str], languages: Iterable[str]) -> tuple[str, ...]:
    """The stems in each language, and in none, as on pages whose language is unknown."""
    plain = list(bare)
    return tuple(dict.fromkeys(stem for language in (*languages, "") for stem in stems(plain, language)))


def most_holding(pages: int) -> int:
    """Of how many pages at most a code stands on that counts as one."""
    return max(FEW, round(RARE * pages))


def within(a: str, b: str, edits: int) -> bool:
    """Whether at most `edits` letters are inserted, left out, changed or swapped with their neighbour.

    >>> within("recceive", "receive", 1), within("form", "from", 1), within("kestrel", "kastral", 1)
    (True, True, False)
    """
    if abs(len(a) - len(b)) > edits or len(set(a) ^ set(b)) > 2 * edits:
        return False
    before, row = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        earlier, before, row = before, row, [i]
        for j, other in enumerate(b, 1):
            least = min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                least = min(least, earlier[j - 2] + 1)
            row.append(least)
    return row[-1] <= edits
