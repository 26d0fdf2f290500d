"""The index with its vectors on a GPU. Torch is imported where one is chosen, not before."""

from metaembed_demo.core.config import SPACE
from metaembed_demo.index.local import LocalIndex


def index_for(device: str) -> type[LocalIndex]:
    """The kind of index for an encoder on `device` ("CPU", "CUDA"): on its GPU if that is there all the time.

    On ZeroGPU it is not: a GPU is lent to single calls of the encoder.
    """
    if device != "CUDA" or SPACE.zero_gpu:
        return LocalIndex
    from .index import GpuIndex

    return GpuIndex
