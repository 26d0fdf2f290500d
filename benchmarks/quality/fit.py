"""Does anything fit? `python -m benchmarks.quality.fit` writes fit.json.

Per set and budget, own queries (judged ones) against foreign ones: the shipped list with gibberish, and the
questions of the other sets. AUC of the first hit's mean cosine, with its bootstrap 95% interval; reliability
and expected calibration error (ECE) of the chance that the first hit is a judged page, both kinds weighing
one half; own queries of which it is said that nothing fits (missed), and foreign ones of which it is not
(passed). By the samples' calibration, by one of the set's own judged queries (held out, five folds), and by
one of known-item queries. `left out`: own queries against themselves with their document taken out, which
are foreign, but on the subject. `sizes`: random halves of the pages. `page`: what the page says in mode both.
`language`: questions told to be in a language that is not read. Encoded sets are kept in --cache.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import results_of
from benchmarks.quality.fusion import encoded as encoded_set
from metaembed_demo.collection import fitting
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.fitting import NOTHING
from metaembed_demo.collection.modes import BOTH
from metaembed_demo.collection.progress import Report
from metaembed_demo.collection.ranker import How
from metaembed_demo.collection.search import research, search
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import PATHS
from metaembed_demo.core.types import FloatArray, Query
from metaembed_demo.documents import language
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.evaluation import shipped_samples
from metaembed_demo.evaluation.beir import Beir, Judgements, collect, digests_of, load_beir
from metaembed_demo.evaluation.fit_study import (
    Means,
    answers_of,
    bins_of,
    calibrated,
    encoded,
    expected_error,
    folds,
    foreign_questions,
    foreign_texts,
    gibberish,
    held_out,
    mean_cosines,
    reliability,
    together,
)
from metaembed_demo.evaluation.known_items import known_items
from metaembed_demo.index.fit import FitCalibration

SETS = ("long", "business")
SAMPLES = "samples"
EMOJI = ("😀", "🎉🎉", "🐱🐶", "🚀 🌕", "❤️", "👍👍👍", "🍕", "⚽🏀", "🌈☀️", "🤖", "...", "???", "!!!")
FOLDS, RESAMPLES, BINS, KNOWN = 5, 300, 10, 100
SHOWN = 60  # queries of a kind that are searched for what the page says of them
Chances = NDArray[np.float64]


@dataclass
class Scored:
    """A set: its pages, its questions, and the mean cosines of all pages."""

    name: str
    collection: Collection
    beir: Beir
    asked: list[str]
    vectors: Sequence[FloatArray]
    means: Means
    known: Means  # of known-item queries
    others: FloatArray  # (5, queries, pages): questions of the other sets


def scored(name: str, folder: Path, cache: Path, encoder: Mini, foreign: Sequence[FloatArray]) -> Scored:
    beir = load_beir(folder)
    if name == SAMPLES:
        shipped = shipped_samples.read(PATHS.shipped_samples, encoder, beir.files, digests_of(beir))
        assert shipped is not None
        collection = shipped.collection
    else:
        report = Report()
        collection = collect(beir, encoder, report, keep=cache / name)
        assert not report.problems, report.problems
    judgements = Judgements(beir.qrels, collection)
    keys = [key for key in judgements.judged if beir.queries[key].image is None]
    vectors, asked = encoded_set(beir, keys, encoder, cache / f"{name}-queries.npz")
    items = known_items(collection, KNOWN)
    of_items = mean_cosines(collection, encoded(encoder, [item.query.text for item in items]))
    found = mean_cosines(collection, foreign)
    pages = np.array(collection.index.ids)
    theirs = np.stack([pages == item.page_id for item in items])
    means = Means(mean_cosines(collection, list(vectors)), found, answers_of(collection, judgements, keys))
    known = Means(of_items, found, theirs)
    return Scored(name, collection, beir, asked, list(vectors), means, known, found[:, :0])


# Rows


def measure(sets: Sequence[Scored], samples: FitCalibration) -> dict[str, Any]:
    return {
        one.name: {
            "pages": len(one.collection),
            "questions": len(one.asked),
            "budgets": rows(one, samples),
            "sizes": sizes(one, samples),
        }
        for one in sets
    }


def rows(one: Scored, samples: FitCalibration) -> list[Any]:
    own, right = one.means.firsts()
    foreign, others = one.means.foreign.max(axis=2), one.others.max(axis=2)
    known, pages = calibrated(one.known), len(one.collection)
    by_folds = folds(one.means)
    left_out = without_their_documents(one)
    kinds = kinds_of_foreign()
    found = []
    for at, stop in enumerate(STOPS):
        tested = {"list": foreign[at], "other sets": others[at]}
        row: dict[str, Any] = {"budget": str(stop), "first_is_judged": share(right[at])}
        row["auc"] = {name: auc(own[at], means) for name, means in tested.items()}
        row["auc"] |= {kind: auc(own[at], foreign[at][kinds == kind]) for kind in sorted(set(kinds))}
        row["auc"]["left out"] = auc(own[at], left_out[at])
        row["calibrations"] = {
            name: {
                against: told(own_chances(at), right[at], other_chances(means))
                for against, means in tested.items()
                for own_chances, other_chances in [_chances(by, by_folds, own, at, pages)]
            }
            for name, by in (("samples", samples), ("known items", known), ("own, held out", None))
        }
        chances = samples.chances(left_out[at], stop, pages)
        row["left_out_passed"] = share(chances >= NOTHING)
        found.append(row)
    return found


def _chances(
    by: FitCalibration | None, by_folds: Sequence[FitCalibration], own: FloatArray, at: int, pages: int
) -> Any:
    """Functions that give the chances of own queries at a stop, and of other means; None: by the folds."""
    stop = STOPS[at]
    if by is not None:
        return (lambda at: by.chances(own[at], stop, pages)), (lambda means: by.chances(means, stop, pages))

    return (
        (lambda at: held_out(by_folds, own[at], stop, pages)),
        (lambda means: held_out(by_folds, means, stop, pages)),
    )


def told(own: Chances, right: NDArray[np.bool_], foreign: Chances) -> dict[str, Any]:
    """Reliability of the chances, its expected error, and the shares on the wrong side of NOTHING."""
    chances, answers, weights = together(own, right, foreign)
    return {
        "ece": round(expected_error(chances, answers, weights, BINS), 4),
        "missed": share(own < NOTHING),
        "passed": share(foreign >= NOTHING),
        "curve": bins_of(chances, answers, weights, BINS),
    }


def without_their_documents(one: Scored) -> FloatArray:
    """(5, queries): the first hit's mean cosine with the documents of a query's answers taken out."""
    sources = np.array([one.collection.pages[page_id].source for page_id in one.collection.index.ids])
    out = np.stack([np.isin(sources, sources[answers]) for answers in one.means.answers])
    return np.where(out[None], -1, one.means.own).max(axis=2)


def sizes(one: Scored, samples: FitCalibration) -> list[Any]:
    """The samples' calibration on random parts of the pages, with growth and without, over all stops."""
    rng, found = np.random.default_rng(3), []
    flat = replace(samples, growth=0.0)
    for halving in range(4):
        pages = len(one.collection) >> halving
        errors = []
        for _ in range(4 if halving else 1):
            columns = rng.permutation(len(one.collection))[:pages]
            has = one.means.answers[:, columns].any(axis=1)
            part = Means(
                one.means.own[:, has][:, :, columns],
                one.means.foreign[:, :, columns],
                one.means.answers[has][:, columns],
            )
            own, right = part.firsts()
            foreign = part.foreign.max(axis=2)
            for at, stop in enumerate(STOPS):
                by = [
                    told(c.chances(own[at], stop, pages), right[at], c.chances(foreign[at], stop, pages))
                    for c in (samples, flat)
                ]
                errors.append([each[name] for each in by for name in ("ece", "missed", "passed")])
        mean = np.mean(errors, axis=0).round(4).tolist()
        names = ("ece", "missed", "passed")
        found.append(
            {
                "pages": pages,
                "with growth": dict(zip(names, mean[:3], strict=True)),
                "without": dict(zip(names, mean[3:], strict=True)),
            }
        )
    return found


def on_the_page(one: Scored, encoder: Mini) -> dict[str, Any]:
    """Shares of queries by kind of which the page says that nothing fits well, in mode both, at two stops."""
    topics = foreign_questions()
    texts = {
        "own": one.asked[:: max(1, len(one.asked) // SHOWN)],
        "English topics": [text for code, text in topics if code == "en"][:SHOWN],
        "other languages": [text for code, text in topics if code != "en"][:SHOWN],
        "gibberish": gibberish(SHOWN // 2, seed=2),
        "emoji": EMOJI,
    }
    found: dict[str, Any] = {}
    for kind, each in texts.items():
        full = [search(one.collection, encoder, Query(text), STOPS[-1], 10, How(mode=BOTH)) for text in each]
        small = [research(one.collection, trace, STOPS[1], 10) for trace in full]
        for stop, traces in ((STOPS[-1], full), (STOPS[1], small)):
            said = [trace.fit.verdict for trace in traces]
            row = found.setdefault(str(stop), {}).setdefault(kind, {"asked": len(said)})
            row |= {name: share([verdict == name for verdict in said]) for name in ("nothing", "words")}
    return found


def languages(sets: Sequence[Scored]) -> dict[str, Any]:
    """Questions that are told to be in a language that is not read: rightly, by language, and wrongly."""
    english = {one.name: one.asked for one in sets}
    found: dict[str, Any] = {
        "wrongly": {
            name: [len(texts), sum(language.other_than(["en"], text) is not None for text in texts)]
            for name, texts in english.items()
        }
    }
    rightly: dict[str, list[int]] = {}
    for code, text in foreign_questions():
        count = rightly.setdefault(code, [0, 0, 0])
        of = language.other_than(["en"], text)
        for at, counts in enumerate((True, of is not None, of == code)):
            count[at] += counts
    return found | {"asked, told, named rightly": rightly}


def kinds_of_foreign() -> NDArray[Any]:
    kinds = ["English topics" if code == "en" else "other languages" for code, _ in foreign_questions()]
    return np.array(kinds + ["gibberish"] * (len(foreign_texts()) - len(kinds)))


def auc(own: FloatArray, foreign: FloatArray) -> list[float]:
    """The chance that an own query scores above a foreign one, and its bootstrap 95% interval."""
    rng = np.random.default_rng(1)
    above = (own[:, None] > foreign) + 0.5 * (own[:, None] == foreign)
    drawn = []
    for _ in range(RESAMPLES):
        rows, columns = (np.bincount(rng.integers(n, size=n), minlength=n) / n for n in above.shape)
        drawn.append(rows @ above @ columns)
    return [round(float(value), 4) for value in (above.mean(), *np.percentile(drawn, [2.5, 97.5]))]


def share(values: Any) -> float:
    return round(float(np.mean(values)), 4)


def tell(found: Mapping[str, Any]) -> None:
    for name, of in found["sets"].items():
        for row in of["budgets"]:
            low, high = row["auc"]["list"][1:]
            print(
                f"{name:9} {row['budget']:6} AUC {row['auc']['list'][0]:.3f} ({low:.3f}-{high:.3f})", end=""
            )
            print(
                f", other sets {row['auc']['other sets'][0]:.3f}, left out {row['auc']['left out'][0]:.3f}",
                end="",
            )
            for by, each in row["calibrations"].items():
                print(f"; {by}: ECE {each['list']['ece']:.3f}, {each['other sets']['ece']:.3f}", end="")
            print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devsets", type=Path, default=PATHS.cache / "devsets")
    parser.add_argument("--cache", type=Path, default=PATHS.cache / "fusion")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--weights", type=Path, default=PATHS.mini_weights)
    options = parser.parse_args()
    encoder = Mini.load(options.weights)
    foreign = encoded(encoder, foreign_texts())
    folders = {SAMPLES: PATHS.sample_corpus} | {name: options.devsets / name for name in options.sets}
    sets = [scored(name, folder, options.cache, encoder, foreign) for name, folder in folders.items()]
    for one in sets:
        theirs = [vectors for other in sets if other is not one for vectors in other.vectors]
        one.others = mean_cosines(one.collection, theirs)
    samples = replace(calibrated(sets[0].means), reliability=reliability(sets[0].means))
    fitting.keep(encoder.fingerprint, samples)
    found = {
        "machine": {"python": platform.python_version(), "encoder": encoder.fingerprint},
        "samples": samples.as_json(),
        "sets": measure(sets, samples),
        "page": {one.name: on_the_page(one, encoder) for one in sets},
        "language": languages(sets),
    }
    results_of("fit", options.weights).write_text(json.dumps(found, indent=1) + "\n")
    tell(found)


if __name__ == "__main__":
    main()
