"""The MultiVectorIndex protocol, and the in-memory index on FAISS."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import disk
from .config import BYTES_PER_COMPONENT
from .maxsim import CHUNK_COMPONENTS, maxsim
from .records import Budget, FloatArray, Hit

EXACT_UP_TO = 5_000  # pages; above that a coarse stage picks the candidates
COARSE_GROUPS = ((0, 1), (1, 4), (4, 8))  # candidate tokens 1 | 2-4 | 5-8, one FAISS index each
COARSE_QUERY_TOKENS = 8
MIN_CANDIDATES = 200
CANDIDATES_PER_HIT = 10
FORMAT = 1


class MultiVectorIndex(Protocol):
    """Pages as R_c vectors each, searched by MaxSim at any budget.

    A budget larger than what the query or the index holds means all there is.
    """

    r_c: int
    dim: int

    @property
    def ids(self) -> list[str]:
        """Page ids in the order they were added."""
        ...

    def __len__(self) -> int: ...

    def add(self, ids: Sequence[str], vectors: FloatArray) -> None:
        """Add pages with `vectors` (n, R_c, D) float32.

        Raises:
            ValueError: on an id that is there already or comes twice, or on another shape; nothing is added.
        """
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Take pages out. Raises KeyError when an id is unknown; nothing is removed then."""
        ...

    def coarse(self, query: FloatArray, budget: Budget, k: int) -> list[str]:
        """Candidate ids for the best `k` pages of `query` (R_q, D): all pages where exact search is cheap."""
        ...

    def rerank(self, query: FloatArray, budget: Budget, ids: Sequence[str], k: int) -> list[Hit]:
        """The best `k` of the pages `ids` by exact MaxSim. Equal scores: the page added first comes first."""
        ...

    def search(self, query: FloatArray, budget: Budget, k: int, exact: bool = False) -> list[Hit]:
        """`coarse`, then `rerank`; with `exact` every page is scored."""
        ...

    def vectors(self, ids: Sequence[str]) -> FloatArray:
        """(n, R_c, D) float32. Raises KeyError when an id is unknown."""
        ...

    def bytes_per_page(self, budget: Budget) -> int:
        """Bytes that the first r_c vectors of a page take in the index."""
        ...

    def save(self, path: Path) -> None:
        """Write into the folder `path`, which is made where missing."""
        ...


class FaissIndex:
    """All vectors in one float16 array; FAISS over the nested candidate groups above 5,000 pages.

    A page owns a slot of the array. Removed slots are used again, and the array doubles when full, so
    neither adding nor removing rebuilds anything. FAISS is loaded when the first coarse stage is due.
    """

    def __init__(self, r_c: int, dim: int, exact_up_to: int = EXACT_UP_TO) -> None:
        if r_c < 1 or dim < 1:
            raise ValueError(f"An index needs at least one vector of one component, not ({r_c}, {dim}).")
        self.r_c, self.dim, self.exact_up_to = r_c, dim, exact_up_to
        self._lock = threading.RLock()
        self._slots: dict[str, int] = {}  # in the order of adding
        self._store: NDArray[np.float16] = np.empty((0, r_c, dim), np.float16)
        self._serial: NDArray[np.int64] = np.empty(0, np.int64)  # slot -> order of adding, for equal scores
        self._owner: list[str | None] = []  # slot -> id
        self._free: list[int] = []
        self._next_serial = 0
        self._coarse: list[Any] | None = None  # one faiss.IndexIDMap per group, once needed

    @property
    def ids(self) -> list[str]:
        with self._lock:
            return list(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, page_id: str) -> bool:
        return page_id in self._slots

    def add(self, ids: Sequence[str], vectors: FloatArray) -> None:
        with self._lock:
            self._check_new(ids, vectors)
            if not len(ids):
                return
            slots = self._take_slots(len(ids))
            self._store[slots] = vectors
            self._serial[slots] = np.arange(self._next_serial, self._next_serial + len(ids))
            self._next_serial += len(ids)
            for page_id, slot in zip(ids, slots.tolist(), strict=True):
                self._slots[page_id] = slot
                self._owner[slot] = page_id
            if self._coarse is not None:
                self._fill(self._coarse, slots)

    def remove(self, ids: Sequence[str]) -> None:
        with self._lock:
            gone = self._find(list(dict.fromkeys(ids)))
            for page_id in dict.fromkeys(ids):
                slot = self._slots.pop(page_id)
                self._owner[slot] = None
                self._free.append(slot)
            if self._coarse is not None and len(gone):
                for (first, last), group in zip(self._groups(), self._coarse, strict=True):
                    group.remove_ids(self._token_ids(gone, first, last))

    def coarse(self, query: FloatArray, budget: Budget, k: int) -> list[str]:
        with self._lock:
            q, r_c = self._cut(query, budget)
            wanted = max(CANDIDATES_PER_HIT * k, MIN_CANDIDATES)
            if len(self) <= max(self.exact_up_to, wanted):
                return list(self._slots)
            slots = self._approximate(q[:COARSE_QUERY_TOKENS], r_c, wanted)
            return [str(self._owner[slot]) for slot in slots.tolist()]

    def rerank(self, query: FloatArray, budget: Budget, ids: Sequence[str], k: int) -> list[Hit]:
        with self._lock:
            q, r_c = self._cut(query, budget)
            slots = self._find(ids)
            scores = self._score(q, r_c, slots)
            best = self._best(scores, self._serial[slots], k)
            return [Hit(ids[at], float(scores[at]), rank) for rank, at in enumerate(best.tolist(), 1)]

    def search(self, query: FloatArray, budget: Budget, k: int, exact: bool = False) -> list[Hit]:
        with self._lock:
            candidates = self.ids if exact else self.coarse(query, budget, k)
            return self.rerank(query, budget, candidates, k)

    def vectors(self, ids: Sequence[str]) -> FloatArray:
        with self._lock:
            return self._store[self._find(ids)].astype(np.float32)

    def bytes_per_page(self, budget: Budget) -> int:
        """
        >>> FaissIndex(r_c=64, dim=128).bytes_per_page(Budget(8, 16))
        4096
        """
        return min(budget.r_c, self.r_c) * self.dim * BYTES_PER_COMPONENT

    def save(self, path: Path) -> None:
        """Write `vectors-<hash>.npy` and then `index.json`, which names it, into the folder `path`."""
        path.mkdir(parents=True, exist_ok=True)
        with self._lock:
            ids = self.ids
            buffer = io.BytesIO()
            np.save(buffer, self._store[self._find(ids)], allow_pickle=False)
        data = buffer.getvalue()
        digest = disk.sha256(data)
        name = f"vectors-{digest[:12]}.npy"
        disk.write(path / name, data)
        head = {
            "format": FORMAT,
            "r_c": self.r_c,
            "dim": self.dim,
            "vectors": name,
            "sha256": digest,
            "ids": ids,
        }
        disk.write_json(path / "index.json", head)
        for old in path.glob("vectors-*.npy"):
            if old.name != name:
                old.unlink()

    @classmethod
    def load(cls, path: Path) -> FaissIndex:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: when there is no index in the folder `path`.
            ValueError: when it is of another version or damaged.
        """
        head = disk.read_json(path / "index.json")
        if head.get("format") != FORMAT:
            raise ValueError(
                f"{path} was written as format {head.get('format')}; this program reads {FORMAT}."
            )
        data = (path / Path(head["vectors"]).name).read_bytes()
        if disk.sha256(data) != head["sha256"]:
            raise ValueError(f"{path / head['vectors']} is damaged: its checksum is not the recorded one.")
        index = cls(head["r_c"], head["dim"])
        index.add(head["ids"], np.load(io.BytesIO(data), allow_pickle=False))
        return index

    # Slots

    def _check_new(self, ids: Sequence[str], vectors: FloatArray) -> None:
        if np.shape(vectors) != (len(ids), self.r_c, self.dim):
            raise ValueError(
                f"{len(ids)} pages need vectors {(len(ids), self.r_c, self.dim)}, not {np.shape(vectors)}."
            )
        if len(set(ids)) != len(ids):
            raise ValueError("The same page id comes twice in one call.")
        known = [page_id for page_id in ids if page_id in self._slots]
        if known:
            raise ValueError(f"Page {known[0]} is in the index already; remove it first.")
        if not np.isfinite(vectors).all():
            raise ValueError("The vectors hold values that are not finite.")

    def _take_slots(self, n: int) -> NDArray[np.int64]:
        short = n - len(self._free)
        if short > 0:
            self._grow(max(short, len(self._owner)))
        # The lowest first: with none removed, slot order stays adding order and scoring needs no gather.
        self._free.sort(reverse=True)
        return np.array([self._free.pop() for _ in range(n)], dtype=np.int64)

    def _grow(self, by: int) -> None:
        old = len(self._owner)
        store = np.empty((old + by, self.r_c, self.dim), np.float16)
        store[:old] = self._store
        self._store = store
        self._serial = np.concatenate([self._serial, np.zeros(by, np.int64)])
        self._owner.extend([None] * by)
        self._free.extend(range(old, old + by))

    def _find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        try:
            return np.array([self._slots[page_id] for page_id in ids], dtype=np.int64)
        except KeyError as error:
            raise KeyError(f"Page {error.args[0]} is not in the index.") from None

    # Scoring

    def _cut(self, query: FloatArray, budget: Budget) -> tuple[FloatArray, int]:
        """The query's first r_q vectors, and r_c, neither more than there is."""
        if query.ndim != 2 or query.shape[1] != self.dim:
            raise ValueError(f"A query for this index has shape (R_q, {self.dim}), not {query.shape}.")
        return np.asarray(query[: budget.r_q], dtype=np.float32), min(budget.r_c, self.r_c)

    def _score(self, q: FloatArray, r_c: int, slots: NDArray[np.int64]) -> FloatArray:
        """Exact MaxSim (n,) of the pages in `slots`, gathering the prefix of a few pages at a time."""
        n = len(slots)
        if n and slots[0] == 0 and slots[-1] == n - 1 and (np.diff(slots) == 1).all():
            return maxsim(q, self._store[:n, :r_c])
        scores = np.empty(n, dtype=np.float32)
        step = max(1, CHUNK_COMPONENTS // (r_c * self.dim))
        for start in range(0, n, step):
            scores[start : start + step] = maxsim(q, self._store[slots[start : start + step], :r_c])
        return scores

    @staticmethod
    def _best(scores: FloatArray, serial: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        """Positions of the best `k`. Rounded first: the same page scores 1e-6 apart in different chunks."""
        rounded = np.round(scores.astype(np.float64), 5)
        if k < len(scores):
            # Everything as good as the k-th, so that equal scores are still told apart by age.
            keep = (
                np.flatnonzero(rounded >= np.partition(rounded, -k)[-k]) if k > 0 else np.empty(0, np.int64)
            )
        else:
            keep = np.arange(len(scores))
        return keep[np.lexsort((serial[keep], -rounded[keep]))][:k]

    # The coarse stage

    def _groups(self) -> list[tuple[int, int]]:
        return [(first, last) for first, last in COARSE_GROUPS if last <= self.r_c]

    def _token_ids(self, slots: NDArray[np.int64], first: int, last: int) -> NDArray[np.int64]:
        return (slots[:, None] * self.r_c + np.arange(first, last)).reshape(-1)

    def _fill(self, groups: list[Any], slots: NDArray[np.int64]) -> None:
        for (first, last), group in zip(self._groups(), groups, strict=True):
            tokens = self._store[slots, first:last].astype(np.float32).reshape(-1, self.dim)
            group.add_with_ids(tokens, self._token_ids(slots, first, last))

    def _build_coarse(self) -> list[Any]:
        import faiss

        groups = []
        for _ in self._groups():
            flat = faiss.IndexScalarQuantizer(
                self.dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
            )
            groups.append(faiss.IndexIDMap(flat))
        self._fill(groups, self._find(self.ids))
        return groups

    def _approximate(self, q: FloatArray, r_c: int, wanted: int) -> NDArray[np.int64]:
        """Slots of the best pages by an approximate MaxSim over the groups wholly inside r_c.

        Each query token brings its nearest candidate tokens; a page that is missing from a query token's
        list counts there with the worst similarity listed.
        """
        if self._coarse is None:
            self._coarse = self._build_coarse()
        lists = []
        for (first, last), group in zip(self._groups(), self._coarse, strict=True):
            if last <= r_c:
                lists.append(group.search(q, min(wanted * (last - first), group.ntotal)))
        similarity = np.concatenate([found for found, _ in lists], axis=1)
        owners = np.concatenate([tokens for _, tokens in lists], axis=1) // self.r_c
        slots, at = np.unique(owners, return_inverse=True)
        table = np.broadcast_to(similarity.min(axis=1)[:, None], (len(q), len(slots))).copy()
        rows = np.broadcast_to(np.arange(len(q))[:, None], owners.shape)
        np.maximum.at(table, (rows, at.reshape(owners.shape)), similarity)
        return slots[self._best(table.sum(axis=0), self._serial[slots], wanted)]
