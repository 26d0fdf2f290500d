"""What it costs to keep pages smaller: `python -m benchmarks.quality.storage` writes storage.json, prints a
table.

For every kind of storage (index/quantization.py), and for some ways that are not in the program: bytes a
page, nDCG@5 on the dev sets with the share of what float32 finds, and the time to score many pages. A
share's 95% interval is from resampled queries, the same for both. Run benchmarks/quality/devsets.py first.

`pq` is fitted to the very pages it keeps, as an index does it; "fitted elsewhere" to those of the other set.
What scores again keeps float16 on disk for it: `bytes_per_page` is what every search reads.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import RESULTS
from metaembed_demo.collection.progress import Report
from metaembed_demo.core.budgets import STOPS, Budget
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import FloatArray
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.evaluation.beir import Judgements, collect, load_beir
from metaembed_demo.evaluation.evaluate import encode, quality
from metaembed_demo.evaluation.metrics import RESAMPLES, rank
from metaembed_demo.index import maxsim_kernels
from metaembed_demo.index.maxsim import maxsim
from metaembed_demo.index.quantization import KINDS, Codec, codec, pq_parts

SETS = ("long", "business")
OUT = RESULTS / "storage.json"
FULL = STOPS[-1]
SMALL_PARTS = 32  # bytes a vector of the smaller `pq`: 2,048 a page of 64
AGAIN = (20, 50)  # pages scored again
ROUNDS = 9
TIMED_QUERIES = 3
FOUR_LEVELS = (-1.51, -0.453, 0.453, 1.51)  # with which a normal component loses least (Max, 1960)
BELOW = 1000.0  # more than any score, to put pages behind those scored again

Score = Callable[[FloatArray, Budget], FloatArray]  # query (R_q, D), budget -> scores (n,)
Row = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """A way to keep pages. `kept` tells whether the program has it."""

    name: str
    bytes_per_page: Callable[[Budget], int]
    score: Score
    kept: bool = True


@dataclass(frozen=True)
class Encoded:
    """A dev set as vectors: pages (n, R_c, D) float32, query id -> (R_q, D)."""

    ids: list[str]
    pages: FloatArray
    queries: Mapping[str, FloatArray]
    judgements: Judgements


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devsets", type=Path, default=PATHS.cache / "devsets")
    parser.add_argument("--weights", type=Path, default=PATHS.mini_weights)
    parser.add_argument("--keep", type=Path, help="folder for the encoded sets, to encode them once only")
    parser.add_argument("--pages", type=int, default=10_000, help="of the timed index; dev pages repeat")
    options = parser.parse_args()
    encoder = Mini.load(options.weights)
    sets = {name: encoded(options.devsets / name, encoder, options.keep) for name in SETS}
    found: Row = {
        "machine": {
            "python": platform.python_version(),
            "encoder": encoder.fingerprint,
            "page": [encoder.r_c, encoder.dim],
            "kernels": maxsim_kernels.available(),
        },
        "sets": {},
    }
    made = {name: codecs_of(one.pages) for name, one in sets.items()}
    for name, one in sets.items():
        other = next(key for key in SETS if key != name)
        found["sets"][name] = measure(one, ways(one.pages, made[name], made[other]))
    found["latency"] = latency(sets[SETS[0]], made[SETS[0]], options.pages)
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


def encoded(folder: Path, encoder: Encoder, keep: Path | None) -> Encoded:
    beir = load_beir(folder)
    report = Report()
    collection = collect(beir, encoder, report, keep / folder.name if keep else None)
    assert not report.problems, report.problems
    judgements = Judgements(beir.qrels, collection)
    queries, _ = encode(encoder, beir, list(judgements.judged))
    ids = collection.index.ids
    return Encoded(ids, collection.index.vectors(ids), queries, judgements)


# Ways to keep pages


def codecs_of(pages: FloatArray) -> dict[str, Codec]:
    """The kinds of index/quantization.py, and `pq` with fewer bytes, fitted to `pages`."""
    _, r_c, dim = pages.shape
    made = {kind: codec(kind, r_c, dim, pages) for kind in KINDS}
    return made | {f"pq, {m} bytes": codec("pq", r_c, dim, pages, parts=m) for m in smaller(dim)}


def ways(pages: FloatArray, own: Mapping[str, Codec], foreign: Mapping[str, Codec]) -> list[Way]:
    """Codecs fitted to `pages` and to others, some with the best pages scored again, and further ways."""
    kinds = [kept(name, made, pages) for name, made in own.items()]
    trained = {name: made for name, made in foreign.items() if "centroids" in made.state()}
    fitted = [kept(f"{name}, fitted elsewhere", made, pages) for name, made in trained.items()]
    coarse = [way for way in kinds if way.name not in ("float16", "int8")]
    again = [scored_again(way, pages, best) for way in coarse for best in AGAIN]
    return [*kinds, *fitted, *again, *elsewhere(pages)]


def smaller(dim: int) -> list[int]:
    """Bytes a vector of further `pq`s: SMALL_PARTS where that is fewer than `pq_parts` and divides D."""
    return [SMALL_PARTS] if dim % SMALL_PARTS == 0 and pq_parts(dim) > SMALL_PARTS else []


def kept(name: str, made: Codec, pages: FloatArray) -> Way:
    return stored(name, made, made.encode(pages))


def stored(name: str, made: Codec, codes: Sequence[NDArray[Any]]) -> Way:
    return Way(
        name,
        lambda budget: made.bytes_per_page(budget.r_c),
        lambda q, budget: made.score(q[: budget.r_q], codes, budget.r_c),
    )


def scored_again(coarse: Way, pages: FloatArray, best: int) -> Way:
    """The best pages of `coarse` in the order that float16 gives them, the rest behind."""
    exact = codec("float16", *pages.shape[1:])
    codes = exact.encode(pages)

    def score(q: FloatArray, budget: Budget) -> FloatArray:
        scores = coarse.score(q, budget)
        first = np.argsort(-scores, kind="stable")[:best]
        scores = scores - BELOW
        scores[first] = exact.score(q[: budget.r_q], codes, budget.r_c, first)
        return scores

    return Way(f"{coarse.name}, best {best} again", coarse.bytes_per_page, score)


def elsewhere(pages: FloatArray) -> list[Way]:
    """Ways that the program does not have."""
    r_c, dim = pages.shape[1:]
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, dim)))[0].astype(np.float32)
    half, quarter = (unit(pages[..., : dim // part]) for part in (2, 4))
    found = [
        _other("int8, first half of D", r_c * dim // 2, int8(half), lambda q: unit(q[:, : dim // 2])),
        _other("int8, first quarter of D", r_c * dim // 4, int8(quarter), lambda q: unit(q[:, : dim // 4])),
        _other("int8, first 16 tokens", 16 * dim, int8(pages[:, :16])),
        _other("4 bits, one scale a page", r_c * dim // 2, four_bits(pages)),
        _other("binary, not rotated", r_c * dim // 8, np.sign(pages)),
    ]
    if dim % 4 == 0:
        stands = two_bits(pages @ rotation)
        found.append(_other("2 bits, rotated at random", r_c * dim // 4, stands, lambda q: q @ rotation))
    return found


def _other(
    name: str, size: int, stands: FloatArray, asked: Callable[[FloatArray], FloatArray] = lambda q: q
) -> Way:
    """`stands` (n, r, d): the vectors that the codes stand for; `size` bytes a page, scales left out."""

    def score(q: FloatArray, budget: Budget) -> FloatArray:
        return maxsim(asked(q[: budget.r_q]), stands[:, : budget.r_c])

    return Way(name, lambda budget: size, score, kept=False)


def two_bits(pages: FloatArray) -> FloatArray:
    """`pages` by the nearest of four levels for each component, which is `pq` with nothing fitted."""
    _, r_c, dim = pages.shape
    levels = np.array(FOUR_LEVELS, np.float32) / np.float32(np.sqrt(dim))
    grid = np.stack(np.meshgrid(*[levels] * 4), -1).reshape(256, 4)
    made = codec("pq", r_c, dim, state={"centroids": np.broadcast_to(grid, (dim // 4, 256, 4))})
    return made.decode(made.encode(pages))


def unit(vectors: FloatArray) -> FloatArray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def int8(pages: FloatArray) -> FloatArray:
    made = codec("int8", *pages.shape[1:])
    return made.decode(made.encode(pages))


def four_bits(pages: FloatArray) -> FloatArray:
    """Sixteen levels up to half of the page's largest component; few are larger, and those become that."""
    step = np.abs(pages).max(axis=(1, 2), keepdims=True) / 15
    return ((np.clip(np.floor(pages / step), -8, 7) + 0.5) * step).astype(np.float32)


# Measures


def measure(one: Encoded, every: Sequence[Way]) -> Row:
    """nDCG@5 of every way: those in the program at all budgets, the others at the full one."""
    full = {
        b: graded(one, lambda q, budget: maxsim(q[: budget.r_q], one.pages[:, : budget.r_c]), b)
        for b in STOPS
    }
    found: Row = {"pages": len(one.ids), "queries": len(one.queries), "budgets": {}}
    for budget in reversed(STOPS):
        rows = [
            {
                "way": way.name,
                "kept": way.kept,
                "bytes_per_page": way.bytes_per_page(budget),
                **against(graded(one, way.score, budget), full[budget]),
            }
            for way in every
            if budget == FULL or way.name in KINDS
        ]
        found["budgets"][str(budget)] = {"full": round(float(full[budget].mean()), 4), "rows": rows}
    return found


def graded(one: Encoded, score: Score, budget: Budget) -> NDArray[np.float64]:
    """nDCG@5 of every query (m,)."""
    # Rounded as the index does it, so that equal scores keep their order.
    rankings = {key: rank(score(q, budget).round(5), one.ids) for key, q in one.queries.items()}
    each: Mapping[str, float] = quality(rankings, one.judgements)["each"]
    return np.array([each[key] for key in one.queries])


def against(values: NDArray[np.float64], full: NDArray[np.float64]) -> Row:
    """The mean of `values` (m,), and its share of the mean of `full` (m,) with the 95% interval."""
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    shares = values[drawn].mean(1) / full[drawn].mean(1)
    return {
        "ndcg@5": round(float(values.mean()), 4),
        "of_full": round(float(values.mean() / full.mean()), 4),
        "ci95": [round(float(edge), 4) for edge in np.percentile(shares, [2.5, 97.5])],
    }


def latency(one: Encoded, made: Mapping[str, Codec], count: int) -> Row:
    """Median milliseconds to score `count` pages, kinds in turn, at two budgets; and to encode one page."""
    timed = {}
    for name, one_codec in made.items():
        codes = one_codec.encode(one.pages)
        timed[name] = stored(name, one_codec, [array[np.arange(count) % len(array)] for array in codes])
    encoding = in_turn({name: partial(one_codec.encode, one.pages) for name, one_codec in made.items()})
    asked = list(one.queries.values())[:TIMED_QUERIES]
    found: Row = {
        "pages": count,
        "encode_ms_per_page": {name: round(ms / len(one.pages), 3) for name, ms in encoding.items()},
        "budgets": {},
    }
    for budget in (FULL, Budget(8, 16)):
        times = in_turn({name: partial(_ask, way, asked, budget) for name, way in timed.items()})
        found["budgets"][str(budget)] = {name: round(ms / len(asked), 2) for name, ms in times.items()}
    return found


def in_turn(jobs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of each job, all of them in turn, ROUNDS times after one that may compile."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(ROUNDS + 1):
        for name, job in jobs.items():
            started = perf_counter()
            job()
            if turn:
                times[name].append(1000 * (perf_counter() - started))
    return {name: statistics.median(ms) for name, ms in times.items()}


def _ask(way: Way, asked: Sequence[FloatArray], budget: Budget) -> None:
    for q in asked:
        way.score(q, budget)


def table(found: Row) -> str:
    """Markdown: a row for every way at the full budget."""
    by_set = [found["sets"][name]["budgets"][str(FULL)]["rows"] for name in SETS]
    times = found["latency"]["budgets"][str(FULL)]
    head = ["kept as", "bytes a page", *SETS, f"ms, {found['latency']['pages']:,} pages"]
    lines = [head, ["---"] * len(head)]
    for same in zip(*by_set, strict=True):
        time = times.get(same[0]["way"])
        lines.append(
            [
                same[0]["way"] + ("" if same[0]["kept"] else " (not in the program)"),
                f"{same[0]['bytes_per_page']:,}",
                *map(_share, same),
                "" if time is None else f"{time:.1f}",
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(row: Row) -> str:
    low, high = (100 * edge for edge in row["ci95"])
    return f"{row['ndcg@5']:.3f}, {100 * row['of_full']:.1f}% ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
