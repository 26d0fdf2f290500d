"""Search: from a Query to a Trace in the stages encode, coarse, rerank, words, align."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from metaembed_demo.core.budgets import Budget, Budgets
from metaembed_demo.core.types import Alignment, FloatArray, Query, Similarity, Trace
from metaembed_demo.encoders.attribution import Evidence
from metaembed_demo.encoders.base import Encoder, Explainable
from metaembed_demo.index.base import MultiVectorIndex
from metaembed_demo.index.maxsim import alignment_of, cosines

from .collection import Collection
from .filters import EVERY
from .fitting import Scored, UnreadLanguage, fit_of, unread_language
from .progress import Progress
from .ranker import How, Ranker
from .second_encoder import AskedOfSecond, SecondEncoder, read_pool


def search(
    collection: Collection,
    encoder: Encoder,
    query: Query,
    budget: Budget,
    k: int = 10,
    how: How | None = None,
    evidence: bool = False,
) -> Trace:
    """Encode `query` once at full size and find its best `k` pages at `budget`.

    The trace carries the cosines of every hit and the alignment of the first; an empty collection gives a
    trace without hits.

    Args:
        evidence: keep the evidence of the query's tokens, if the encoder gives it (in the same forward pass).

    Raises:
        ValueError: when `collection` was made by another encoder, or by the complement, `k` is below 1, or a
            filter leaves no page (facets.NoPageLeft).
    """
    collection.check_encoder(encoder)
    started = perf_counter()
    read = encoder.query_evidence(query) if evidence and isinstance(encoder, Explainable) else None
    vectors = encoder.encode_queries([query])[0].vectors if read is None else read.vectors()
    how = (how or How()).of_text(query.text)
    if how.complement and how.complement.encoder.fingerprint == collection.fingerprint:
        raise ValueError(f"The pages are those of {how.complement.name}: another encoder refines a query.")
    second = how.complement.ask(query) if how.complement else None
    foreign = unread_language(encoder, query.text)
    pictured = query.image is not None
    asked = _Asked(vectors, query.text, pictured, read, encoder.budgets, encoder.similarity, second, foreign)
    return _run(collection, asked, budget, k, how, _ms(started))


def research(
    collection: Collection, trace: Trace, budget: Budget, k: int = 10, how: How | None = None
) -> Trace:
    """Search again with the same query embedding at another budget, or in another way.

    `movement` gives the ranks gained (+) or lost (-) by pages found both times.

    Raises:
        ValueError: when `k` is below 1, a filter leaves no page, or the query has a picture that another
            complement has not seen: `search` again then.
    """
    how = (how or How(only=trace.only or EVERY, mode=trace.mode)).of_text(trace.query_text)
    second = _second(trace, how.complement) if how.complement else trace.second_query
    asked = _Asked(
        trace.query_vectors,
        trace.query_text,
        trace.query_image,
        trace.query_evidence,
        trace.budgets,
        trace.similarity,
        second,
        trace.unread_language,
    )
    found = _run(collection, asked, budget, k, how, 0.0, trace)
    before = {hit.page_id: hit.rank for hit in trace.hits}
    moved = {hit.page_id: before[hit.page_id] - hit.rank for hit in found.hits if hit.page_id in before}
    return replace(found, movement=moved)


def searched(collection: Collection, trace: Trace, k: int, how: How) -> Iterator[Progress | Trace]:
    """Let the complement read what it has to of the pool of `trace`, then refine; at last yields the trace.

    Raises:
        ValueError: when the pages changed three times while they were read; or as `research`.
    """
    for _ in range(3):
        if how.complement is None or not trace.unread:
            break
        started = perf_counter()
        yield from read_pool(collection, trace.unread, how.complement)
        timings = {**trace.timings, "complement": trace.timings.get("complement", 0.0) + _ms(started)}
        trace = research(collection, trace, trace.budget, k, how)
        timings = {**trace.timings, "encode": timings["encode"], "complement": timings["complement"]}
        total = sum(ms for stage, ms in timings.items() if stage != "total")
        trace = replace(trace, timings={**timings, "total": total}, movement={})
    if trace.unread:
        raise ValueError("The pages changed again and again while a second encoder read them. Search again.")
    yield trace


def has_seen(trace: Trace, complement: SecondEncoder | None) -> bool:
    """Whether `research` can take the complement: it has encoded the query, or can, which has no picture."""
    known: AskedOfSecond | None = trace.second_query
    fingerprint = known.fingerprint if known else ""
    return complement is None or not trace.query_image or fingerprint == complement.encoder.fingerprint


def _second(trace: Trace, complement: SecondEncoder) -> AskedOfSecond:
    """The query for the complement, as it was encoded before if it was."""
    known: AskedOfSecond | None = trace.second_query
    if known is not None and known.fingerprint == complement.encoder.fingerprint:
        return known
    if not has_seen(trace, complement):
        raise ValueError(f"{complement.name} has not seen the picture of this query. Search again.")
    return complement.ask(Query(trace.query_text))


def explain_hit(collection: Collection, trace: Trace, page_id: str) -> Trace:
    """The same trace with the alignment of `page_id`, at the trace's budget.

    Raises:
        KeyError: when the page is not in the collection (any more).
    """
    started = perf_counter()
    found = trace
    if page_id not in trace.cosines:  # a page beyond the hits
        more = _cosines(collection, trace.query_vectors, [page_id])
        found = replace(trace, cosines={**trace.cosines, **more})
    alignment = alignment_in(found, page_id)
    timings = {**trace.timings, "align": trace.timings["align"] + _ms(started)}
    timings["total"] = trace.timings["total"] - trace.timings["align"] + timings["align"]
    return replace(found, alignment=alignment, timings=timings)


def alignment_in(trace: Trace, page_id: str) -> Alignment:
    """The alignment of a page at the trace's budget, from the cosines in `trace`.

    Raises:
        KeyError: when the trace has no cosines of that page.
    """
    return alignment_of(page_id, trace.cosines[page_id][: trace.budget.r_q, : trace.budget.r_c])


@dataclass(frozen=True)
class _Asked:
    """An encoded query: vectors (R_q, D), its text, whether it has a picture, and its tokens' evidence.

    budgets, similarity: of the encoder.
    second: the query for the complement of its refinement. unread_language: its own, if that is not read.
    """

    vectors: FloatArray
    text: str
    image: bool
    evidence: Evidence | None
    budgets: Budgets
    similarity: Similarity
    second: AskedOfSecond | None = None
    unread_language: UnreadLanguage | None = None


def _run(
    collection: Collection,
    asked: _Asked,
    budget: Budget,
    k: int,
    how: How,
    encode_ms: float,
    before: Trace | None = None,
) -> Trace:
    if k < 1:
        raise ValueError(f"The number of hits must be at least 1, not {k}.")
    how = how.of_text(asked.text)
    with collection.lock:  # so that no hit is removed before it is aligned
        budget = (how.auto.full if how.auto else budget).clip(len(asked.vectors), collection.index.r_c)
        ranker = Ranker(collection, asked.vectors, asked.text, budget, how, asked.second)
        hits = ranker.hits(k)
        started = perf_counter()
        storage, rescored = _storage(collection.index, ranker.candidates, k, how.exact)
        # Cosines of the previous search are valid if it scored pages with the same vectors.
        alike = before is not None and (before.storage, before.rescored > 0) == (storage, rescored > 0)
        known = before.cosines if before is not None and alike else {}
        new = [hit.page_id for hit in hits if hit.page_id not in known]
        found = {**known, **_cosines(collection, asked.vectors, new, how.exact)}
        automatic = ranker.automatic()
        align_ms = _ms(started)
        fit = None
        if not asked.image:
            full = Budget(len(asked.vectors), collection.index.r_c)
            scored = Scored(budget, full, ranker.searched, storage, rescored > 0)
            fit = fit_of(collection, hits, scored, ranker.words, ranker.asked)
    timings = {"encode": encode_ms, **ranker.timings, "align": align_ms}
    trace = Trace(
        query_text=asked.text,
        budget=budget,
        hits=tuple(hits),
        timings={**timings, "total": sum(timings.values())},
        bytes_per_page=collection.index.bytes_per_page(budget),
        pages_searched=ranker.searched,
        candidates=ranker.candidates,
        query_vectors=asked.vectors,
        query_image=asked.image,
        budgets=asked.budgets,
        similarity=asked.similarity,
        storage=storage,
        rescored=rescored,
        cosines={hit.page_id: found[hit.page_id] for hit in hits},
        query_evidence=asked.evidence,
        only=how.only,
        mode=how.mode,
        words=ranker.words,
        also=ranker.asked.also if ranker.asked else {},
        missing=tuple(map(" ".join, ranker.asked.missing)) if ranker.asked else (),
        unsearched=ranker.asked.unsearched if ranker.asked else (),
        word_query=ranker.asked,
        refinement=ranker.refinement,
        unread=ranker.unread,
        second_query=asked.second,
        auto=automatic,
        fit=fit,
        unread_language=asked.unread_language,
    )
    return explain_hit(collection, trace, hits[0].page_id) if hits else trace


def _storage(index: MultiVectorIndex, candidates: int, k: int, exact: bool) -> tuple[str, int]:
    """The storage kind hits were scored with, and how many of the best were rescored with full vectors."""
    if index.storage == "float16":
        return "float16", 0
    again = candidates if exact else min(max(index.rescore, k), candidates) if index.rescore else 0
    return index.storage, again if index.has_full else 0


def _cosines(
    collection: Collection, vectors: FloatArray, page_ids: Sequence[str], full: bool = False
) -> dict[str, FloatArray]:
    """(R_q, R_c) cosines with the vectors each page was scored with, so that gains sum to the score."""
    if not page_ids:
        return {}
    index = collection.index
    scored_by = index.full if full else index.vectors
    return dict(zip(page_ids, cosines(vectors, scored_by(page_ids)), strict=True))


def _ms(started: float) -> float:
    return (perf_counter() - started) * 1000
