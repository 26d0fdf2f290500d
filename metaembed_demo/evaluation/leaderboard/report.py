"""Benchmark reports: scores by task and budget, and their means, as JSON and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from metaembed_demo.core import disk

from .embedding_cache import Vectors

Row = dict[str, Any]


def summarise(
    name: str,
    vectors: Vectors,
    rows: Sequence[Row],
    skipped: Mapping[str, str],
    parts: Mapping[str, Sequence[str]],
    out: Path,
) -> Row:
    """Write `out`/summary.json and summary.md; returns the contents of summary.json.

    Args:
        name: of the benchmark.
        rows: one per task: name, metric, and score at each budget.
        skipped: task -> reason.
        parts: part -> names of its tasks, which get a separate mean.
    """
    summary = {
        "benchmark": name,
        "encoder": vectors.encoder.name,
        "fingerprint": vectors.encoder.fingerprint,
        "read_words": vectors.read_words,
        "mteb": version("mteb"),
        "tasks": list(rows),
        "mean": _mean(rows),
        "skipped": skipped,
    }
    if parts:
        of = {part: [row for row in rows if row["task"] in names] for part, names in parts.items()}
        summary["parts"] = {
            part: {"tasks": len(found), "of": len(parts[part]), "scores": _mean(found)}
            for part, found in of.items()
            if found
        }
    out.mkdir(parents=True, exist_ok=True)
    disk.write_json(out / "summary.json", summary)
    disk.write(out / "summary.md", markdown(summary).encode())
    return summary


def _mean(rows: Sequence[Row]) -> dict[str, float]:
    """Mean over tasks, per budget."""
    return {
        budget: round(float(np.mean([row["scores"][budget] for row in rows])), 5)
        for budget in rows[0]["scores"]
    }


def markdown(summary: Row) -> str:
    """A summary as a table with scores in percent, followed by the skipped tasks.

    >>> row = {"task": "Pages", "metric": "ndcg_at_5", "scores": {"1x1": 0.5, "16x64": 0.75}}
    >>> print(markdown({"benchmark": "B", "encoder": "E", "fingerprint": "f", "tasks": [row],
    ...                 "mean": row["scores"], "skipped": {"Film": "there is no encoder of video"}}))
    B, E (f)
    <BLANKLINE>
    | Task | Metric | 1x1 | 16x64 |
    | --- | --- | ---: | ---: |
    | Pages | ndcg_at_5 | 50.0 | 75.0 |
    | **Mean of 1 of 2** |  | 50.0 | 75.0 |
    <BLANKLINE>
    - Film was skipped: there is no encoder of video.
    <BLANKLINE>
    """
    budgets, tasks, skipped = list(summary["mean"]), summary["tasks"], summary["skipped"]

    def line(task: str, metric: str, scores: Mapping[str, float]) -> str:
        return f"| {task} | {metric} | {' | '.join(f'{100 * scores[b]:.1f}' for b in budgets)} |"

    lines = [
        f"{summary['benchmark']}, {summary['encoder']} ({summary['fingerprint']})",
        "",
        f"| Task | Metric | {' | '.join(budgets)} |",
        f"| --- | --- |{' ---: |' * len(budgets)}",
        *(line(row["task"], row["metric"], row["scores"]) for row in tasks),
        *(
            line(f"*{part}, {found['tasks']} of {found['of']}*", "", found["scores"])
            for part, found in summary.get("parts", {}).items()
        ),
        line(f"**Mean of {len(tasks)} of {len(tasks) + len(skipped)}**", "", summary["mean"]),
        *([""] if skipped else []),
        *(f"- {task} was skipped: {why.rstrip('.')}." for task, why in skipped.items()),
    ]
    return "\n".join(lines) + "\n"
