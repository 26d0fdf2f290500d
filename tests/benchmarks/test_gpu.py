"""The measurements on a GPU: what they build is of the real size, and each part runs on a CPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import transformers as hf

from benchmarks.speed import gpu
from metaembed_demo.core.budgets import STOPS

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> gpu.Clock:
    """Runs everything once and takes it for a millisecond."""

    def once(_: gpu.Clock, run: Callable[[], object], **__: object) -> float:
        run()
        return 1.0

    monkeypatch.setattr(gpu.Clock, "ms", once)
    return gpu.Clock(CPU, limit_s=60)


@pytest.mark.parametrize(("name", "parameters"), [("3B", 3_754_622_976), ("7B", 7_747_169_280)])
def test_backbones_are_configured_in_their_real_size(name: str, parameters: int) -> None:
    words = gpu.tokenizer([f"<|{each}|>" for each in gpu.SPECIAL])
    with torch.device("meta"):
        model = hf.AutoModel.from_config(gpu.config(name, words))
    assert sum(weight.numel() for weight in model.parameters()) == parameters


def test_every_budget_is_measured_for_every_batch_and_agrees_with_the_cpu(clock: gpu.Clock) -> None:
    rows = list(gpu.maxsim(clock, 40, 16))
    measured = [(row["dtype"], row["budget"], row["queries"]) for row in rows if "dtype" in row]
    assert len(measured) == len(set(measured)) == 2 * len(STOPS) * len(gpu.BATCHES)
    assert [row["budget"] for row in rows if "page by page" in row] == [str(stop) for stop in STOPS]
    full = next(row for row in rows if row["budget"] == "16x64" and row["queries"] == 64)
    assert (full["ms_a_query"], full["gb_a_second"]) == (1 / 64, 40 * 64 * 16 * 2 / 1e6)
    assert [row["agree of 8"] for row in gpu.search(clock, 80, 16)] == [8] * len(STOPS)


@pytest.mark.slow
def test_pages_are_encoded_by_the_real_classes(clock: gpu.Clock) -> None:
    _, merged, query, *pages = gpu.encoding(clock, "tiny", 0)
    assert {"lora_ms", "merged_ms"} < set(merged)
    assert "query_ms" in query
    assert [(row["pages"], row["visual"]) for row in pages] == [(1, 247), (8, 247)]
    late = gpu.Clock(CPU, limit_s=-1)
    assert [row.get("left out") for row in gpu.encoding(late, "tiny", 0)][3:] == ["time"] * 2
