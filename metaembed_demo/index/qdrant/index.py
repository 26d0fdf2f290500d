"""The MultiVectorIndex protocol on Qdrant: a server, a cluster, or an engine in this process.

Setup and collection layout: docs/qdrant.md.
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

FIRST_PER_CANDIDATE = 10  # pages from the HNSW stage per candidate
SCAN_UP_TO = 20_000  # pages up to which prefixes are scanned without HNSW
MIN_EF = 256  # minimum ef of HNSW

BATCH = 64  # pages per request
REQUEST_BYTES = 24 << 20  # of the server's default limit of 32 MiB (max_request_size_mb)
COMPONENT_BYTES = 13  # of one component as JSON: sign, "0.", eight decimals, comma
NAMED = 1_000  # pages per request without vectors
COUNTED = 20_000  # page ids in a filter
RECOUNT_S = 60.0  # lifetime of the cached count of a shared collection

SPARE = 16  # pages scored beyond k in the first round, which is then mostly sufficient
# Maximum error of Qdrant's score per query token of length 1. Qdrant rounds queries to float16 for float16
# vectors: 2**-11 by rounding, the rest by summation in float16 (ARM).
OFF_PER_TOKEN = 1e-3


class _Found(NamedTuple):
    """A page from a query. `bound` + r_q * OFF_PER_TOKEN is an upper bound of its exact score."""

    page_id: str
    serial: int
    bound: float


def point_id(page_id: str) -> str:
    """Deterministic UUID of a page id, so that adding a page twice cannot create two points."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"metaembed:page:{page_id}"))


def batches(n: int, components: int) -> Iterator[slice]:
    """Slices of `n` pages of `components` each: at most 64, fewer if they exceed REQUEST_BYTES.

    >>> list(batches(100, 93 * 128))
    [slice(0, 64, None), slice(64, 128, None)]
    >>> [part.stop - part.start for part in batches(12, 93 * 4096)]
    [5, 5, 5]
    """
    step = min(BATCH, max(1, REQUEST_BYTES // (components * COMPONENT_BYTES)))
    return (slice(start, start + step) for start in range(0, n, step))


class QdrantIndex(Elsewhere):
    """One collection, one point per page. No page data is cached, so processes may share a collection.

    A page of 64 tokens is stored as five named float16 vectors: `first` (token 1, with HNSW) and, as
    multivectors compared by MaxSim, `prefix4`, `prefix8`, `prefix16` and `full`: 1 + 4 + 8 + 16 + 64 = 93
    vectors, 1.45 times `full` alone (23,808 bytes at D = 128 instead of 16,384). In return, Qdrant scores
    each trained budget itself and reads only what the budget needs.

    Final scores are exact MaxSim in float32, computed here. Qdrant's score at the next nested end >= r_c is
    an upper bound, so pages are fetched and scored in that order until no remaining page can reach the top
    `k`. Budgets between the nested ends (3x5) are exact too but fetch more pages.

    Rows must be unit vectors; the bound depends on it.

    Raises (any method): ConnectionError, naming the address, when a server does not answer;
    PermissionError when it rejects the API key; RuntimeError with its message when it rejects the request.
    """

    def __init__(self, link: Link, r_c: int, dim: int) -> None:
        """For an existing, matching collection; use `open` otherwise."""
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
        """The collection at `location`, created if missing.

        Args:
            location: an address ("http://localhost:6333"), a folder, ":memory:", or "edge:<folder>".
            collection: its name.
            r_c: tokens per page.
            dim: components per token.
            fingerprint: of the encoder; stored with the collection and checked on opening.
            shards: number of shards of a new collection.
            replicas: number of replicas of a new collection.
            api_key: of the server.
            grpc: send vectors by gRPC (port 6334) instead of JSON.
            timeout_s: request timeout in seconds.

        Raises:
            ImportError: when the library for `location` is not installed.
            ValueError: when the collection has another r_c, dim or fingerprint, or no metadata of ours.
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

    @property
    def link(self) -> Link:
        """The collection, for the words that are kept with it (words.py)."""
        return self._link

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
        """Bytes of the named vector scored at `budget`, clipped to r_c."""
        return min(budget.r_c, self.r_c) * self.dim * BYTES_PER_COMPONENT

    # Changes

    def add(self, ids: Sequence[str], vectors: FloatArray) -> None:
        """As in the protocol. When a request fails, the pages of earlier ones are removed again."""
        with self._writing:
            check_new(ids, vectors, self._known(ids), self.r_c, self.dim)
            if not len(ids):
                return
            kept = np.asarray(vectors, np.float32).astype(np.float16)
            # Eight decimals are exact for float16, and half as long as the digits of a float32.
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
        """The top pages by MaxSim at the smaller of `budget` and (8, 16); number by `cascade.candidates`."""
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
        """Write a LocalIndex to `path`, loading all vectors into memory.

        For server snapshots see docs/qdrant.md.
        """
        copy = LocalIndex(self.r_c, self.dim)
        ids = self.ids
        for start in range(0, len(ids), NAMED):
            copy.add(ids[start : start + NAMED], self.vectors(ids[start : start + NAMED]))
        copy.save(path)

    # Scoring

    def _best(self, q: FloatArray, r_c: int, k: int, ask: Callable[[int], list[_Found]]) -> list[Hit]:
        """The top `k` by exact MaxSim; `ask(n)` returns the first `n` pages by bound."""
        scored: dict[str, tuple[float, int, float]] = {}  # id -> minus the rounded score, serial, score
        slack, limit = len(q) * OFF_PER_TOKEN, k + SPARE
        while True:
            found = ask(limit)
            # Pages whose bound is below the k-th score need not be fetched.
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
        """Scores rounded to 1e-5 like `base.best`, for ties. Omits pages removed meanwhile."""
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
        """Number of tokens of the smallest named vector with at least `r_c`."""
        return min(end for end in self._ends if end >= r_c)

    # Queries

    def _ask(
        self, q: FloatArray, r_c: int, limit: int, only: Any = None, prefetch: Any = None, exact: bool = False
    ) -> list[_Found]:
        """The top `limit` pages by Qdrant's MaxSim at the named vector for `r_c`."""
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
        """The nested prefetch before scoring at `r_c`, or None to scan all pages."""
        if r_c <= PREFIX.r_c:
            return self._nearest(q, r_c, wanted)
        return models().Prefetch(
            query=_as_query(q[: PREFIX.r_q], PREFIX.r_c),
            using=self._ends[PREFIX.r_c],
            limit=wanted,
            prefetch=self._nearest(q, PREFIX.r_c, wanted),
        )

    def _nearest(self, q: FloatArray, r_c: int, wanted: int) -> Any:
        """The HNSW stage on the first token, for many pages and r_c > 1; else None."""
        limit = wanted * FIRST_PER_CANDIDATE
        if r_c == 1 or self._about() <= max(SCAN_UP_TO, limit):
            return None
        params = models().SearchParams(hnsw_ef=limit)
        return models().Prefetch(query=_as_query(q, 1), using="first", limit=limit, params=params)

    def _about(self) -> int:
        """Number of pages, cached for RECOUNT_S."""
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
        """The existing ones of `ids`."""
        known: set[str] = set()
        for start in range(0, len(ids), NAMED):
            points = [point_id(page_id) for page_id in ids[start : start + NAMED]]
            known |= {record.payload["page"] for record in self._link("retrieve", ids=points)}
        return known

    def _fetch(self, ids: Sequence[str], end: int) -> dict[str, FloatArray]:
        """Page id -> first `end` vectors (end, D) float32; missing ids are omitted."""
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
    """The query for Qdrant. With one page token c, MaxSim is the sum of <q_i, c>, i.e. <sum of q_i, c>."""
    return list((q.sum(axis=0) if end == 1 else q).tolist())


def _these(ids: Sequence[str]) -> Any:
    """A filter for the pages `ids`."""
    points = [point_id(page_id) for page_id in dict.fromkeys(ids)]
    return models().Filter(must=[models().HasIdCondition(has_id=points)])
