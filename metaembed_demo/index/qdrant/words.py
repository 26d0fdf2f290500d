"""The words of a collection on Qdrant: BM25 by a sparse vector of each page (index/words/weights.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from metaembed_demo.index.words.asking import Asked, most_holding, stems_in
from metaembed_demo.index.words.engine import Entry
from metaembed_demo.index.words.question import Group, Question, question
from metaembed_demo.index.words.stemming import NAMES
from metaembed_demo.index.words.weights import Sparse, of_code, of_page, of_query
from metaembed_demo.index.words.word_index import TIES, VERSION, Found, WordHit, WordIndex, tied

from .client import NO_WORDS, WORDS, Link, models
from .index import point_id

DRIFT = 0.1  # relative change of the average length from which all pages are weighed anew
MOST_CODES = 20  # codes of a query that are looked for one by one
PAGES, TERMS = 64, 500_000  # in a request; a term is at most 24 bytes of JSON


class QdrantWords:
    """Writes the sparse vectors. They are complete when `lacking` is ""."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def average(self) -> float:
        """The average length by which pages are weighed."""
        return float((self._told() or NO_WORDS)["average"])

    def lacking(self) -> str:
        """Why words cannot be searched here, as the rest of a sentence; "" if they can."""
        told = self._told()
        if told is None or told["version"] != VERSION:
            return "has no words of its pages" + (", or those of another version" if told else "")
        pages, with_words = self._count(), self._count(models().HasVectorCondition(has_vector=WORDS))
        return f"lacks the words of {pages - with_words} of {pages} pages" if with_words < pages else ""

    def begin(self, average: float, new: int) -> bool:
        """Prepare for writing the words of `new` pages, which are here already.

        Returns:
            whether the words of all pages are to be written, and `end` to be called: they were not, or the
            average length is no longer `average`.

        Raises:
            RuntimeError: when the collection has no such vector, and the server cannot add it.
        """
        told, m = self._told(), models()
        if told is None:  # a collection from before words were kept
            sparse = m.SparseVectorNameConfig(sparse=m.SparseVectorConfig(modifier=m.Modifier.IDF))
            try:
                self._link("create_vector_name", vector_name=WORDS, vector_name_config=sparse)
            except RuntimeError as error:
                raise RuntimeError(f"{error} Words cannot be added: push to another name.") from error
            self._tell(NO_WORDS)
        elif told["version"] == VERSION and abs(average - told["average"]) <= DRIFT * told["average"]:
            with_words = self._count(m.HasVectorCondition(has_vector=WORDS))
            if with_words + new >= self._count():
                return False
        self._tell(NO_WORDS | {"average": average})
        return True

    def end(self) -> None:
        """Let words be searched, after all were written."""
        self._tell({"version": VERSION, "average": self.average})

    def put(self, entries: Iterable[tuple[str, Entry]]) -> None:
        """Write the words of pages that are here, where the collection has a vector for them."""
        told, m = self._told(), models()
        if told is None:
            return
        average = float(told["average"])
        batch: list[Any] = []
        terms = 0
        for page_id, entry in entries:
            vector = of_page(entry, average)
            if batch and (len(batch) == PAGES or terms + len(vector.indices) > TERMS):
                self._link("update_vectors", points=batch)
                batch, terms = [], 0
            batch.append(m.PointVectors(id=point_id(page_id), vector={WORDS: _sparse(vector)}))
            terms += len(vector.indices)
        if batch:
            self._link("update_vectors", points=batch)

    def _told(self) -> dict[str, Any] | None:
        """What the collection's metadata says of words; None where it has no vector for them."""
        metadata = self._link("get_collection").config.metadata or {}
        return dict(metadata[WORDS]) if WORDS in metadata else None

    def _tell(self, words: dict[str, Any]) -> None:
        self._link("update_collection", metadata={WORDS: words})

    def _count(self, condition: Any = None) -> int:
        only = None if condition is None else models().Filter(must=[condition])
        return int(self._link("count", count_filter=only, exact=True).count)


class _At(NamedTuple):
    """A page from a query: its score, and its serial for ties."""

    score: float
    serial: int


class QdrantLexical:
    """Searches pages by the words that Qdrant keeps (`Lexical` of index/words/word_index.py).

    With `local`, the words of the same pages here, that looks for codes, quoted phrases and other spellings.
    Without it codes are found by their whole form alone, and `Asked.unsearched` names the rest.

    languages: of the pages, whose stems a query is given; `local` knows its own.
    """

    def __init__(self, link: Link, local: WordIndex | None, languages: Iterable[str] = ()) -> None:
        self._link, self._local = link, local
        self._languages = tuple(sorted(NAMES.keys() & set(languages)))

    def __len__(self) -> int:
        return int(self._link("count", exact=True).count)

    def ask(self, query: str | Question) -> Asked:
        """A query as it is searched here."""
        asked = question(query) if isinstance(query, str) else query
        if self._local is not None:
            return self._local.ask(asked)
        forms = {part: stems_in([bare], self._languages) for part, bare in asked.plain.items()}
        unsearched = (*(["phrases"] if asked.phrases else []), "other spellings")
        most = most_holding(len(self))
        likely = [group for group in (*asked.groups, *asked.joins) if group.may_be_code and group.whole]
        codes = [group for group in likely[:MOST_CODES] if 0 < len(self._holding(group, most + 1)) <= most]
        return Asked(asked, forms, codes=tuple(codes), unsearched=unsearched)

    def search(self, query: str | Asked, k: int, allowed: Collection[str] | None = None) -> Found:
        """As `Lexical.search`: pages with more codes and quoted phrases first, then BM25, then the oldest."""
        asked = self.ask(query) if isinstance(query, str) else query
        vector = of_query(asked)
        if k < 1 or not vector.indices or (allowed is not None and not len(allowed)):
            return Found((), asked)
        literals, most = self._literals(asked, k, allowed), k + TIES
        while len(found := self._best(vector, most, allowed)) == most and tied(
            {page_id: at.score for page_id, at in found.items()}, k
        ):
            most *= 4
        if lacking := [page_id for page_id in literals if page_id not in found]:
            found |= self._best(vector, len(lacking), lacking)
        order = sorted(found, key=lambda i: (-literals.get(i, 0), -round(found[i].score, 5), found[i].serial))
        hits = [WordHit(page_id, found[page_id].score, literals.get(page_id, 0)) for page_id in order[:k]]
        return Found(tuple(hits), asked)

    def scores(self, query: str | Asked, page_ids: Collection[str]) -> dict[str, float]:
        """BM25 of the pages named, 0 for those without a word of the query."""
        asked = self.ask(query) if isinstance(query, str) else query
        found = self._best(of_query(asked), len(page_ids), page_ids)
        return {page_id: found[page_id].score if page_id in found else 0.0 for page_id in page_ids}

    def _literals(self, asked: Asked, k: int, allowed: Collection[str] | None) -> dict[str, int]:
        if self._local is not None:
            return self._local.literals(asked, k, allowed)
        most = most_holding(len(self)) if asked.codes else 0
        held = Counter(page_id for code in asked.codes for page_id in self._holding(code, most, allowed))
        return dict(held.most_common(k))

    def _holding(self, code: Group, most: int, allowed: Collection[str] | None = None) -> Sequence[str]:
        return list(self._best(of_code(code), most, allowed))

    def _best(self, vector: Sparse, k: int, allowed: Collection[str] | None) -> dict[str, _At]:
        """Pages with a product above 0, best first."""
        if not vector.indices or k < 1:
            return {}
        only = None
        if allowed is not None:
            points = [point_id(page_id) for page_id in dict.fromkeys(allowed)]
            only = models().Filter(must=[models().HasIdCondition(has_id=points)])
        found = self._link(
            "query_points",
            query=_sparse(vector),
            using=WORDS,
            query_filter=only,
            limit=k,
            with_payload=True,
        )
        return {p.payload["page"]: _At(p.score, p.payload["serial"]) for p in found.points if p.score > 0}


def _sparse(vector: Sparse) -> Any:
    return models().SparseVector(indices=vector.indices, values=vector.values)
