"""FSDP: shards a frozen backbone that does not fit on one GPU.

Uses torch's `fully_shard`, enabled by `accelerate launch --use_fsdp --fsdp_version 2`. Only frozen weights
are sharded. LoRA, Meta Token embeddings and projection are small and stay whole on every GPU, so gradients,
clipping, optimiser and checkpoints are the same as without FSDP. accelerate's `prepare` would shard these
too, and cast the inputs of every layer.

Using a sharded layer is a collective operation, so all processes must run the same layers in the same order:
see `equal_chunks`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from metaembed_demo.core.config import Vlm
from metaembed_demo.encoders.vlm.prompts import Item

Chunk = tuple[list[int], bool]  # rows of a chunk, and whether they have images


def fsdp_settings(accelerator: Any, vlm: Vlm) -> Any:
    """accelerate's FSDP plugin; None without FSDP, or with one process.

    Raises:
        ValueError: when its settings, or the backbone's (`vlm`), are not supported.
    """
    from accelerate.utils import FullyShardedDataParallelPlugin, parse_flag_from_env

    if accelerator.num_processes == 1 or not parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return None
    # accelerate sets the plugin on GPUs only; on CPUs, for tests, build it from the same variables.
    chosen = getattr(accelerator.state, "fsdp_plugin", None) or FullyShardedDataParallelPlugin()
    _check(chosen, vlm)
    return chosen


def _check(chosen: Any, vlm: Vlm) -> None:
    from torch.distributed.fsdp import CPUOffloadPolicy

    if chosen.fsdp_version != 2:
        raise ValueError(
            "FSDP of version 1 makes one tensor of frozen and trained weights, which LoRA does not allow. "
            "Launch with --fsdp_version 2."
        )
    if isinstance(chosen.cpu_offload, CPUOffloadPolicy):
        raise ValueError("FSDP that keeps weights on the CPU is not supported: --fsdp_offload_params false.")
    if vlm.quantization or vlm.device_map:
        raise ValueError(
            "FSDP splits a backbone in its own precision. Unset METAEMBED_VLM_QUANTIZATION and "
            "METAEMBED_VLM_DEVICE_MAP, or launch with --multi_gpu."
        )


@contextmanager
def one_at_a_time(accelerator: Any, sharded: bool) -> Iterator[None]:
    """Run the block in one process at a time, so that host memory holds one whole backbone at a time.

    Across several machines this is slower than necessary. The block must not synchronise processes.
    """
    if not sharded:
        yield
        return
    from accelerate.utils import disable_fsdp_ram_efficient_loading

    disable_fsdp_ram_efficient_loading()  # it may leave all but the first process without weights
    for _ in range(accelerator.process_index):
        accelerator.wait_for_everyone()
    try:
        yield
    finally:  # also after a failed load, so that every process reports it
        for _ in range(accelerator.process_index, accelerator.num_processes):
            accelerator.wait_for_everyone()


def shard(network: nn.Module, embedding: nn.Module, accelerator: Any, chosen: Any) -> None:
    """Shard the frozen weights of `network` by layer, in place; each moves to its device when sharded.

    embedding: the module with the token embeddings, sharded separately as it is as large as several layers.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    trained = {weight for weight in network.parameters() if weight.requires_grad}
    common: dict[str, Any] = {
        "mesh": init_device_mesh(accelerator.device.type, (accelerator.num_processes,)),
        "ignored_params": trained,
    }
    layers = [part for part in network.modules() if isinstance(part, GradientCheckpointingLayer)]
    for part in [*layers, embedding]:
        fully_shard(part, reshard_after_forward=chosen.reshard_after_forward, **common)
    fully_shard(network, **common)
    for weight in trained:
        weight.data = weight.data.to(accelerator.device)


def equal_chunks(parts: Sequence[Chunk], accelerator: Any) -> list[Chunk]:
    """Pad with empty chunks so that all processes have the same chunks, text first, then images.

    Text and image chunks are counted separately, since they run different layers.
    """
    own = [sum(part[1] == pictured for part in parts) for pictured in (False, True)]
    counts = accelerator.gather(torch.tensor([own], device=accelerator.device))
    filled: list[Chunk] = []
    for pictured, most in zip((False, True), counts.amax(0).tolist(), strict=True):
        mine = [part for part in parts if part[1] == pictured]
        filled += mine + [([], pictured)] * (most - len(mine))
    return filled


def dummy_item(pictured: bool) -> Item:
    """The smallest possible item, encoded for an empty chunk and ignored."""
    return Item("-", Image.new("RGB", (56, 56)) if pictured else None)
