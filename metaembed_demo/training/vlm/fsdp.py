"""FSDP: a frozen backbone split over the GPUs, for one that no single GPU holds.

torch's `fully_shard`, as `accelerate launch --use_fsdp --fsdp_version 2` asks for it. Only what is frozen is
split. LoRA, the Meta Tokens' rows and the projection stay whole on every GPU: they are few, and so gradients,
the norm that they are clipped to, the optimiser and the checkpoints are what they are without FSDP.
accelerate's own `prepare` would split these too, and it casts what every layer is given.

A split layer is gathered from all processes each time it is used, so all must use the same layers in the same
order: see `in_step`.
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

Part = tuple[list[int], bool]  # rows of a chunk, and whether they have pictures


def asked_for(accelerator: Any, vlm: Vlm) -> Any:
    """FSDP's settings as accelerate was launched with them; None when it was not, or for one process.

    Raises:
        ValueError: when they, or `vlm`, the backbone's settings, are such as cannot be followed.
    """
    from accelerate.utils import FullyShardedDataParallelPlugin, parse_flag_from_env

    if accelerator.num_processes == 1 or not parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return None
    # accelerate has them on GPUs only; on CPUs, for tests, they come from the variables that it reads.
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
def turns(accelerator: Any, sharded: bool) -> Iterator[None]:
    """One process after the other goes through: the machine's memory holds one whole backbone at a time.

    So it is on several machines too, where it takes longer than it must. Inside, nothing may wait for others.
    """
    if not sharded:
        yield
        return
    from accelerate.utils import disable_fsdp_ram_efficient_loading

    disable_fsdp_ram_efficient_loading()  # with it, all but the first process may be left without weights
    for _ in range(accelerator.process_index):
        accelerator.wait_for_everyone()
    try:
        yield
    finally:  # a backbone that one cannot load, none can; each is to say so
        for _ in range(accelerator.process_index, accelerator.num_processes):
            accelerator.wait_for_everyone()


def shard(network: nn.Module, embedding: nn.Module, accelerator: Any, chosen: Any) -> None:
    """Split the frozen weights of `network`, in place, by layers; each goes to its device when it is split.

    embedding: what the table of the tokens lies in; gathered by itself, being as large as several layers.
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


def in_step(parts: Sequence[Part], accelerator: Any) -> list[Part]:
    """As many chunks of each kind, in the same order, on all processes: empty ones are added to fewer.

    Of each kind, as a picture takes layers that a text does not.
    """
    own = [sum(kind == pictured for _, kind in parts) for pictured in (False, True)]
    counts = accelerator.gather(torch.tensor([own], device=accelerator.device))
    filled: list[Part] = []
    for pictured, most in zip((False, True), counts.amax(0).tolist(), strict=True):
        mine = [part for part in parts if part[1] == pictured]
        filled += mine + [([], pictured)] * (most - len(mine))
    return filled


def stand_in(pictured: bool) -> Item:
    """What an empty chunk encodes, to no effect: the smallest there is."""
    return Item("-", Image.new("RGB", (56, 56)) if pictured else None)
