"""The MultiVectorIndex protocol on Qdrant: a server, a cluster, or an engine in this process.

Setup and collection layout: docs/qdrant.md.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metaembed_demo.core.budgets import Budget, Budgets
from metaembed_demo.core.config import BYTES_PER_COMPONENT
from metaembed_demo.core.types import FloatArray, Hit
from metaembed_demo.index.base import Elsewhere, check_new, cut
from metaembed_demo.index.cascade import candidates, scanned
from metaembed_demo.index.local import LocalIndex, usual
from metaembed_demo.index.maxsim import maxsim
from metaembed_demo.index.selection import Selection

from .client import Link, check, connect, make, models, vector_names
from .payload import condition, make_indexes

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

    A page of 64 tokens at our budgets is stored as five named float16 vectors: `first` (token 1, with HNSW)
    and, as multivectors compared by MaxSim, `prefix4`, `prefix8`, `prefix16` and `full`: 1 + 4 + 8 + 16 + 64
    = 93 vectors, 1.45 times `full` alone (23,808 bytes at D = 128 instead of 16,384). In return, Qdrant
    scores each trained budget itself and reads only what the budget needs.

    Final scores are exact MaxSim in float32, computed here. Qdrant's score at the next nested end >= r_c is
    an upper bound, so pages are fetched and scored in that order until no remaining page can reach the top
    `k`. Budgets between the nested ends (3x5) are exact too but fetch more pages.

    Rows must be unit vectors; the bound depends on it.

    Raises (any method): ConnectionError, naming the address, when a server does not answer;
    PermissionError when it rejects the API key; RuntimeError with its message when it rejects the request.
    """

    def __init__(self, link: Link, budgets: Budgets, dim: int) -> None:
        """For an existing, matching collection; use `open` otherwise."""
        self.r_c, self.dim, self.budgets = budgets.full.r_c, dim, budgets
        self._prefix = scanned(budgets)
        self._link = link
        self._ends = vector_names(budgets)
        self._writing = threading.RLock()
        self._size, self._counted = 0, -RECOUNT_S
        self.by_payload = (
            False  # whether payloads are known to be those of the pages, so that filters use them
        )

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
        budgets: Budgets | None = None,
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
            budgets: of the encoder, up to `r_c` page tokens; None: ours.

        Raises:
            ImportError: when the library for `location` is not installed.
            ValueError: when the collection has another r_c, dim, fingerprint or ends of prefixes, or no
                metadata of ours.
        """
        if r_c < 1 or dim < 1:
            raise ValueError(f"An index needs at least one vector of one component, not ({r_c}, {dim}).")
        budgets = budgets or usual(r_c)
        if budgets.full.r_c != r_c:
            raise ValueError(f"Budgets up to {budgets.full} do not fit pages of {r_c} vectors.")
        link = connect(location, collection, api_key, grpc, timeout_s)
        try:
            if not link("collection_exists"):
                make(link, budgets, dim, fingerprint, shards, replicas)
            check(link, budgets, dim, fingerprint)
        except BaseException:
            link.close()
            raise
        return cls(link, budgets, dim)

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
        found = [(payload["serial"], page_id) for page_id, payload in self.payloads().items()]
        return [page_id for _, page_id in sorted(found)]

    def payloads(self) -> dict[str, dict[str, Any]]:
        """Page id -> what is known of the page; `page` and `serial` besides index/qdrant/payload.py."""
        found: dict[str, dict[str, Any]] = {}
        offset = None
        while True:
            records, offset = self._link("scroll", limit=NAMED, offset=offset, with_vectors=False)
            found |= {record.payload["page"]: record.payload for record in records}
            if offset is None:
                return found

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

    def describe(self, about: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep payloads (index/qdrant/payload.py) of pages that are there, with payload indexes."""
        m, ids = models(), list(about)
        if ids:
            make_indexes(self._link)
        for start in range(0, len(ids), NAMED):
            told = [
                m.SetPayload(payload=dict(about[page_id]), points=[point_id(page_id)])
                for page_id in ids[start : start + NAMED]
            ]
            operations = [m.SetPayloadOperation(set_payload=each) for each in told]
            self._link("batch_update_points", update_operations=operations, wait=True)

    # Search

    def coarse(
        self, query: FloatArray, budget: Budget, k: int, among: Sequence[str] | None = None
    ) -> list[str]:
        """The top pages by MaxSim at the smaller of `budget` and `cascade.scanned`, as many as it takes."""
        q, r_c = cut(query, budget, self.r_c, self.dim)
        only, pages = self._only(among), self._about() if among is None else len(among)
        wanted = candidates(pages, Budget(len(q), r_c), k, prefix=self._prefix)
        if not wanted:
            return []
        prefetch = self._nearest(q, r_c, wanted, pages, only)
        if r_c > self._prefix.r_c:
            q, r_c = q[: self._prefix.r_q], self._prefix.r_c
        return [page.page_id for page in self._ask(q, r_c, wanted, only=only, prefetch=prefetch)]

    def rerank(self, query: FloatArray, budget: Budget, ids: Sequence[str], k: int) -> list[Hit]:
        q, r_c = cut(query, budget, self.r_c, self.dim)
        if not len(ids) or k < 1:
            return []
        only = self._only(ids)
        return self._best(q, r_c, k, lambda n: self._ask(q, r_c, n, only=only, exact=True))

    def search(
        self,
        query: FloatArray,
        budget: Budget,
        k: int,
        exact: bool = False,
        among: Sequence[str] | None = None,
    ) -> list[Hit]:
        """One nested query finds the pages: first token (HNSW) -> scanned prefix -> all, as far as r_c."""
        q, r_c = cut(query, budget, self.r_c, self.dim)
        if k < 1 or (among is not None and not len(among)):
            return []
        only = self._only(among)
        if exact:
            return self._best(q, r_c, k, lambda n: self._ask(q, r_c, n, only=only, exact=True))
        prefetch = self._stages(q, r_c, k, self._about() if among is None else len(among), only)
        return self._best(q, r_c, k, lambda n: self._ask(q, r_c, n, only=only, prefetch=prefetch))

    def save(self, path: Path) -> None:
        """Write a LocalIndex to `path`, loading all vectors into memory.

        For server snapshots see docs/qdrant.md.
        """
        copy = LocalIndex(self.r_c, self.dim, budgets=self.budgets)
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

    def _only(self, ids: Sequence[str] | None) -> Any:
        """The filter for these pages: by payload where that is in step, else by their ids; None for all.

        Raises:
            KeyError: when an id is unknown.
        """
        if ids is None:
            return None
        chosen = list(dict.fromkeys(ids))
        if isinstance(ids, Selection) and ids.where and self.by_payload:
            return condition(ids.where)
        parts = [_these(chosen[start : start + COUNTED]) for start in range(0, len(chosen), COUNTED)]
        if sum(self._link("count", count_filter=part, exact=True).count for part in parts) != len(chosen):
            self._refuse_unknown(chosen, self._known(chosen))
        return None if len(chosen) == len(self) else _these(chosen)

    def _stages(self, q: FloatArray, r_c: int, k: int, pages: int, only: Any) -> Any:
        """The nested prefetch before scoring at `r_c`, or None to scan all `pages` that `only` allows."""
        wanted = candidates(pages, Budget(len(q), r_c), k, prefix=self._prefix)
        scan = self._prefix
        if r_c <= scan.r_c:
            return self._nearest(q, r_c, wanted, pages, only)
        return models().Prefetch(
            query=_as_query(q[: scan.r_q], scan.r_c),
            using=self._ends[scan.r_c],
            limit=wanted,
            filter=only,
            prefetch=self._nearest(q, scan.r_c, wanted, pages, only),
        )

    def _nearest(self, q: FloatArray, r_c: int, wanted: int, pages: int, only: Any) -> Any:
        """The HNSW stage on the first token, for many pages and r_c > 1; else None."""
        limit = wanted * FIRST_PER_CANDIDATE
        if r_c == 1 or pages <= max(SCAN_UP_TO, limit):
            return None
        params = models().SearchParams(hnsw_ef=limit)
        return models().Prefetch(
            query=_as_query(q, 1), using="first", limit=limit, filter=only, params=params
        )

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
