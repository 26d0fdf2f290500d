"""MaxSim and encoding on one GPU, with random vectors and weights in the sizes of the real ones: writes
benchmarks/results/gpu.json. Nothing is downloaded.

    python -m benchmarks.speed.gpu               # about five minutes on one GPU, with 60 GB of its memory
    python -m benchmarks.speed.gpu --tiny        # half a minute on a CPU: tries the program, only prints

- maxsim: 100,000 pages of 64 x 3584, the paper's Table 3, or as many as fit: the classes of the index, the
  best ten included, for batches of queries; and once page by page, without nested groups.
- search: GpuIndex as the app has it, its candidates scored again on the CPU, against exact search there.
- encoding: pages of A4 by Qwen2.5-VL as it is configured for 3 and 7 billion parameters, with 64 Meta Tokens:
  the network alone, and all of `encode_pages`. Words are bytes here, so prompts are longer than real ones.

Times are medians; what had no time or no memory is missing, and says so.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from benchmarks import RESULTS
from metaembed_demo.core.budgets import STOPS
from metaembed_demo.core.config import Vlm
from metaembed_demo.core.types import FloatArray, Page, Query
from metaembed_demo.encoders.vlm.encoder import VLM, create
from metaembed_demo.encoders.vlm.hardware import dtype_on
from metaembed_demo.encoders.vlm.prompts import Item
from metaembed_demo.index.gpu.index import GpuIndex
from metaembed_demo.index.gpu.vectors import DeviceVectors, free_bytes
from metaembed_demo.index.local import LocalIndex
from tests.support.tiny_vlm import QWEN_TEMPLATE, tokenizer

R_Q, R_C = STOPS[-1].r_q, STOPS[-1].r_c
K = 10
BATCHES = (1, 16, 64)  # queries
TABLE_3 = (100_000, 3584)  # pages, D
APP = (20_000, 384)
TINY = (300, 96)
STEP = 512  # pages made at a time
A4 = (992, 1403)  # pixels, at 120 dpi
TOKENS = (256, 768, 1024, 1280)  # largest numbers of visual tokens
PAGES = (1, 8, 32)  # at a time
# hidden, MLP, layers, heads, key-value heads, M-RoPE sections, rows of the vocabulary
SIZES = {
    "3B": (2048, 11008, 36, 16, 2, [16, 24, 24], 151936),
    "7B": (3584, 18944, 28, 28, 4, [16, 24, 24], 152064),
    "tiny": (64, 96, 2, 4, 2, [2, 3, 3], 1024),
}
# depth, hidden, MLP, heads, layers of full attention
SIGHT = {"tiny": (2, 32, 48, 2, [1])}
REAL_SIGHT = (32, 1280, 3420, 16, [7, 15, 23, 31])
IDS = {"image": "image_pad", "video": "video_pad", "vision_start": "vision_start", "vision_end": "vision_end"}
SPECIAL = ("im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad", "endoftext")
Row = dict[str, Any]


class Clock:
    """Times runs on `device`, within `limit_s` seconds for all of them."""

    def __init__(self, device: torch.device, limit_s: float) -> None:
        self.device, self.ends = device, time.monotonic() + limit_s

    @property
    def left_s(self) -> float:
        return self.ends - time.monotonic()

    def ms(self, run: Callable[[], object], least: int = 3, most: int = 30, seconds: float = 1.0) -> float:
        """The median milliseconds of `run`, after one run that is not counted."""
        run()
        times: list[float] = []
        ends = time.monotonic() + seconds
        while len(times) < least or (time.monotonic() < ends and len(times) < most):
            self.wait()
            began = time.perf_counter()
            run()
            self.wait()
            times.append((time.perf_counter() - began) * 1e3)
        return float(np.median(times))

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="small sizes, on a CPU")
    parser.add_argument("--limit", type=float, default=290, help="seconds for all of it")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/gpu.json; none with --tiny")
    given = parser.parse_args()
    if not given.tiny and not torch.cuda.is_available():
        raise SystemExit("There is no GPU here. --tiny tries this program on a CPU.")
    clock = Clock(torch.device("cpu" if given.tiny else "cuda"), given.limit)
    torch.manual_seed(0)
    found: dict[str, Any] = {"machine": machine(clock.device), "tiny": given.tiny}
    with torch.inference_mode():
        found["maxsim"] = told(maxsim(clock, *(TINY if given.tiny else TABLE_3)))
        found["search"] = told(search(clock, *(TINY if given.tiny else APP)))
        sizes = [("tiny", 0.0)] if given.tiny else [("3B", 0.3 * given.limit), ("7B", 0.0)]
        for name, until_s in sizes:
            found[f"encoding {name}"] = told(encoding(clock, name, until_s))
    out = given.out or (None if given.tiny else RESULTS / "gpu.json")
    if out:
        out.write_text(json.dumps(found, indent=1) + "\n")


def told(rows: Iterator[Row]) -> list[Row]:
    """All `rows`, each printed as it comes; what they took of the GPU is free again."""
    found = []
    for row in rows:
        found.append({key: round(x, 3) if isinstance(x, float) else x for key, x in row.items()})
        print(json.dumps(found[-1]), flush=True)
    torch.cuda.empty_cache()
    return found


def machine(device: torch.device) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {"device": name, "torch": torch.__version__, "transformers": hf.__version__}


# MaxSim


def maxsim(clock: Clock, pages: int, dim: int) -> Iterator[Row]:
    queries = unit(torch.randn(max(BATCHES), R_Q, dim))
    for dtype in (torch.bfloat16, torch.int8):
        yield from by_groups(clock, pages, queries, dtype)
    yield from page_by_page(clock, pages // 4, queries[0].to(clock.device, torch.bfloat16))


def by_groups(clock: Clock, pages: int, queries: torch.Tensor, dtype: torch.dtype) -> Iterator[Row]:
    """The index's own way: every budget reads its nested groups."""
    dim = queries.shape[2]
    size = min(pages, int(0.8 * free_bytes(clock.device)) // (R_C * dim * dtype.itemsize))
    held = random_vectors(size, dim, dtype, clock.device)
    same: Row = {"pages": size, "dim": dim, "dtype": str(dtype).removeprefix("torch.")}
    for stop, batch in product(STOPS, BATCHES):
        ms = clock.ms(partial(best, held, queries[:batch, : stop.r_q], stop.r_c))
        read = size * stop.r_c * dim * dtype.itemsize
        times = {"ms": ms, "ms_a_query": ms / batch, "gb_a_second": read / ms / 1e6}
        yield {**same, "budget": str(stop), "queries": batch, **times}


def best(held: DeviceVectors, queries: torch.Tensor, r_c: int) -> torch.Tensor:
    return held.scores(held.asked(queries), r_c).topk(K).indices


def page_by_page(clock: Clock, pages: int, query: torch.Tensor) -> Iterator[Row]:
    """For comparison: one query on pages that are kept whole, of which a budget is a slice."""
    size = min(pages, int(0.4 * free_bytes(clock.device)) // (2 * R_C * query.shape[1]))
    c = torch.randn(size, R_C, query.shape[1], dtype=query.dtype, device=clock.device)

    def run(r_q: int, r_c: int) -> torch.Tensor:
        return torch.einsum("qd,pjd->pqj", query[:r_q], c[:, :r_c]).amax(2).float().sum(1).topk(K).indices

    for stop in STOPS:
        ms = clock.ms(partial(run, stop.r_q, stop.r_c))
        yield {"pages": size, "page by page": True, "budget": str(stop), "queries": 1, "ms": ms}


def random_vectors(pages: int, dim: int, dtype: torch.dtype, device: torch.device) -> DeviceVectors:
    """Random unit vectors, made on the device."""
    held = DeviceVectors(R_C, dim, dtype, device, capacity=pages)
    for start in range(0, pages, STEP):
        made = unit(torch.randn(min(STEP, pages - start), R_C, dim, device=device))
        if dtype == torch.int8:
            scales = made.abs().amax((1, 2)) / 127
            held.add((made / scales[:, None, None]).round().to(torch.int8), scales)
        else:
            held.add(made)
    return held


def search(clock: Clock, pages: int, dim: int) -> Iterator[Row]:
    ours = GpuIndex(R_C, dim, device=clock.device)
    theirs = LocalIndex(R_C, dim)
    rng = np.random.default_rng(0)
    for start in range(0, pages, STEP):
        count = min(STEP, pages - start)
        topics = rng.standard_normal((count, 1, dim), np.float32)
        made = unit_rows(topics + rng.standard_normal((count, R_C, dim), np.float32))
        for index in (ours, theirs):
            index.add([f"p{start + i}" for i in range(count)], made)
    some = ours.full([f"p{i}" for i in rng.choice(pages, max(BATCHES))])[:, :R_Q]
    queries = unit_rows(some + rng.standard_normal(some.shape, np.float32) / dim**0.5)
    for stop in STOPS:
        exact = [theirs.search(query, stop, K, exact=True) for query in queries[:8]]
        agree = sum(
            [hit.page_id for hit in ours.search(query, stop, K)] == [hit.page_id for hit in hits]
            for query, hits in zip(queries, exact, strict=False)
        )
        counts = [len(ours.coarse(query, stop, K)) for query in queries[:8]]
        row: Row = {"pages": pages, "dim": dim, "budget": str(stop), "agree of 8": agree}
        row["candidates"] = float(np.median(counts))
        for batch in BATCHES:
            ms = clock.ms(partial(ours.search_many, list(queries[:batch]), stop, K), seconds=0.5)
            row[f"ms_a_query of {batch}"] = ms / batch
        yield row


# Encoding


def encoding(clock: Clock, name: str, until_s: float) -> Iterator[Row]:
    """until_s: what is to be left of the clock's time."""
    vlm = encoder(name, clock.device)
    yield {"model": name, "parameters": sum(w.numel() for w in vlm.network.parameters())}
    beside = forward_ms(clock, vlm.at(TOKENS[1]), PAGES[1])
    vlm.merge()
    yield {"model": name, "lora_ms": beside, "merged_ms": forward_ms(clock, vlm.at(TOKENS[1]), PAGES[1])}
    yield {"model": name, "query_ms": clock.ms(lambda: vlm.encode_queries([Query("the height of the tank")]))}
    for tokens in TOKENS[:1] if name == "tiny" else TOKENS:
        view = vlm if tokens == vlm.max_visual_tokens else vlm.at(tokens)
        for batch in PAGES[:2] if name == "tiny" else PAGES:
            if clock.left_s < until_s:
                yield {"model": name, "tokens": tokens, "pages": batch, "left out": "time"}
                continue
            try:
                yield {"model": name, **pages_of(clock, view, batch)}
            except torch.OutOfMemoryError:
                yield {"model": name, "tokens": tokens, "pages": batch, "left out": "memory"}


def pages_of(clock: Clock, vlm: VLM, batch: int) -> Row:
    """Times and memory of `batch` pages at a time."""
    vlm.settings = vlm.settings.model_copy(update={"batch": batch})
    pages = [Page(str(i), "a.pdf", i + 1, drawing(i)) for i in range(batch)]
    inputs, _ = vlm.inputs([Item("", pages[0].image)], False)
    row: Row = {"pages": batch, "visual": int((inputs["input_ids"] == image_token(vlm)).sum())}
    row["positions"] = inputs["input_ids"].shape[1]
    if clock.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(clock.device)
        before = torch.cuda.memory_allocated(clock.device)
    row["network_ms"] = forward_ms(clock, vlm, batch)
    if clock.device.type == "cuda":
        row["peak_gib"] = (torch.cuda.max_memory_allocated(clock.device) - before) / 2**30
        row["planned_gib"] = batch * vlm.bytes_for(Item("", pages[0].image)) / 2**30
    whole = clock.ms(lambda: vlm.encode_pages(pages), least=2, most=5)
    row |= {"pages_a_second": batch * 1e3 / row["network_ms"], "encode_pages_a_second": batch * 1e3 / whole}
    return row


def forward_ms(clock: Clock, vlm: VLM, batch: int) -> float:
    """Milliseconds of one forward pass of `batch` pages, their inputs on the device already."""
    inputs, keep = vlm.inputs([Item("", drawing(i)) for i in range(batch)], False)
    placed = vlm.placed(inputs)
    return clock.ms(lambda: vlm.network(placed, keep), most=10)


def encoder(name: str, device: torch.device) -> VLM:
    """Qwen2.5-VL in its real class and size, with LoRA and Meta Tokens, all weights random."""
    words = tokenizer([f"<|{each}|>" for each in SPECIAL], eos_token="<|im_end|>")
    image = Qwen2VLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * TOKENS[-1]})
    processor = hf.Qwen2_5_VLProcessor(image, words, None, chat_template=QWEN_TEMPLATE)
    dtype = torch.float32 if device.type == "cpu" else dtype_on(device.type)
    with torch.inference_mode(False):  # PEFT asks for gradients
        with device:
            model = hf.AutoModel.from_config(config(name, words), dtype=dtype, attn_implementation="sdpa")
        return create(model.eval(), processor, f"random/{name}", settings=Vlm(batch=PAGES[0]))


def config(size: str, words: Any) -> Any:
    hidden, mlp, layers, heads, kv_heads, sections, rows = SIZES[size]
    depth, width, sight_mlp, sight_heads, full = SIGHT.get(size, REAL_SIGHT)
    ids = {f"{name}_token_id": words.convert_tokens_to_ids(f"<|{token}|>") for name, token in IDS.items()}
    text = {
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": rows,
        "max_position_embeddings": 128_000,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections},
    }
    sight = {
        "depth": depth,
        "hidden_size": width,
        "intermediate_size": sight_mlp,
        "num_heads": sight_heads,
        "fullatt_block_indexes": full,
        "out_hidden_size": hidden,
        "patch_size": 14,
        "window_size": 112,
        "spatial_merge_size": 2,
        "tokens_per_second": 2,
    }
    return hf.Qwen2_5_VLConfig(text_config=text, vision_config=sight, **ids)


def image_token(vlm: VLM) -> int:
    return int(vlm.network.model.config.image_token_id)


def drawing(seed: int) -> Image.Image:
    """A page of grey noise in blocks: no two are alike."""
    cells = np.random.default_rng(seed).integers(0, 256, (44, 31), np.uint8)
    return Image.fromarray(cells).resize(A4, Image.Resampling.NEAREST).convert("RGB")


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def unit_rows(vectors: FloatArray) -> FloatArray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


if __name__ == "__main__":
    main()
