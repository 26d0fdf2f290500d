"""Inverted lists over Meta Tokens: the coarse stage for collections too large for a prefix scan.

FAISS stores the first page tokens as product codes (IVF, PQ with 4-bit codes), with one index per nested
group of tokens, so that a small budget searches only its own tokens. Each query token retrieves its nearest
page tokens; a page without any is assigned the lowest similarity retrieved. The pages with the largest sums
are the candidates. Lists are rebuilt from the vectors in minutes and never saved: FAISS files cannot be
validated before loading.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.budgets import OURS, Budgets
from metaembed_demo.core.types import FloatArray

from .cascade import scanned

COMPONENTS = 4  # vector components per 4-bit code
A_LIST = 39  # minimum training vectors per list for FAISS
LISTS = 4  # number of lists, as a multiple of the square root of the number of tokens
ROUNDS = 10  # k-means iterations
PROBED = 1 / 32  # share of lists probed per query token
FEWEST, TRAIN = 1_000, 20_000  # pages to train on
STEP = 1_024  # pages added at a time
BROUGHT = 400  # minimum candidates: 4-bit codes rank less precisely than an int8 scan

Slots = NDArray[np.int64]


class TokenLists:
    """Nearest-neighbour search over the page tokens of the scanned prefix. Must not be modified in a search.

    groups: (first, last + 1) of the page tokens in each list; of ours 1 | 2-4 | 5-8 | 9-16. Copies share
    the codes (hundreds of megabytes) until one of them adds a page.
    """

    def __init__(self, budgets: Budgets, dim: int) -> None:
        self.prefix = scanned(budgets)
        within = [(first, last) for first, last in budgets.page_spans if first < last <= self.prefix.r_c]
        self.groups = within or [(0, self.prefix.r_c)]
        self.budgets, self.dim = budgets, dim
        self.probed = PROBED
        self._faiss: list[Any] = []
        self._slots: Slots = np.empty(0, np.int64)  # number -> slot, -1 for removed pages
        self._sharers: WeakSet[TokenLists] = WeakSet([self])  # copies that share the codes

    @classmethod
    def making(
        cls, ids: Sequence[str], vectors_of: Callable[[Sequence[str]], FloatArray], budgets: Budgets = OURS
    ) -> Generator[int, None, TokenLists]:
        """Build lists of the pages `ids`, in slots 0, 1, 2 and so on; yields the number of pages added.

        Raises:
            ValueError: when there are fewer than 1,000 pages to train on.
        """
        sample = ids[:: max(1, len(ids) // TRAIN)]
        if len(sample) < FEWEST:
            raise ValueError(
                f"Inverted lists need at least {FEWEST:,} pages to be fitted to, not {len(sample):,}. "
                "Scan the prefixes instead: so few are scanned in a few milliseconds."
            )
        vectors = vectors_of(sample)
        made = cls(budgets, vectors.shape[2])
        for group in made.groups:
            made._train(group, vectors, len(ids))
            yield 0
        for start in range(0, len(ids), STEP):
            batch = ids[start : start + STEP]
            made.add(np.arange(start, start + len(batch)), vectors_of(batch))
            yield start + len(batch)
        return made

    def _train(self, group: tuple[int, int], vectors: FloatArray, pages: int) -> None:
        import faiss

        first, last = group
        tokens = np.ascontiguousarray(vectors[:, first:last], np.float32).reshape(-1, self.dim)
        wanted = int(LISTS * math.sqrt(pages * (last - first)))
        lists = max(1, min(wanted, len(tokens) // A_LIST))
        index = faiss.index_factory(
            self.dim, f"IVF{lists},PQ{_codes(self.dim)}x4fs", faiss.METRIC_INNER_PRODUCT
        )
        faiss.extract_index_ivf(index).cp.niter = ROUNDS
        index.train(tokens)
        self._faiss.append(index)

    def copy(self) -> TokenLists:
        """An independent copy that shares the codes."""
        twin = TokenLists(self.budgets, self.dim)
        twin.probed, twin._slots, twin._faiss = self.probed, self._slots.copy(), self._faiss
        twin._sharers = self._sharers
        twin._sharers.add(twin)
        return twin

    def _own(self) -> None:
        """Stop sharing codes, copying them if necessary."""
        if len(self._sharers) > 1:
            import faiss

            self._faiss = [faiss.clone_index(index) for index in self._faiss]
            self._sharers.discard(self)  # after copying: the last sharer may modify the codes
            self._sharers = WeakSet([self])

    def add(self, slots: Slots, vectors: NDArray[Any]) -> None:
        """Add pages with `vectors` (n, R_c, D) at `slots` of the index."""
        self._own()
        numbers = np.arange(len(self._slots), len(self._slots) + len(slots))
        self._slots = np.concatenate([self._slots, slots])
        for (first, last), index in zip(self.groups, self._faiss, strict=True):
            tokens = np.ascontiguousarray(vectors[:, first:last], np.float32).reshape(-1, self.dim)
            index.add_with_ids(tokens, np.repeat(numbers, last - first))

    def remove(self, slots: Slots) -> None:
        """Hide pages from searches; their codes remain until the lists are rebuilt."""
        self._slots[np.isin(self._slots, slots)] = -1

    def place(self, slots: Slots) -> None:
        """Assign a slot to every page, in the order of adding; -1 hides it."""
        self._slots = slots

    def move(self, old: Slots, new: Slots) -> None:
        """Move pages from the ascending slots `old` to `new`."""
        at = np.searchsorted(old, self._slots)
        at[at == len(old)] = 0
        here = (self._slots >= 0) & (old[at] == self._slots) if len(old) else np.zeros(len(self._slots), bool)
        self._slots = np.where(here, new[at] if len(new) else -1, -1)

    def candidates(self, q: FloatArray, r_c: int, wanted: int, among: Slots | None = None) -> Slots:
        """Candidate slots, ascending, for query tokens q (r_q, D): `wanted`, but at least BROUGHT.

        among: the slots that are looked at; None: all.
        """
        wanted = max(wanted, BROUGHT)
        q = np.ascontiguousarray(q[: self.prefix.r_q], np.float32)
        chosen = None if among is None else np.isin(self._slots, among)
        found = [
            self._nearest(index, q, wanted * (last - first), chosen)
            for (first, last), index in zip(self.groups, self._faiss, strict=True)
            if last <= max(r_c, self.groups[0][1])
        ]
        similarity = np.concatenate([scores for scores, _ in found], axis=1)
        numbers = np.concatenate([ids for _, ids in found], axis=1)
        return self._best(similarity, np.where(numbers < 0, -1, self._slots[numbers]), wanted)

    def _nearest(
        self, index: Any, q: FloatArray, k: int, chosen: NDArray[np.bool_] | None
    ) -> tuple[FloatArray, Slots]:
        """The nearest `k` tokens of each of q, of the pages `chosen` by number: similarities, numbers."""
        import faiss

        probe = faiss.SearchParametersIVF()
        probe.nprobe = max(4, round(index.nlist * self.probed))
        selector: Any = faiss.IDSelectorBitmap  # its type is that of C++
        if chosen is not None:
            bits = np.packbits(chosen, bitorder="little")
            selector = selector(bits)  # named, as are its bits: Faiss keeps neither
            probe.sel = selector
        scores, ids = index.search(q, min(k, index.ntotal), params=probe)
        return scores, ids

    @staticmethod
    def _best(similarity: FloatArray, owners: Slots, wanted: int) -> Slots:
        """MaxSim over retrieved tokens: (r_q, n) similarities and their slots, or -1."""
        gone = owners < 0
        similarity = np.where(gone, np.inf, similarity)
        floor = similarity.min(axis=1)
        floor[~np.isfinite(floor)] = 0.0
        slots, at = np.unique(owners, return_inverse=True)
        table = np.broadcast_to(floor[:, None], (len(owners), len(slots))).copy()
        rows = np.broadcast_to(np.arange(len(owners))[:, None], owners.shape)
        np.maximum.at(table, (rows, at.reshape(owners.shape)), np.where(gone, -np.inf, similarity))
        sums = table.sum(axis=0)
        sums[slots < 0] = -np.inf
        kept = slots >= 0
        slots, sums = slots[kept], sums[kept]
        if len(slots) > wanted:
            slots = slots[np.argpartition(-sums, wanted)[:wanted]]
        return np.sort(slots)

    @property
    def bytes_per_page(self) -> int:
        """Bytes of codes and numbers per page."""
        return sum(last - first for first, last in self.groups) * (_codes(self.dim) // 2 + 8)


def _codes(dim: int) -> int:
    """4-bit codes per vector: one per 4 components, or the nearest number that divides the dimension.

    >>> _codes(384), _codes(128), _codes(30)
    (96, 32, 6)
    """
    return next(n for n in range(max(1, dim // COMPONENTS), 0, -1) if dim % n == 0 and (n % 2 == 0 or n == 1))
