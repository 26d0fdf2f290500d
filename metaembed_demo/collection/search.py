"""The one way from a Query to a Trace: encode, coarse, rerank, align."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from metaembed_demo.core.budgets import Budget
from metaembed_demo.core.types import Alignment, FloatArray, Hit, Query, Trace
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.index.base import MultiVectorIndex
from metaembed_demo.index.maxsim import align

from .collection import Collection


def search(
    collection: Collection, encoder: Encoder, query: Query, budget: Budget, k: int = 10, exact: bool = False
) -> Trace:
    """Encode `query` once at full size and find its best `k` pages at `budget`.

    The trace carries the alignment of the first hit; an empty collection gives a trace without hits.
    With `exact` every page is scored, however many there are.

    Raises:
        ValueError: when `collection` was made by another encoder, or `k` is below 1.
    """
    collection.check_encoder(encoder)
    started = perf_counter()
    vectors = encoder.encode_queries([query])[0].vectors
    encode_ms = _ms(started)
    return _run(collection, vectors, budget, k, exact, encode_ms, query.text, query.image is not None)


def research(collection: Collection, trace: Trace, budget: Budget, k: int = 10) -> Trace:
    """The same question at another budget, without encoding.

    `movement` gives, for pages found both times, the places gained (+) or lost (-).

    Raises:
        ValueError: when `k` is below 1.
    """
    found = _run(collection, trace.query_vectors, budget, k, False, 0.0, trace.query_text, trace.query_image)
    before = {hit.page_id: hit.rank for hit in trace.hits}
    moved = {hit.page_id: before[hit.page_id] - hit.rank for hit in found.hits if hit.page_id in before}
    return replace(found, movement=moved)


def explain_hit(collection: Collection, trace: Trace, page_id: str) -> Trace:
    """The same trace with the alignment of `page_id`, at the trace's budget.

    Raises:
        KeyError: when the page is not in the collection (any more).
    """
    started = perf_counter()
    alignment = _align(collection, trace.query_vectors, trace.budget, page_id)
    timings = {**trace.timings, "align": _ms(started)}
    timings["total"] = trace.timings["total"] - trace.timings["align"] + timings["align"]
    return replace(trace, alignment=alignment, timings=timings)


def _run(
    collection: Collection,
    vectors: FloatArray,
    budget: Budget,
    k: int,
    exact: bool,
    encode_ms: float,
    text: str,
    image: bool,
) -> Trace:
    if k < 1:
        raise ValueError(f"The number of hits must be at least 1, not {k}.")
    with collection.lock:  # so that no hit is removed before it is aligned
        index = collection.index
        budget = budget.clip(len(vectors), index.r_c)
        started = perf_counter()
        candidates: Sequence[str] = index.ids if exact else index.coarse(vectors, budget, k)
        coarse_ms, started = _ms(started), perf_counter()
        hits: Sequence[Hit] = []
        if exact:
            hits = index.search(vectors, budget, k, exact=True)
        elif candidates:
            hits = index.rerank(vectors, budget, candidates, k)
        rerank_ms, started = _ms(started), perf_counter()
        alignment = _align(collection, vectors, budget, hits[0].page_id, exact) if hits else None
        align_ms = _ms(started)
        searched = len(index)
        storage, refined = _storage(index, len(candidates), k, exact)
    timings = {"encode": encode_ms, "coarse": coarse_ms, "rerank": rerank_ms, "align": align_ms}
    return Trace(
        query_text=text,
        budget=budget,
        hits=tuple(hits),
        timings={**timings, "total": sum(timings.values())},
        bytes_per_page=index.bytes_per_page(budget),
        pages_searched=searched,
        candidates=len(candidates),
        query_vectors=vectors,
        alignment=alignment,
        query_image=image,
        storage=storage,
        refined=refined,
    )


def _storage(index: MultiVectorIndex, candidates: int, k: int, exact: bool) -> tuple[str, int]:
    """What hits were scored by, and how many of the best again by their full vectors."""
    if index.storage == "float16":
        return "float16", 0
    again = candidates if exact else min(max(index.refine, k), candidates) if index.refine else 0
    return index.storage, again if index.has_full else 0


def _align(
    collection: Collection, vectors: FloatArray, budget: Budget, page_id: str, full: bool = False
) -> Alignment:
    """With the vectors that the hit was scored by, so that gains sum to its score."""
    index = collection.index
    scored_by = index.full if full else index.vectors
    page: FloatArray = scored_by([page_id])[0]
    return align(page_id, vectors[: budget.r_q], page[: budget.r_c])


def _ms(started: float) -> float:
    return (perf_counter() - started) * 1000
