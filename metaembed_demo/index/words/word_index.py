"""Pages by their words: BM25 on tantivy, with codes and quoted phrases first and misspelled words mended."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Protocol

import tantivy

from metaembed_demo.core import disk

from .asking import Asked, Asker
from .engine import KEY, PAGES, PREFIX, Engine, Entry, entry_at, link_files
from .question import Question, question
from .ranking import Scan, literal_query, ranking_query
from .stemming import NAMES, stems
from .tokenizer import terms

log = logging.getLogger(__name__)
VERSION = 1  # of the terms and files
SMALL = 500  # pages whose index is built anew when one is removed, or when a copy changes
DEAD = 0.2  # share of removed pages at which a larger one is
MOST_NEW = 2_000  # pages that are held before a commit
TIES = 20  # hits beyond the k-th that are looked at, for the order of adding to decide


@dataclass(frozen=True, slots=True)
class WordHit:
    """One page. `literals`: how many of the query's codes and quoted phrases it holds as they stand."""

    page_id: str
    score: float
    literals: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, best first, and the question as the index took it."""

    hits: tuple[WordHit, ...]
    asked: Asked


class Lexical(Protocol):
    """What searches pages by their words: a WordIndex, or one elsewhere (index/qdrant/words.py)."""

    def __len__(self) -> int: ...

    def search(self, query: str | Asked, k: int, allowed: Collection[str] | None = None) -> Found:
        """The `k` best pages, of `allowed` alone if given; pages without a word of the query are left out."""
        ...

    def scores(self, query: str | Asked, page_ids: Collection[str]) -> dict[str, float]:
        """BM25 of the pages named, 0 for those without a word of the query."""
        ...


@dataclass(frozen=True, slots=True)
class _State:
    """What a search sees; replaced as a whole. names: key -> page id; keys: page id -> key and language."""

    engine: Engine
    searcher: tantivy.Searcher  # not the engine's, which moves on as it is written
    names: Mapping[int, str]
    keys: Mapping[str, tuple[int, str]]
    languages: tuple[str, ...]


class WordIndex:
    """The lexical index of a collection: pages by the ids that the vector index knows them by.

    What is added and removed is seen after `commit`. Searches may run while another thread writes.

    right: folded words that are spelled right: no other spelling is searched where no page holds them.
    """

    def __init__(self, right: Container[str] = ()) -> None:
        self.right = right
        self._lock = threading.RLock()
        self._state = _state(Engine(), {})
        self._shared = False  # with a copy: the engine is not written any more
        self._new: dict[str, tuple[Entry, str]] = {}
        self._gone: dict[str, int] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._state.keys) - len(self._gone) + len(self._new)

    def __contains__(self, page_id: str) -> bool:
        return page_id in self._new or (page_id in self._state.keys and page_id not in self._gone)

    # Writing

    def add(self, page_id: str, words: Iterable[str], language: str = "") -> None:
        """Add a page. Of very long ones the first MOST_PARTS parts are kept. May commit.

        Raises:
            ValueError: when the page is here already.
        """
        entry = entry_of(words, language)
        with self._lock:
            if page_id in self:
                raise ValueError(f"Page {page_id} is in the lexical index already; remove it first.")
            self._new[page_id] = replace(entry, key=self._next), language
            self._next += 1
            if len(self._new) >= MOST_NEW:
                self.commit()

    def remove(self, page_ids: Iterable[str]) -> None:
        """Remove pages. Raises KeyError when one is unknown; nothing is removed then."""
        with self._lock:
            going = list(dict.fromkeys(page_ids))
            if unknown := [page_id for page_id in going if page_id not in self]:
                raise KeyError(f"No page {unknown[0]} in the lexical index.")
            for page_id in going:
                if self._new.pop(page_id, None) is None:
                    self._gone[page_id] = self._state.keys[page_id][0]

    def commit(self) -> None:
        """Let searches see what was added and removed."""
        with self._lock:
            if not self._new and not self._gone:
                return
            old, gone = self._state, set(self._gone.values())
            entries = [entry for entry, _ in self._new.values()]
            keys = {page_id: key for page_id, key in old.keys.items() if page_id not in self._gone}
            keys |= {page_id: (entry.key, language) for page_id, (entry, language) in self._new.items()}
            small = len(old.keys) <= SMALL
            dead = old.engine.removed + len(gone)
            if (gone and (small or dead > DEAD * len(old.keys))) or (self._shared and small):
                kept = (entry for entry in old.engine.entries() if entry.key not in gone)
                engine = old.engine.like()
                engine.write(chain(kept, entries))
            else:
                engine = old.engine.linked() if self._shared else old.engine
                engine.write(entries, list(gone))
            self._state = _state(engine, keys)
            self._shared, self._new, self._gone = False, {}, {}

    def sync(self, page_ids: Iterable[str]) -> list[str]:
        """Remove the pages that are not among `page_ids`, and commit; returns those that are to be added."""
        with self._lock:
            wanted = dict.fromkeys(page_ids)
            self.commit()
            self.remove([page_id for page_id in self._state.keys if page_id not in wanted])
            self.commit()
            return [page_id for page_id in wanted if page_id not in self]

    def copy(self) -> WordIndex:
        """An independent copy, which shares what is written until one of the two writes."""
        with self._lock:
            self.commit()
            if self._state.engine.folder is None and len(self) > SMALL:  # files can be linked
                self._state = _state(self._state.engine.linked(), self._state.keys)
            twin = WordIndex(self.right)
            twin._state, twin._next = self._state, self._next
            self._shared = twin._shared = True
            return twin

    # Files

    def save(self, folder: Path) -> None:
        """Write to `folder`, which is replaced. A crash leaves the old one, the new one, or none.

        One process at a time may save to a folder.
        """
        with self._lock:
            self.commit()
            state = self._state
            fresh, stale = (folder.with_name(f".{folder.name}.{kind}") for kind in ("new", "old"))
            for left in (fresh, stale):  # by a crash
                shutil.rmtree(left, ignore_errors=True)
            fresh.mkdir(parents=True)
            source = state.engine
            if source.folder is None or source.removed:
                # Not in `folder`, whose name may be no Unicode, which tantivy wants.
                source = Engine(Path(tempfile.mkdtemp(prefix=PREFIX)), temporary=True)
                source.write(state.engine.entries())
            assert source.folder is not None
            link_files(source.folder, fresh)
        sizes = {path.name: path.stat().st_size for path in fresh.iterdir()}
        pages = [[page_id, *known] for page_id, known in state.keys.items()]
        disk.write_json(fresh / PAGES, {"version": VERSION, "files": sizes, "pages": pages})
        if folder.exists():
            folder.rename(stale)
        fresh.rename(folder)
        disk.sync_folder(folder.parent)
        shutil.rmtree(stale, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path, right: Container[str] = ()) -> WordIndex:
        """The index saved in `folder`, mapped into memory; `folder` itself is neither locked nor written.

        Empty when there is none, or a damaged or older one: `sync` tells which pages to add then.
        """
        index = cls(right)
        try:
            told = disk.read_json(folder / PAGES)
            if told["version"] != VERSION:
                raise ValueError(f"version {told['version']}")
            if changed := [n for n, size in told["files"].items() if (folder / n).stat().st_size != size]:
                raise ValueError(f"{changed[0]} has another size")
            target = Path(tempfile.mkdtemp(prefix=PREFIX))
            link_files(folder, target)
            engine = Engine(target, temporary=True)
            keys = {page_id: (int(key), str(language)) for page_id, key, language in told["pages"]}
            if engine.searcher.num_docs != len(keys):
                raise ValueError(f"{engine.searcher.num_docs} pages, not {len(keys)}")
        except FileNotFoundError:
            return index
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("The lexical index in %s is built again: %s", folder, error)
            return index
        index._state = _state(engine, keys)
        index._next = max((key for key, _ in keys.values()), default=-1) + 1
        return index

    # Searching

    def ask(self, query: str | Question) -> Asked:
        """A query as this index takes it: what counts, what is misspelled, what is a code."""
        return self._asker(self._state).ask(question(query) if isinstance(query, str) else query)

    def search(self, query: str | Asked, k: int, allowed: Collection[str] | None = None) -> Found:
        """The `k` best pages, of `allowed` alone if given; pages without a word of the query are left out.

        Pages with more of the query's codes and quoted phrases come first, then BM25 decides, then the order
        of adding.
        """
        state = self._state
        asker = self._asker(state)
        asked = asker.ask(question(query)) if isinstance(query, str) else query
        if k < 1 or not state.keys:
            return Found((), asked)
        scan = Scan(asker, _among(state, allowed))
        literals = scan.best(literal_query(asker, asked), k)
        ranking, most = ranking_query(asker, asked), k + TIES
        while len(scores := scan.best(ranking, most)) == most and tied(scores, k):
            most *= 4
        if lacking := [key for key in literals if key not in scores]:
            scores |= Scan(asker, lacking).best(ranking_query(asker, asked), len(lacking))
        hits = [
            WordHit(state.names[key], scores.get(key, 0.0), round(literals.get(key, 0)))
            for key in sorted(scores.keys() | literals.keys())
        ]
        hits.sort(key=lambda hit: (-hit.literals, -round(hit.score, 5)))
        return Found(tuple(hits[:k]), asked)

    def literals(self, asked: Asked, k: int, allowed: Collection[str] | None = None) -> dict[str, int]:
        """The `k` pages with the most codes and quoted phrases of the query, and how many stand on each."""
        state = self._state
        asker = self._asker(state)
        found = Scan(asker, _among(state, allowed)).best(literal_query(asker, asked), k)
        return {state.names[key]: round(score) for key, score in found.items()}

    def entries(self, page_ids: Iterable[str]) -> Iterator[tuple[str, Entry]]:
        """The terms of the pages named, as far as they are here."""
        state = self._state
        keys = [state.keys[page_id][0] for page_id in page_ids if page_id in state.keys]
        if keys:
            query = tantivy.Query.term_set_query(state.engine.schema, KEY, keys)
            for _, place in state.searcher.search(query, len(keys), count=False).hits:
                entry = entry_at(state.searcher, place)
                yield state.names[entry.key], entry

    def scores(self, query: str | Asked, page_ids: Collection[str]) -> dict[str, float]:
        """BM25 of the pages named, 0 for those without a word of the query."""
        found = self.search(query, len(page_ids), page_ids)
        return dict.fromkeys(page_ids, 0.0) | {hit.page_id: hit.score for hit in found.hits}

    def _asker(self, state: _State) -> Asker:
        return Asker(state.searcher, state.engine.schema, state.languages, self.right)


def entry_of(words: Iterable[str], language: str) -> Entry:
    """The terms of a page, without a key of its own."""
    found = terms(words)
    whole = " ".join(dict.fromkeys(form for form, _ in found.whole))
    return Entry(0, " ".join(found.parts), " ".join(stems(found.plain, language)), whole)


def tied(scores: Mapping[int, float] | Mapping[str, float], k: int) -> bool:
    """Whether the last of `scores`, best first, equals the k-th, so that others may, too."""
    values = list(scores.values())
    return round(values[k - 1], 5) == round(values[-1], 5)


def _among(state: _State, allowed: Collection[str] | None) -> list[int] | None:
    """The keys of the pages `allowed`, as far as they are here."""
    return None if allowed is None else [state.keys[i][0] for i in allowed if i in state.keys]


def _state(engine: Engine, keys: Mapping[str, tuple[int, str]]) -> _State:
    languages = {language for _, language in keys.values()} & NAMES.keys()
    names = {key: page_id for page_id, (key, _) in keys.items()}
    return _State(engine, engine.searcher, names, keys, tuple(sorted(languages)))
