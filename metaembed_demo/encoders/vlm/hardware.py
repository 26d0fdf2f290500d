"""Which device and dtype a backbone runs on."""

from __future__ import annotations

import torch

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def device_name() -> str:
    """The fastest kind of device here: "cuda", "mps" (Apple's GPU) or "cpu"."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def dtype_on(device: str, chosen: str = "") -> torch.dtype:
    """The dtype of weights on `device`, by what it computes fast; `chosen`: one of DTYPES instead.

    bfloat16 on NVIDIA GPUs from compute capability 8.0 (older ones emulate it: float16), on Apple's from
    macOS 14, and on CPUs with instructions for it; else float32.

    Raises:
        ValueError: when `chosen` is none of DTYPES.
    """
    if chosen:
        if chosen not in DTYPES:
            raise ValueError(f"METAEMBED_VLM_DTYPE is {chosen!r}; it takes {', '.join(DTYPES)} or nothing.")
        return DTYPES[chosen]
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float16
    if device.startswith("mps"):
        return torch.bfloat16 if torch.backends.mps.is_macos_or_newer(14, 0) else torch.float32
    return torch.bfloat16 if cpu_has_bf16() else torch.float32


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; newer versions of torch can tell."""
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    return any(getattr(torch.cpu, name, bool)() for name in tests)
