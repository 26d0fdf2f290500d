"""LocalIndex: an in-process index, in memory or memory-mapped from disk."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np

from metaembed_demo.core.budgets import OURS, Budget, Budgets
from metaembed_demo.core.types import FloatArray, Hit

from . import segments
from .base import best, check_new, cut, finish
from .block import FULL, Block, Parts, merged, prefix_of
from .blocks import SMALL, Blocks, Candidates, Slots
from .cascade import RECALL, Rows, candidates, narrow, scanned, stages
from .ivf import TokenLists
from .ivf_builder import Listing
from .quantization import Codec, codec

EXACT_UP_TO = 5_000  # pages; above, a coarse stage selects candidates
SAMPLE = 2_000  # pages for training a codebook
STEP = 256  # pages re-encoded per step: a second with PQ, the slowest
LISTS_FROM = 1_000_000  # pages from which inverted lists are built
LISTED = 250_000  # selected pages from which lists choose: fewer are scanned, which finds more
NEVER = sys.maxsize


def usual(r_c: int) -> Budgets:
    """The budgets of pages of `r_c` vectors of which nothing else is known."""
    return OURS.within(OURS.full.r_q, r_c)


class LocalIndex:
    """Pages in blocks, with vectors stored as `storage`: float16, int8, pq or binary. Thread-safe.

    Up to `exact_up_to` pages a search scores all pages. Above, prefixes (of ours, 8 query tokens, 16 page
    tokens) are scanned in int8, and the candidates needed for `recall` are rescored (index/cascade.py). With
    a storage other than float16 the full vectors are in a file, and the top `rescore` pages are rescored with
    them.

    Raises:
        ValueError: when `r_c` or `dim` is below 1, or the largest of `budgets` has other tokens.
    """

    def __init__(
        self,
        r_c: int,
        dim: int,
        exact_up_to: int = EXACT_UP_TO,
        coding: Codec | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        """budgets: of the encoder; None: ours within `r_c` page tokens."""
        if r_c < 1 or dim < 1:
            raise ValueError(f"An index needs at least one vector of one component, not ({r_c}, {dim}).")
        self.r_c, self.dim, self.exact_up_to = r_c, dim, exact_up_to
        self.budgets = budgets or usual(r_c)
        if self.budgets.full.r_c != r_c:
            raise ValueError(f"Budgets up to {self.budgets.full} do not fit pages of {r_c} vectors.")
        self._prefix = scanned(self.budgets)
        self.recall = RECALL
        self.rescore = 0
        self.has_full = True  # whether float16 vectors exist, in memory or in a file
        self._codec = coding or codec("float16", r_c, dim)
        self._quick = codec("int8", self._prefix.r_c, dim)
        self._lock = threading.RLock()
        self._slots: dict[str, int] = {}  # in the order of adding, i.e. of slots
        self._blocks = Blocks()
        self._open = False  # whether the last block may still grow
        self.lists_from = LISTS_FROM
        self._lists: TokenLists | None = None
        self._listing = Listing()  # shared with copies
        self._listing.join(self)
        self._checked: segments.Check | None = None  # of the files it was loaded from

    @property
    def in_process(self) -> bool:
        return True

    @property
    def storage(self) -> str:
        return self._codec.kind

    @property
    def listing(self) -> tuple[int, int] | None:
        return None if self._lists is not None else self._listing.progress

    @property
    def ids(self) -> list[str]:
        with self._lock:
            return list(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, page_id: str) -> bool:
        return page_id in self._slots

    # Adding and removing

    def add(self, ids: Sequence[str], vectors: FloatArray) -> None:
        with self._lock:
            check_new(ids, vectors, self._slots, self.r_c, self.dim)
            if not len(ids):
                return
            end = self._blocks.end
            parts = self._encoded(vectors)
            if self._open:
                self._blocks.append(ids, parts)
            else:
                self._lay([*self._blocks, Block(ids, parts)])
                self._open = True
            self._slots.update(zip(ids, range(end, end + len(ids)), strict=True))
            if self._lists is not None:
                self._lists.add(np.arange(end, end + len(ids)), vectors)

    def remove(self, ids: Sequence[str]) -> None:
        with self._lock:
            gone = self._find(list(dict.fromkeys(ids)))
            for page_id in ids:
                self._slots.pop(page_id, None)
            if self._lists is not None:
                self._lists.remove(gone)
            self._blocks.kill(gone)
            self._compact()

    def copy(self, new_lists: bool = True) -> LocalIndex:
        with self._lock:
            twin = self._snapshot()
            twin.lists_from, twin._listing = self.lists_from if new_lists else NEVER, self._listing
            twin._lists = self._lists.copy() if self._lists else None
            twin._listing.join(twin)
            return twin

    def _snapshot(self) -> LocalIndex:
        """A read-only copy without inverted lists."""
        with self._lock:
            twin = self._like(self._codec)
            twin.recall, twin.rescore, twin.has_full = self.recall, self.rescore, self.has_full
            twin._lay([block.copy() for block in self._blocks])
            twin._slots = dict(self._slots)
            twin._checked = self._checked
            return twin

    def _like(self, coding: Codec) -> LocalIndex:
        """An empty index of this kind, with vectors stored by `coding`."""
        return LocalIndex(self.r_c, self.dim, self.exact_up_to, coding, self.budgets)

    def stored_as(self, kind: str, keep_full: bool = True) -> LocalIndex:
        return finish(self.storing_as(kind, keep_full))

    def storing_as(self, kind: str, keep_full: bool = True) -> Generator[int, None, LocalIndex]:
        source = self.copy()
        if kind == self.storage and (keep_full or kind == "float16" or not source.has_full):
            return source
        if not source.has_full:
            raise ValueError(
                f"This index keeps {self.storage} codes only; {kind} needs the full vectors. "
                "Index the files again."
            )
        ids = source.ids
        some = ids[:: max(1, len(ids) // SAMPLE)]
        coding = codec(kind, self.r_c, self.dim, source.full(some))
        made = self._like(coding)
        made.recall, made.rescore, made.lists_from = self.recall, self.rescore, self.lists_from
        made.has_full = keep_full or kind == "float16"
        for start in range(0, len(ids), STEP):
            batch = ids[start : start + STEP]
            made.add(batch, source.full(batch))
            if len(made._blocks[-1]) >= SMALL:
                made._close()
            yield start + len(batch)
        made._close()
        made._listing = source._listing  # lists are made from the full vectors, so they hold for any storage
        made._listing.join(made)
        if source._lists is not None:
            made._lists = source._lists.copy()
            made._lists.move(source._all(), made._all())
        return made

    # Searching

    def coarse(
        self, query: FloatArray, budget: Budget, k: int, among: Sequence[str] | None = None
    ) -> Sequence[str]:
        with self._lock:
            self.sound()
            q, r_c = cut(query, budget, self.r_c, self.dim)
            chosen = self._all() if among is None else self._slots_of(among)
            wanted = candidates(len(chosen), Budget(len(q), r_c), k, self.recall, self._prefix)
            if len(chosen) <= max(self.exact_up_to, wanted):
                return Candidates(self._blocks, chosen)
            return self._near(q, r_c, wanted, None if among is None else chosen)

    def rerank(self, query: FloatArray, budget: Budget, ids: Sequence[str], k: int) -> list[Hit]:
        with self._lock:
            self.sound()
            q, r_c = cut(query, budget, self.r_c, self.dim)
            slots = self._slots_of(ids)
            rescore = max(self.rescore, k) if self.rescore and self.has_full else 0
            found, scores = self._ranked(q, r_c, slots, rescore or k, full=False)
            if rescore:
                found, scores = self._ranked(q, r_c, np.sort(found), k, full=True)
            return self._hits(found, scores)

    def scores(self, query: FloatArray, budget: Budget, ids: Sequence[str] | None = None) -> FloatArray:
        with self._lock:
            self.sound()
            q, r_c = cut(query, budget, self.r_c, self.dim)
            slots = self._all() if ids is None else self._slots_of(ids)
            return self._blocks.scores(self._codec, q, r_c, slots, full=False)

    def stage_scores(self, query: FloatArray, budget: Budget, rows: Rows | None = None) -> FloatArray:
        with self._lock:
            self.sound()
            q, r_c = cut(query, budget, self.r_c, self.dim)
            live = self._live()
            return self._staged(q, r_c, rows if rows is None or live is None else live[rows])

    def at(self, rows: Rows) -> Sequence[str]:
        with self._lock:
            live = self._live()
            return Candidates(self._blocks, rows if live is None else live[rows])

    def search(
        self,
        query: FloatArray,
        budget: Budget,
        k: int,
        exact: bool = False,
        among: Sequence[str] | None = None,
    ) -> list[Hit]:
        with self._lock:
            if not exact:
                return self.rerank(query, budget, self.coarse(query, budget, k, among), k)
            self.sound()
            q, r_c = cut(query, budget, self.r_c, self.dim)
            slots = self._all() if among is None else self._slots_of(among)
            return self._hits(*self._ranked(q, r_c, slots, k, full=True))

    def vectors(self, ids: Sequence[str]) -> FloatArray:
        if self.rescore:
            return self.full(ids)
        with self._lock:
            return self._blocks.vectors(self._codec, self._find(ids), full=False)

    def full(self, ids: Sequence[str]) -> FloatArray:
        with self._lock:
            return self._blocks.vectors(self._codec, self._find(ids), full=True)

    def bytes_per_page(self, budget: Budget) -> int:
        """
        >>> LocalIndex(r_c=64, dim=128).bytes_per_page(Budget(8, 16))
        4096
        """
        return self._codec.bytes_per_page(min(budget.r_c, self.r_c))

    def bytes_held(self) -> dict[str, int]:
        """Bytes of all pages in memory, and in files."""
        with self._lock:
            parts = [(name in b.readers, b.part(name).nbytes) for b in self._blocks for name in b.names]
        there = sum(size for on_disk, size in parts if on_disk)
        return {"memory": sum(size for _, size in parts) - there, "disk": there}

    # Lists

    def make_lists(self) -> None:
        """Build inverted lists (index/ivf.py) as the coarse stage, synchronously: minutes for a million

        Raises:
            ValueError: when there are too few pages to train on.
        """
        seen = self._snapshot()
        ids = seen.ids
        self.take_lists(finish(TokenLists.making(ids, seen.full, self.budgets)), ids, asked=True)

    def take_lists(self, lists: TokenLists, ids: Sequence[str], asked: bool = False) -> None:
        """Use `lists` of the pages `ids` as the coarse stage, updated for pages added or removed since.

        asked: use them even if a scan would suffice.
        """
        with self._lock:
            if not asked and (self._lists is not None or len(self) < self.lists_from):
                return
            lists.place(np.array([self._slots.get(page_id, -1) for page_id in ids], np.int64))
            late = list(self._slots.keys() - set(ids))
            for start in range(0, len(late), STEP):
                some = late[start : start + STEP]
                lists.add(self._find(some), self.full(some))
            self._lists = lists

    # Disk

    def save(self, path: Path) -> None:
        """Write missing blocks to `path`, then `index.json`, which lists them (index/segments.py)."""
        with self._lock:
            segments.write_index(path, self._settled(), self._codec, self._named())

    def write(self, path: Path) -> segments.Head:
        with self._lock:
            return segments.write(path, self._settled(), self._codec, self._named())

    def close(self) -> None:
        """No-op: mapped files are closed with the last block that uses them."""

    @classmethod
    def load(cls, path: Path, whole: bool = True) -> LocalIndex:
        """Open a saved index, with memory-mapped vectors.

        whole: False skips checksums, which suffices for files saved by this process.

        Raises:
            FileNotFoundError: when there is no index in the folder `path`.
            ValueError: when its format differs, or it is damaged.
        """
        return cls.of(*segments.read_index(path, whole))

    @classmethod
    def of(
        cls, coding: Codec, blocks: Sequence[Block], checked: segments.Check, budgets: Budgets | None = None
    ) -> LocalIndex:
        """An index of blocks encoded by `coding`. Raises ValueError for duplicate pages."""
        index = cls(coding.r_c, coding.dim, coding=coding, budgets=budgets)
        index._checked = checked
        index.has_full = all(FULL in block.names for block in blocks)
        index._lay(blocks)
        ids = [page_id for block in blocks for page_id in block.ids]
        alive = index._blocks.live()
        index._slots = {ids[slot]: slot for slot in alive.tolist()}
        if len(index._slots) != len(alive):
            raise ValueError("The index is damaged: a page is in it twice.")
        return index

    def sound(self) -> None:
        """Raises ValueError once a file it was loaded from is known to be damaged."""
        if self._checked:
            self._checked.sound()

    def _named(self) -> Budgets | None:
        """The budgets to write, None for the usual ones."""
        return None if self.budgets == usual(self.r_c) else self.budgets

    def _settled(self) -> list[Block]:
        """The blocks to write, none of which will grow."""
        self._close()
        if self.storage == "float16" and len(self) > self.exact_up_to:
            for block in self._blocks:
                if block.files is None:
                    block.ready(self._quick)
        return list(self._blocks)

    def _close(self) -> None:
        """Close the last block, merge small blocks, and move full vectors to a file."""
        blocks = self._blocks.joined(self._merged)
        if blocks:
            self._relay(blocks)
        if self.storage != "float16" and self.has_full:
            for block in self._blocks:
                block.spill()
        self._open = False

    def _compact(self) -> None:
        """Compact blocks with many removed pages."""
        kept = self._blocks.renewed(self._merged)
        if kept:
            grows = self._open and len(kept[-1]) > 0
            self._relay([block for block in kept if len(block)])
            self._open = grows

    def _merged(self, blocks: Sequence[Block]) -> Block:
        if self._checked and any(block.files for block in blocks):
            self._checked.wait()  # never copy damaged data to a new block
        return merged(blocks)

    def _lay(self, blocks: Sequence[Block]) -> None:
        self._blocks = Blocks(blocks)
        self._open = False

    def _relay(self, blocks: Sequence[Block]) -> None:
        """Replace the blocks by `blocks`, with the same pages in other slots."""
        self._lay(blocks)
        new = self._blocks.live()
        if self._lists is not None:
            self._lists.move(self._all(), new)
        self._slots = dict(zip(self._slots, new.tolist(), strict=True))

    # Slots

    def _all(self) -> Slots:
        return np.fromiter(self._slots.values(), np.int64, len(self))

    def _live(self) -> Slots | None:
        """The slot of each page by its position, ascending; None where they are the same."""
        return None if len(self) == self._blocks.end else self._blocks.live()

    def _find(self, ids: Sequence[str]) -> Slots:
        try:
            return np.array([self._slots[page_id] for page_id in ids], dtype=np.int64)
        except KeyError as error:
            raise KeyError(f"Page {error.args[0]} is not in the index.") from None

    def _slots_of(self, ids: Sequence[str]) -> Slots:
        """Slots in ascending order; `Candidates` of these blocks already have them."""
        found = ids.slots if isinstance(ids, Candidates) and ids.blocks is self._blocks else None
        if found is not None and (len(found) == len(self) or self._blocks.are_live(found)):
            return found
        return np.sort(self._find(ids))

    # Vectors

    def _encoded(self, vectors: FloatArray) -> Parts:
        """The stored parts of pages with `vectors` (n, R_c, D)."""
        full = np.asarray(vectors).astype(np.float16)
        parts: dict[str, np.ndarray] = {}
        if self.storage == "float16" or self.has_full:
            parts[FULL] = full
        if self.storage != "float16":
            codes = self._codec.encode(full.astype(np.float32))
            parts |= {f"codes.{i}": part for i, part in enumerate(codes)}
        elif self._open and "prefix.0" in self._blocks[-1].names:
            parts |= prefix_of(full, self._quick)
        return parts

    # Scoring

    def _near(self, q: FloatArray, r_c: int, wanted: int, among: Slots | None) -> Sequence[str]:
        """The best `wanted` pages of the coarse stage, in the order of the index.

        among: ascending slots of the pages that may be found; None: all.
        """
        if self._lists is not None and (among is None or len(among) >= LISTED):
            return Candidates(self._blocks, self._lists.candidates(q, r_c, wanted, among))
        if len(self) >= self.lists_from and self._listing.idle:
            seen = self._snapshot()
            self._listing.begin(seen.ids, seen.full, self.budgets)
        prefix = Budget(len(q), r_c).clip(self._prefix.r_q, self._prefix.r_c)
        chosen, pages = (self._live(), len(self)) if among is None else (among, len(among))

        def scores(first: int, budget: Budget, rows: Rows | None) -> FloatArray:
            slots = among if rows is None else rows if chosen is None else chosen[rows]
            return self._staged(q[first : budget.r_q], budget.r_c, slots)

        found = narrow(scores, pages, stages(pages, prefix, self.dim, wanted, self.storage), wanted)
        return Candidates(self._blocks, found.rows if chosen is None else chosen[found.rows])

    def _staged(self, q: FloatArray, r_c: int, slots: Slots | None) -> FloatArray:
        """As `stage_scores`, of the ascending `slots`; None: of all pages."""
        live = self._live()
        if len(self) > self.exact_up_to and r_c <= self._quick.r_c:
            found = self._blocks.scan(self._codec, self._quick, q, r_c, slots)
            return found if slots is not None or live is None else found[live]
        if slots is None:
            slots = np.arange(self._blocks.end) if live is None else live
        return self._blocks.scores(self._codec, q, r_c, slots, full=False)

    def _ranked(self, q: FloatArray, r_c: int, slots: Slots, k: int, full: bool) -> tuple[Slots, FloatArray]:
        """The top `k` of the ascending `slots`, and their scores."""
        scores = self._blocks.scores(self._codec, q, r_c, slots, full)
        at = best(scores, k)
        return slots[at], scores[at]

    def _hits(self, slots: Slots, scores: FloatArray) -> list[Hit]:
        ids = Candidates(self._blocks, slots)
        return [Hit(ids[at], float(score), at + 1) for at, score in enumerate(scores.tolist())]
