"""Draws docs/index-*.png from index.json and scale.json: `python -m benchmarks.speed.plots`. Chromium
draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from playwright.sync_api import sync_playwright

from benchmarks import RESULTS
from benchmarks._browser import launch
from metaembed_demo.core.config import ROOT

BLUE, GOLD, GREY, TEAL = "#234b8c", "#9a6700", "#5b6473", "#1f7a8c"


def recall(found: dict[str, Any]) -> go.Figure:
    """Recall over latency at (16,64): the targets of the cascade, beside scanning every page."""
    ways = found["budgets"]["16x64"]["ways"]
    figure = go.Figure()
    cascade = [(n.rsplit(" ", 1)[1], row) for n, row in ways.items() if n.startswith("cascade")]
    figure.add_scatter(
        x=[row["p50_ms"] for _, row in cascade],
        y=[row["recall_at_10"] for _, row in cascade],
        text=[f"target {target}" for target, _ in cascade],
        textposition="bottom right",
        mode="lines+markers+text",
        line={"color": BLUE, "width": 3},
        marker={"size": 9},
        name="cascade: (8,16) in int8, then exact",
    )
    points = [("exact, every page", "exact: every page, float16", GOLD, 1.0)]
    points += [(n, "inverted lists, then exact", TEAL, None) for n in ways if n.startswith("inverted")]
    for way, name, colour, value in points:
        row = ways[way]
        y = value if value is not None else row["recall_at_10"]
        figure.add_scatter(
            x=[row["p50_ms"]], y=[y], mode="markers", marker={"size": 11, "color": colour}, name=name
        )
    figure.update_xaxes(type="log", title="ms a query, p50", tickvals=[50, 70, 100, 150, 200, 300, 500])
    figure.update_yaxes(title="recall@10")
    return styled(figure, f"{found['pages']:,} real pages at 16 × 64")


def latency(found: dict[str, Any]) -> go.Figure:
    """Latency over pages, both axes logarithmic."""
    figure = go.Figure()
    real = [(row["pages"], row["total"]["p50_ms"]) for row in found["real"]]
    lines = [("real pages, 64 × 384", real, BLUE, "solid")]
    if "million" in found:
        warm = found["million"]["warm"]
        made = [(warm["pages"], warm["total"]["p50_ms"])]
        ten = found["ten_million"]
        lines.append(("made pages, 64 × 128", made, GOLD, "solid"))
        lines.append(("ten million, by arithmetic", [made[0], (ten["pages"], ten["total_ms"])], GOLD, "dot"))
    for name, points, colour, dash in lines:
        figure.add_scatter(
            x=[pages for pages, _ in points],
            y=[ms for _, ms in points],
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 3},
            marker={"size": 9},
        )
    figure.update_xaxes(type="log", title="pages", dtick=1)
    figure.update_yaxes(type="log", title="ms a query, p50", dtick=1, tickformat=",d")
    return styled(figure, "Search at 16 × 64, recall target 0.99")


def styled(figure: go.Figure, title: str) -> go.Figure:
    return figure.update_layout(
        template="plotly_white",
        title={"text": title, "font": {"size": 18}},
        font={"family": "sans-serif", "size": 14, "color": GREY},
        legend={"orientation": "h", "y": -0.22},
        width=900,
        height=520,
        margin={"l": 70, "r": 30, "t": 60, "b": 90},
    )


def draw(figure: go.Figure, target: Path) -> None:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 900, "height": 520}, device_scale_factor=2)
        page.set_content(figure.to_html(include_plotlyjs=True, config={"staticPlot": True}))
        page.wait_for_selector(".main-svg")
        page.screenshot(path=target, clip={"x": 0, "y": 0, "width": 900, "height": 520})
        browser.close()


def main() -> None:
    for name, kind in {"index": recall, "scale": latency}.items():
        file = RESULTS / f"{name}.json"
        if file.exists():
            target = {"index": "index-recall", "scale": "index-latency"}[name]
            draw(kind(json.loads(file.read_text())), ROOT / "docs" / f"{target}.png")


if __name__ == "__main__":
    main()
