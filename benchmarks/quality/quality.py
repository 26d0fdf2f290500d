"""Quality on the frozen dev sets: `python -m benchmarks.quality.quality` writes quality.json and
docs/quality-*.png; with other `--weights` a file of their own, and no pictures.

Every row of a set is measured in one run on the same words: Mini at its five budgets, BM25, MiniLM as one
vector, as its best chunk and as all its tokens, and, where `--without-mmr` names weights, Mini trained
without MMR. Beside each mean stands its bootstrap 95% interval; `gains` holds paired differences. `ways` are
Words, Both, refinement and Auto with the cells that they compute (benchmarks/quality/ways.py), Col-Bandit
among them, and `mean` is over all sets; collections are kept in --cache. `--ways` measures these alone, and
draws quality-cells.png. Run benchmarks/quality/devsets.py first; Chromium draws the plots.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from benchmarks import results_of
from benchmarks._browser import screenshot
from benchmarks.quality import ways
from metaembed_demo.collection.collection import Collection
from metaembed_demo.collection.progress import Report
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import BYTES_PER_COMPONENT, PATHS, ROOT
from metaembed_demo.core.types import Page
from metaembed_demo.encoders.base import Encoder
from metaembed_demo.encoders.mini.encoder import Mini
from metaembed_demo.evaluation import mmr_effect
from metaembed_demo.evaluation.baselines import baselines
from metaembed_demo.evaluation.beir import Beir, Judgements, collect, load_beir
from metaembed_demo.evaluation.evaluate import encode, evaluate, quality
from metaembed_demo.evaluation.metrics import Row, gain, rank
from metaembed_demo.evaluation.run_files import gains
from metaembed_demo.index.maxsim import maxsim

SETS = {
    "long": "Long technical pages, natural questions",
    "business": "Business pages with a text layer",
    "business-scans": "The same pages, scanned",
    "pictures": "Drawings, asked for by title",
    "pictures-alike": "Drawings, asked for by another of the same thing",
}
BLUE = "#234b8c"
COLOURS = ("#9a6700", "#5b6473", "#1f7a8c", "#7a2331", "#2f5d3a")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devsets", type=Path, default=PATHS.cache / "devsets")
    parser.add_argument("--weights", type=Path, default=PATHS.mini_weights)
    parser.add_argument("--without-mmr", type=Path, help="weights of `train --no-mmr`")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--plots-only", action="store_true", help="draw what quality.json holds")
    parser.add_argument("--ways", action="store_true", help="only Words, Both, GQR, Auto; of all sets")
    parser.add_argument("--cache", type=Path, default=PATHS.cache / "fusion", help="as fusion.py keeps it")
    options = parser.parse_args()
    out = results_of("quality", options.weights)
    found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"sets": {}}
    if options.ways:
        encoder = Mini.load(options.weights)
        found["ways"] = ways.measure([options.devsets / name for name in SETS], options.cache, encoder)
        out.write_text(json.dumps(found, indent=1) + "\n")
    elif not options.plots_only:
        encoder = Mini.load(options.weights)
        plain = Mini.load(options.without_mmr) if options.without_mmr else None
        found["machine"] = {"python": platform.python_version(), "encoder": encoder.fingerprint}
        for name in options.sets:
            # Without MMR is about text; a collection keeps no views to encode its pictures again with.
            other = None if name.startswith("pictures") else plain
            found["sets"][name] = measure(options.devsets / name, encoder, other, options.cache)
            out.write_text(json.dumps(found, indent=1) + "\n")
            tell(name, found["sets"][name])
        if plain and out.stem == "quality":
            mmr_effect.write(PATHS.assets / mmr_effect.NAME, effect(found["sets"], encoder.fingerprint))
    if out.stem == "quality":
        draw_all(found, options.ways)


def draw_all(found: dict[str, Any], only_ways: bool) -> None:
    if "ways" in found:
        draw_cells(found["ways"], ROOT / "docs" / "quality-cells.png")
    for name in [] if only_ways else found["sets"]:
        draw(name, found["sets"][name], ROOT / "docs" / f"quality-{name}.png")


def measure(folder: Path, encoder: Encoder, plain: Encoder | None, cache: Path) -> dict[str, Any]:
    """All rows of one dev set, and the paired gains between them. The collection is kept in `cache`."""
    beir = load_beir(folder)
    report = Report()
    collection = collect(beir, encoder, report, keep=cache / folder.name)
    assert not report.problems, report.problems
    judgements = Judgements(beir.qrels, collection)
    found = evaluate(collection, encoder, beir, judgements)
    del found["rankings"]
    rows: list[Row] = [*baselines(collection, beir, judgements)]
    if plain:
        found["without_mmr"] = without_mmr(plain, collection, beir, judgements)
        rows += [found["without_mmr"][-1], found["without_mmr"][0]]
    budgets = found["budgets"]
    lowest, highest = budgets[0], budgets[-1]
    found["baselines"] = rows
    found["gains"] = {
        **gains(budgets),
        f"{highest['budget']} over {lowest['budget']}": gain(highest, lowest),
        **{f"{highest['budget']} over {row['name']}": gain(highest, row) for row in rows},
        **{f"{lowest['budget']} over {row['name']}": gain(lowest, row) for row in rows},
    }
    for row in [*budgets, *rows, *found.get("without_mmr", [])]:
        row.pop("each", None)
    return found


def without_mmr(encoder: Encoder, collection: Collection, beir: Beir, judgements: Judgements) -> list[Row]:
    """Mini trained at the finest budget alone, cut to each stop, as in the paper's ablation.

    `encoder` reads the same words as stand in `collection`.
    """
    ids = list(collection.pages)
    pages = [Page(i, page.source, page.number, None, page.words) for i, page in collection.pages.items()]
    vectors = np.stack([embedding.vectors for embedding in encoder.encode_pages(pages)])
    queries, _ = encode(encoder, beir, list(judgements.judged))
    rows = []
    for budget in STOPS:
        rankings = {
            key: rank(maxsim(query[: budget.r_q], vectors[:, : budget.r_c]), ids)
            for key, query in queries.items()
        }
        size = BYTES_PER_COMPONENT * encoder.dim * budget.r_c
        rows.append(
            {
                "name": f"Mini trained without MMR, {budget}",
                **quality(rankings, judgements),
                "bytes_per_page": size,
            }
        )
    return rows


def effect(sets: dict[str, Any], encoder: str) -> mmr_effect.MmrEffect:
    """The mean curves over the sets that were measured with both models."""
    both = {name: found for name, found in sets.items() if "without_mmr" in found}
    curves = [
        np.mean([[row["ndcg@5"] for row in found[rows]] for found in both.values()], 0)
        for rows in ("budgets", "without_mmr")
    ]
    pages, queries = (sum(found[key] for found in both.values()) for key in ("pages", "queries"))
    return mmr_effect.MmrEffect(
        encoder, tuple(both), pages, queries, *(tuple(each.tolist()) for each in curves)
    )


def tell(name: str, found: dict[str, Any]) -> None:
    print(f"\n{SETS[name]}: {found['pages']} pages, {found['queries']} queries")
    for row in [*found["budgets"], *found["baselines"]]:
        low, high = row["ci95"]["ndcg@5"]
        label = row.get("budget") or row["name"]
        found_5 = f"recall@5 {row['recall@5']:.3f}  hit@5 {row['hit@5']:.3f}"
        print(f"  {label:45} nDCG@5 {row['ndcg@5']:.3f} ({low:.3f}-{high:.3f})  {found_5}")
    for between, points in found["gains"].items():
        print(f"  {between}: {points['points']:+.1f} ({points['ci95'][0]:+.1f} to {points['ci95'][1]:+.1f})")


def draw(name: str, found: dict[str, Any], target: Path) -> None:
    """Quality over bytes a page: the curve of budgets with its intervals, and every baseline as a point."""
    figure = go.Figure()
    budgets = found["budgets"]
    figure.add_scatter(
        x=[row["bytes_per_page"] for row in budgets],
        y=[row["ndcg@5"] for row in budgets],
        error_y=bars(budgets),
        text=[row["budget"].replace("x", " × ") for row in budgets],
        textposition="bottom right",
        mode="lines+markers+text",
        line={"color": BLUE, "width": 3},
        marker={"size": 9},
        name="MetaEmbed-Mini",
    )
    for row, colour in zip(found["baselines"], COLOURS, strict=False):
        figure.add_scatter(
            x=[max(row["bytes_per_page"], 1)],
            y=[row["ndcg@5"]],
            mode="markers",
            marker={"size": 12, "symbol": "diamond", "color": colour},
            name=row["name"],
        )
    title = f"{SETS[name]}: {found['pages']} pages, {found['queries']} queries"
    finish(figure, title, {"title": "bytes a page (float16)"}, target)


def draw_cells(found: dict[str, Any], target: Path) -> None:
    """Quality over computed cells, the mean over the dev sets: fixed stops, Auto, and both with words."""
    figure = go.Figure()
    rows = found["mean"]["rows"]
    curves = {
        "fixed stops": ("Meaning", "lines+markers+text", "bottom right", "circle", BLUE),
        "fixed stops with words": ("Both", "lines+markers", "top center", "circle", COLOURS[4]),
        "Auto": ("Auto", "markers", "top center", "diamond", BLUE),
        "Auto with words": ("Auto with words", "markers", "top center", "diamond", COLOURS[4]),
    }
    for label, (name, mode, position, symbol, colour) in curves.items():
        of_name = sorted((row for row in rows if row["name"] == name), key=lambda row: row["cells"])
        figure.add_scatter(
            x=[100 * row["cells"] for row in of_name],
            y=[row["ndcg@5"] for row in of_name],
            error_y=bars(of_name),
            text=[row.get("budget", "").replace("x", " × ") for row in of_name],
            textposition=position,
            mode=mode,
            line={"color": colour, "width": 3},
            marker={"size": 9 if symbol == "circle" else 14, "symbol": symbol, "color": colour},
            name=label,
        )
    shares = [0.1, 0.3, 1, 3, 10, 30, 100]
    axis = {"title": "share of the cells of 16 × 64 computed, %", "tickvals": shares, "range": [-1.2, 2.45]}
    finish(figure, f"Quality over computed cells, mean of {len(found['sets'])} dev sets", axis, target)


def bars(rows: Sequence[Row]) -> dict[str, Any]:
    """Error bars of the 95% intervals."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [row["ci95"]["ndcg@5"][1] - row["ndcg@5"] for row in rows],
        "arrayminus": [row["ndcg@5"] - row["ci95"]["ndcg@5"][0] for row in rows],
        "thickness": 1,
    }


def finish(figure: go.Figure, title: str, xaxis: dict[str, Any], target: Path) -> None:
    figure.update_layout(
        template="simple_white",
        title=title,
        xaxis={"type": "log", **xaxis},
        yaxis={"title": "nDCG@5, 95% interval", "showgrid": True},
        font={"family": "DejaVu Sans, sans-serif", "size": 14},
        legend={"orientation": "h", "y": -0.2},
        width=1000,
        height=600,
    )
    screenshot(figure.to_html(include_plotlyjs=True, config={"displayModeBar": False}), target)


if __name__ == "__main__":
    main()
