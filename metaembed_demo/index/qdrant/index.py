"""The MultiVectorIndex protocol on Qdrant: a server, a cluster, or an engine in this process.

How to run one and why the collection is laid out as it is: docs/qdrant.md.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.config import BYTES_PER_COMPONENT
from metaembed_demo.core.types import FloatArray, Hit
from metaembed_demo.index.base import Elsewhere, check_new, cut
from metaembed_demo.index.cascade import PREFIX, candidates
from metaembed_demo.index.local import LocalIndex
from metaembed_demo.index.maxsim import maxsim

from .client import Link, check, connect, make, models, vector_names

FIRST_PER_CANDIDATE = 10  # pages that the HNSW stage hands on, for each candidate wanted
SCAN_UP_TO = 20_000  # pages; up to there the prefix is scanned without the HNSW stage
MIN_EF = 256  # pages that HNSW keeps in view

BATCH = 64  # pages a request
REQUEST_BYTES = 24 << 20  # of the 32 MiB that a server accepts as it comes (max_request_size_mb)
COMPONENT_BYTES = 13  # of one component as JSON: sign, "0.", eight decimals, comma
NAMED = 1_000  # pages a request, where no vectors travel
COUNTED = 20_000  # page ids in a filter
RECOUNT_S = 60.0  # a collection that others write to is counted anew after that

SPARE = 16  # pages scored beyond k at first, so that one round mostly settles the order
# Qdrant rounds a query to float16 where it keeps float16, so its score of a page is this far off at most,
# for each query token of length 1: 2**-11 by rounding, the rest by adding up in float16 (ARM).
OFF_PER_TOKEN = 1e-3


class _Found(NamedTuple):
    """A page as a query brings it. `bound` + r_q * OFF_PER_TOKEN is no less than its exact score."""

    page_id: str
    serial: int
    bound: float


def point_id(page_id: str) -> str:
    """A point's UUID, always the same for a page id: adding twice cannot make two points of one page."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"metaembed:page:{page_id}"))


def batches(n: int, components: int) -> Iterator[slice]:
    """Slices of `n` pages of `components` each, 64 at most, fewer where 64 would not fit a request.

    >>> list(batches(100, 93 * 128))
    [slice(0, 64, None), slice(64, 128, None)]
    >>> [part.stop - part.start for part in batches(12, 93 * 4096)]
    [5, 5, 5]
    """
    step = min(BATCH, max(1, REQUEST_BYTES // (components * COMPONENT_BYTES)))
    return (slice(start, start + step) for start in range(0, n, step))


class QdrantIndex(Elsewhere):
    """One collection, a point a page. Every method asks Qdrant, so several processes may share a collection.

    A page of 64 tokens is kept as five named vectors in float16: `first` (token 1, with HNSW) and, as
    multivectors that Qdrant compares by MaxSim, `prefix4`, `prefix8`, `prefix16` and `full`. Together that is
    1 + 4 + 8 + 16 + 64 = 93 vectors, 1.45 times what `full` alone takes: 23,808 bytes at D = 128 instead of
    16,384. For that, Qdrant scores each trained budget itself, and reads no more than the budget asks for.

    The last word is always exact MaxSim in float32 here. Qdrant's score at the next nested end >= r_c is an
    upper bound of a page's score, so pages are fetched and scored in that order until none that is left can
    reach the best `k`. Budgets between the nested ends (3x5) are exact too, they only fetch more pages.

    Rows are expected at length 1, as every encoder here gives them; the bound rests on that.

    Raises (any method): ConnectionError, naming the address, when a server does not answer;
    PermissionError when it refuses the API key; RuntimeError with its words when it refuses the request.
    """

    def __init__(self, link: Link, r_c: int, dim: int) -> None:
        """Use `open`; this takes a collection that is there and fits."""
        self.r_c, self.dim = r_c, dim
        self._link = link
        self._ends = vector_names(r_c)
        self._writing = threading.RLock()
        self._size, self._counted = 0, -RECOUNT_S

    @classmethod
    def open(
        cls,
        location: str,
        collection: str,
        r_c: int,
        dim: int,
        fingerprint: str = "",
        shards: int = 1,
        replicas: int = 1,
        api_key: str | None = None,
        grpc: bool = False,
        timeout_s: int = 60,
    ) -> QdrantIndex:
        """The collection at `location`, made where missing.

        Args:
            location: an address ("http://localhost:6333"), a folder, ":memory:", or "edge:<folder>".
            collection: its name.
            r_c: tokens a page.
            dim: components a token.
            fingerprint: of the encoder; kept with the collection and compared when it is opened again.
            shards: parts the pages are spread over. Only looked at when the collection is made.
            replicas: servers that hold each part. Only looked at when the collection is made.
            api_key: of the server.
            grpc: whether vectors travel by gRPC (port 6334) and not as JSON.
            timeout_s: seconds a request may take.

        Raises:
            ImportError: when the library for `location` is not installed.
            ValueError: when the collection has another r_c, dim or fingerprint, or another maker.
        """
        if r_c < 1 or dim < 1:
            raise ValueError(f"An index needs at least one vector of one component, not ({r_c}, {dim}).")
        link = connect(location, collection, api_key, grpc, timeout_s)
        try:
            if not link("collection_exists"):
                make(link, r_c, dim, fingerprint, shards, replicas)
            check(link, r_c, dim, fingerprint)
        except BaseException:
            link.close()
            raise
        return cls(link, r_c, dim)

    def close(self) -> None:
        self._link.close()

    # What is there

    @property
    def ids(self) -> list[str]:
        """Page ids in the order they were added; reads the whole collection's payload."""
        found, offset = [], None
        while True:
            records, offset = self._link("scroll", limit=NAMED, offset=offset, with_vectors=False)
            found += [(record.payload["serial"], record.payload["page"]) for record in records]
            if offset is None:
                return [page_id for _, page_id in sorted(found)]

    def __len__(self) -> int:
        return int(self._link("count", exact=True).count)

    def __contains__(self, page_id: str) -> bool:
        return bool(self._known([page_id]))

    def vectors(self, ids: Sequence[str]) -> FloatArray:
        kept = self._fetch(ids, self.r_c)
        self._refuse_unknown(ids, kept)
        return np.stack([kept[i] for i in ids]) if len(ids) else np.empty((0, self.r_c, self.dim), np.float32)

    def full(self, ids: Sequence[str]) -> FloatArray:
        return self.vectors(ids)

    def bytes_per_page(self, budget: Budget) -> int:
        """Bytes of the one named vector that a page is scored with at `budget`, cut to r_c."""
        return min(budget.r_c, self.r_c) * self.dim * BYTES_PER_COMPONENT

    # Changes

    def add(self, ids: Sequence[str], vectors: FloatArray) -> None:
        """As the protocol says. When a request fails, what earlier ones wrote is taken out again."""
        with self._writing:
            check_new(ids, vectors, self._known(ids), self.r_c, self.dim)
            if not len(ids):
                return
            kept = np.asarray(vectors, np.float32).astype(np.float16)
            # Eight decimals carry every float16 and are half as long as the float32's own digits.
            values, serial = np.round(kept.astype(np.float64), 8), self._last_serial() + 1
            try:
                for part in batches(len(ids), sum(self._ends) * self.dim):
                    self._write(list(ids[part]), values[part], serial + part.start)
            except BaseException:
                self._delete(ids)
                raise
            self._counted = -RECOUNT_S

    def remove(self, ids: Sequence[str]) -> None:
        with self._writing:
            self._refuse_unknown(ids, self._known(ids))
            self._delete(ids)
            self._counted = -RECOUNT_S

    # Search

    def coarse(self, query: FloatArray, budget: Budget, k: int) -> list[str]:
        """The best by MaxSim at the smaller of `budget` and (8, 16), as many as `cascade.candidates` says."""
        q, r_c = cut(query, budget, self.r_c, self.dim)
        wanted = self._wanted(q, r_c, k)
        if not wanted:
            return []
        prefetch = self._nearest(q, r_c, wanted)
        if r_c > PREFIX.r_c:
            q, r_c = q[: PREFIX.r_q], PREFIX.r_c
        return [page.page_id for page in self._ask(q, r_c, wanted, prefetch=prefetch)]

    def rerank(self, query: FloatArray, budget: Budget, ids: Sequence[str], k: int) -> list[Hit]:
        q, r_c = cut(query, budget, self.r_c, self.dim)
        if not len(ids) or k < 1:
            return []
        chosen = list(dict.fromkeys(ids))
        parts = [_these(chosen[start : start + COUNTED]) for start in range(0, len(chosen), COUNTED)]
        if sum(self._link("count", count_filter=part, exact=True).count for part in parts) != len(chosen):
            self._refuse_unknown(ids, self._known(ids))
        only = None if len(chosen) == len(self) else _these(chosen)
        return self._best(q, r_c, k, lambda n: self._ask(q, r_c, n, only=only, exact=True))

    def search(self, query: FloatArray, budget: Budget, k: int, exact: bool = False) -> list[Hit]:
        """One nested query finds the pages: first token (HNSW) -> 16 tokens -> all, as far as r_c goes."""
        q, r_c = cut(query, budget, self.r_c, self.dim)
        if k < 1:
            return []
        if exact:
            return self._best(q, r_c, k, lambda n: self._ask(q, r_c, n, exact=True))
        prefetch = self._stages(q, r_c, self._wanted(q, r_c, k))
        return self._best(q, r_c, k, lambda n: self._ask(q, r_c, n, prefetch=prefetch))

    def save(self, path: Path) -> None:
        """Write what the in-memory index writes into `path`; it passes through this process's memory.

        A server's own backup is its snapshot, see docs/qdrant.md.
        """
        copy = LocalIndex(self.r_c, self.dim)
        ids = self.ids
        for start in range(0, len(ids), NAMED):
            copy.add(ids[start : start + NAMED], self.vectors(ids[start : start + NAMED]))
        copy.save(path)

    # Scoring

    def _best(self, q: FloatArray, r_c: int, k: int, ask: Callable[[int], list[_Found]]) -> list[Hit]:
        """The best `k` by exact MaxSim, from pages that `ask(n)` gives in the order of their bounds."""
        scored: dict[str, tuple[float, int, float]] = {}  # id -> minus the rounded score, serial, score
        slack, limit = len(q) * OFF_PER_TOKEN, k + SPARE
        while True:
            found = ask(limit)
            # Most pages beyond the k-th need not be fetched: what they can reach shows in their bound.
            scored |= self._score(q, r_c, [page for page in found[:k] if page.page_id not in scored])
            least = -sorted(scored.values())[k - 1][0] if len(scored) >= k else -np.inf
            near = [page for page in found if page.bound + slack >= least and page.page_id not in scored]
            scored |= self._score(q, r_c, near)
            if len(found) < limit or found[-1].bound + slack < least:
                break
            limit *= 4
        order = sorted(scored, key=lambda page_id: (*scored[page_id], page_id))[:k]
        return [Hit(page_id, scored[page_id][2], rank) for rank, page_id in enumerate(order, 1)]

    def _score(self, q: FloatArray, r_c: int, pages: Sequence[_Found]) -> dict[str, tuple[float, int, float]]:
        """Rounded at 1e-5 like `index.best`, so that equal pages tie. Pages just removed are left out."""
        kept = self._fetch([page.page_id for page in pages], self._end(r_c))
        pages = [page for page in pages if page.page_id in kept]
        if not pages:
            return {}
        scores = maxsim(q, np.stack([kept[page.page_id][:r_c] for page in pages])).tolist()
        return {
            page.page_id: (-round(score, 5), page.serial, score)
            for page, score in zip(pages, scores, strict=True)
        }

    def _end(self, r_c: int) -> int:
        """Tokens of the smallest named vector that holds `r_c` of them."""
        return min(end for end in self._ends if end >= r_c)

    # Queries

    def _ask(
        self, q: FloatArray, r_c: int, limit: int, only: Any = None, prefetch: Any = None, exact: bool = False
    ) -> list[_Found]:
        """The best `limit` pages by Qdrant's MaxSim at the named vector that holds `r_c` tokens."""
        end, params = self._end(r_c), None
        if end == 1 and not self._link.simulated:  # the other vectors have no HNSW: always exact
            params = models().SearchParams(hnsw_ef=max(limit, MIN_EF), exact=exact)
        found = self._link(
            "query_points",
            query=_as_query(q, end),
            using=self._ends[end],
            prefetch=prefetch,
            query_filter=only,
            search_params=params,
            limit=limit,
            with_payload=True,
        )
        return [_Found(at.payload["page"], at.payload["serial"], at.score) for at in found.points]

    def _wanted(self, q: FloatArray, r_c: int, k: int) -> int:
        return candidates(self._about(), Budget(len(q), r_c), k)

    def _stages(self, q: FloatArray, r_c: int, wanted: int) -> Any:
        """The nested prefetch before scoring at `r_c`, or None where that scans all pages."""
        if r_c <= PREFIX.r_c:
            return self._nearest(q, r_c, wanted)
        return models().Prefetch(
            query=_as_query(q[: PREFIX.r_q], PREFIX.r_c),
            using=self._ends[PREFIX.r_c],
            limit=wanted,
            prefetch=self._nearest(q, PREFIX.r_c, wanted),
        )

    def _nearest(self, q: FloatArray, r_c: int, wanted: int) -> Any:
        """The HNSW stage on the first token, where there are many pages and more than that token to score."""
        limit = wanted * FIRST_PER_CANDIDATE
        if r_c == 1 or self._about() <= max(SCAN_UP_TO, limit):
            return None
        params = models().SearchParams(hnsw_ef=limit)
        return models().Prefetch(query=_as_query(q, 1), using="first", limit=limit, params=params)

    def _about(self) -> int:
        """How many pages there are, as of the last minute."""
        if time.monotonic() >= self._counted + RECOUNT_S:
            self._size = int(self._link("count", exact=False).count)
            self._counted = time.monotonic()
        return self._size

    # Points

    def _write(self, ids: Sequence[str], values: np.ndarray, serial: int) -> None:
        points = [
            models().PointStruct(
                id=point_id(page_id),
                vector={
                    name: (page[0] if end == 1 else page[:end]).tolist() for end, name in self._ends.items()
                },
                payload={"page": page_id, "serial": serial + at},
            )
            for at, (page_id, page) in enumerate(zip(ids, values, strict=True))
        ]
        self._link("upsert", points=points, wait=True)

    def _delete(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), NAMED):
            chosen = models().FilterSelector(filter=_these(ids[start : start + NAMED]))
            self._link("delete", points_selector=chosen, wait=True)

    def _last_serial(self) -> int:
        last = models().OrderBy(key="serial", direction="desc")
        records, _ = self._link("scroll", limit=1, order_by=last, with_vectors=False)
        return int(records[0].payload["serial"]) if records else -1

    def _known(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that are in the collection."""
        known: set[str] = set()
        for start in range(0, len(ids), NAMED):
            points = [point_id(page_id) for page_id in ids[start : start + NAMED]]
            known |= {record.payload["page"] for record in self._link("retrieve", ids=points)}
        return known

    def _fetch(self, ids: Sequence[str], end: int) -> dict[str, FloatArray]:
        """Page id -> its first `end` vectors (end, D) float32; ids that are not there are left out."""
        kept: dict[str, FloatArray] = {}
        name, ids = self._ends[end], list(dict.fromkeys(ids))
        for part in batches(len(ids), end * self.dim):
            points = [point_id(page_id) for page_id in ids[part]]
            for record in self._link("retrieve", ids=points, with_vectors=[name]):
                rows = np.array(record.vector[name], np.float32).reshape(end, self.dim)
                kept[record.payload["page"]] = rows.astype(np.float16).astype(np.float32)
        return kept

    @staticmethod
    def _refuse_unknown(ids: Sequence[str], known: Any) -> None:
        unknown = [page_id for page_id in ids if page_id not in known]
        if unknown:
            raise KeyError(f"Page {unknown[0]} is not in the index.")


def _as_query(q: FloatArray, end: int) -> list[Any]:
    """MaxSim with one page token c is the sum over i of <q_i, c>, which is one vector's: <sum of q_i, c>."""
    return list((q.sum(axis=0) if end == 1 else q).tolist())


def _these(ids: Sequence[str]) -> Any:
    """A filter for the pages `ids`."""
    points = [point_id(page_id) for page_id in dict.fromkeys(ids)]
    return models().Filter(must=[models().HasIdCondition(has_id=points)])
