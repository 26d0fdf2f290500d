"""MetaEmbed demo: one multi-vector index, searched at any token budget (arXiv 2509.18095)."""

import os

# torch, faiss and onnxruntime each bring a thread pool. Where waiting threads spin, they take the cores
# from whichever pool has work, and everything runs several times slower; this must be set before they load.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# numpy's own pool (OpenBLAS) spins as well, and has no such switch. MaxSim's products are small: a second
# thread gains little on an idle machine, and on a busy one made (16, 64) over 5,000 pages 4x slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# onnxruntime tells Microsoft how it is used, and keeps an id for that in the home folder, unless told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
