"""A checkpoint exported by us, opened by others: the same vectors and MaxSim scores, at every budget."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from metaembed_demo.core.types import FloatArray, Page, Query, Word
from metaembed_demo.encoders.vlm.encoder import VLM
from metaembed_demo.encoders.vlm.export import export_multi_vector, export_pylate
from metaembed_demo.encoders.vlm.prompts import Item
from metaembed_demo.index.maxsim import maxsim
from tests.support.tiny_vlm import encoder, picture

from .environments import run_foreign

# A vector's component, and a score's share of one query token. Two networks in float32 differ by 1e-6.
TOLERANCE = 1e-4
QUERIES = [
    "hello",
    "a longer query, this is",
    "Wie viel Strom wurde verbraucht?",
    "x",
    "energy 2024: 1.2 GWh",
]
TEXTS = ["a page without picture", "short", "the second page of text, which is longer than the first one"]
SIZES = ((60, 90), (120, 40), (33, 160), (64, 64), (256, 256), (210, 297))
EXPORTS = {"sentence_transformers": export_multi_vector, "pylate": export_pylate}


def check(name: str, by: str, python: Path, folder: Path) -> dict[str, Any]:
    """Differences between ours and `by`'s on a tiny random checkpoint of the backbone `name`.

    by: a key of EXPORTS. folder: where the export and its items are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = encoder(name, bias=True)
    pictures = [picture(seed, *size) for seed, size in enumerate(SIZES)]
    asked = [("", picture(7)), ("and a caption", picture(8))]
    items = _written(folder, pictures, asked)
    pages = [Page(str(i), "t.pdf", i + 1, None, _words(text)) for i, text in enumerate(TEXTS)]
    pages += [Page(f"p{i}", "p.pdf", i + 1, image) for i, image in enumerate(pictures)]
    queries = [*map(Query, QUERIES), *(Query(text, image) for text, image in asked)]
    ours_q = np.stack([made.encode_queries([query])[0].vectors for query in queries])
    ours_p = np.stack([made.encode_pages([page])[0].vectors for page in pages])
    pixels = [_pixels(made, image) for image in (*pictures, *(image for _, image in asked))]
    budgets = [(b.r_q, b.r_c) for b in made.budgets]
    EXPORTS[by](made, folder / "model")
    run_foreign(python, f"opened_by_{by}.py", folder / "model", items, folder / "theirs.npz")
    theirs = np.load(folder / "theirs.npz")
    return {
        "backbone": name,
        "opened_by": by,
        **_compared(ours_q, ours_p, theirs, budgets, pixels),
        "versions": json.loads(str(theirs["said"])),
    }


def _compared(
    ours_q: FloatArray, ours_p: FloatArray, theirs: Any, budgets: Sequence[tuple[int, int]], pixels: list[Any]
) -> dict[str, Any]:
    """The largest differences of vectors, by kind of item, and of scores; "own": by the foreign MaxSim.

    Items of whose picture the two processors made other pixels are apart from the rest.
    """
    same = np.array([_same(mine, theirs[f"pixels{i}"]) for i, mine in enumerate(pixels)])
    alike_p = np.concatenate([np.ones(len(TEXTS), bool), same[: len(SIZES)]])
    alike_q = np.concatenate([np.ones(len(QUERIES), bool), same[len(SIZES) :]])
    off_q, off_p = _off(ours_q, theirs["queries"]), _off(ours_p, theirs["pages"])
    worded_q, worded_p = np.arange(len(off_q)) < len(QUERIES), np.arange(len(off_p)) < len(TEXTS)
    kinds = {
        "queries, words": off_q[worded_q],
        "queries, picture": off_q[~worded_q & alike_q],
        "pages, words": off_p[worded_p],
        "pages, picture": off_p[~worded_p & alike_p],
        "other pixels": np.concatenate([off_q[~alike_q], off_p[~alike_p]]),
    }
    of_budget = {}
    for r_q, r_c in budgets:
        ours = _scores(ours_q[:, :r_q], ours_p[:, :r_c])
        other = _scores(theirs["queries"][:, :r_q], theirs["pages"][:, :r_c])
        of_budget[f"{r_q}x{r_c}"] = np.abs(ours - other)
    alike = np.outer(alike_q, alike_p)
    own = np.abs(_scores(ours_q, ours_p) - theirs["scores"])
    worst = max(
        float(values.max()) for kind, values in kinds.items() if len(values) and kind != "other pixels"
    )
    return {
        "items": {kind: len(values) for kind, values in kinds.items()},
        "vectors_differ_by": {kind: float(values.max()) for kind, values in kinds.items() if len(values)},
        "scores_differ_by": {budget: float(off[alike].max()) for budget, off in of_budget.items()},
        "own_scores_differ_by": float(own[alike].max()),
        **({} if alike.all() else {"scores_of_other_pixels_differ_by": float(own[~alike].max())}),
        "equal": worst < TOLERANCE and float(own[alike].max()) < TOLERANCE * ours_q.shape[1],
    }


def _scores(queries: FloatArray, pages: FloatArray) -> FloatArray:
    return np.stack([maxsim(query, pages) for query in queries])


def _off(ours: FloatArray, theirs: FloatArray) -> FloatArray:
    if ours.shape != theirs.shape:
        raise ValueError(f"Ours are {ours.shape}, theirs {theirs.shape}.")
    return np.asarray(np.abs(ours - theirs).max(axis=(1, 2)))


def _same(mine: FloatArray, theirs: FloatArray) -> bool:
    return mine.shape == theirs.shape and bool(np.abs(mine - theirs).max() < 1e-6)


def _pixels(made: VLM, image: Image) -> FloatArray:
    inputs, _ = made.inputs([Item("", image)], of_queries=False)
    return np.asarray(inputs["pixel_values"])


def _words(text: str) -> tuple[Word, ...]:
    return tuple(Word(word, (0, 0, 1, 1)) for word in text.split())


def _written(folder: Path, pictures: list[Image], asked: list[tuple[str, Image]]) -> Path:
    """The items as a foreign program reads them."""
    for i, image in enumerate(pictures):
        image.save(folder / f"page{i}.png")
    for i, (_, image) in enumerate(asked):
        image.save(folder / f"query{i}.png")
    said = {
        "queries": QUERIES,
        "asked": [(text, f"query{i}.png") for i, (text, _) in enumerate(asked)],
        "texts": TEXTS,
        "pictures": [f"page{i}.png" for i in range(len(pictures))],
    }
    (folder / "items.json").write_text(json.dumps(said))
    return folder / "items.json"
