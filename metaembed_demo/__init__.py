"""MetaEmbed demo: one multi-vector index, searched at any token budget (arXiv 2509.18095)."""

import os

# torch, faiss and onnxruntime each bring a thread pool. Where waiting threads spin, they take the cores
# from whichever pool has work, and everything runs several times slower; this must be set before they load.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
