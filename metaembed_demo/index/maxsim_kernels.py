"""MaxSim fused into one pass over the pages, compiled by numba: float16, float32, int8 and looked-up codes.

Similarities are never written to memory; see index/maxsim_simd.py. Pages are split among Python threads (the
kernels release the GIL), not by numba's threading layers: `workqueue` aborts the process when two threads
search at once, and another OpenMP runtime beside torch's and faiss's would compete for cores.

numba is imported at the first call, which compiles for one or two seconds, or loads the cached result in
under a second: from the package's __pycache__, the user's cache folder, or NUMBA_CACHE_DIR.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.config import KERNELS
from metaembed_demo.core.types import FloatArray

log = logging.getLogger(__name__)

# Up to so many page components are scored in the calling thread: 2,000 pages of 64 x 128 (4 ms).
ONE_THREAD = 2_000 * 64 * 128
PIECES = 4  # for each thread, so that one thread held up does not hold up the scan
LINE = 16  # float32 in a cache line

Rows = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True)
class _Kernels:
    lanes: ModuleType
    host: Any  # lanes.Host
    scan: Callable[..., None]


_lock = threading.Lock()
_loaded: _Kernels | None = None
_tried = False
_pool: ThreadPoolExecutor | None = None
_here = threading.local()


def available() -> bool:
    """Whether the kernels are usable. The first call imports numba and compiles, or loads from its cache.

    METAEMBED_NUMBA=0 disables them. If numba is missing or fails, one warning is logged.
    """
    return _load() is not None


def loaded() -> bool:
    """Whether the kernels are already loaded."""
    return _loaded is not None


def load_behind() -> None:
    """Load the kernels in a background thread, ahead of the first search."""
    threading.Thread(target=available, name="maxsim-load", daemon=True).start()


def maxsim_float(q: FloatArray, c: NDArray[Any], rows: Rows | None = None) -> FloatArray:
    """For each page, the sum over i of the maximum over j of <q_i, c_j>.

    Args:
        q: query vectors (r_q, D) float32.
        c: page vectors (n, r_c, D) float32 or float16. Pages and tokens may be strided, components not.
        rows: which pages to score (m,) int64; None means all in order.

    Returns:
        Scores (m,) float32.

    Raises:
        IndexError: when a row is not one of the n pages.
        RuntimeError: when the kernels are not available.
        ValueError: on other shapes, types or strides.
    """
    if q.ndim != 2 or c.dtype not in (np.float16, np.float32):
        raise ValueError(
            f"The float kernel needs a query (r_q, D) and float16 or float32 pages, not {q.shape}, {c.dtype}."
        )
    kernels = _needed()
    code = kernels.lanes
    packed = _transposed(q, np.float32, 1, kernels)
    return _run(
        kernels, code.FLOAT, code.HALF if c.dtype == np.float16 else code.IN_PLACE, q, packed, c, rows
    )


def maxsim_int8(
    q: NDArray[np.int8],
    q_scale: FloatArray,
    c: NDArray[np.int8],
    c_scale: FloatArray,
    rows: Rows | None = None,
) -> FloatArray:
    """For each page, c_scale[page] * the sum over i of q_scale[i] * the maximum over j of <q_i, c_j>.

    One scale per page, not per token, so that the maximum is taken over exact int32 values.

    Args:
        q: query vectors (r_q, D) int8, and their scales (r_q,) float32.
        c: page vectors (n, r_c, D) int8, and the pages' scales (n,) float32. Strides as in `maxsim_float`.
        rows: which pages to score (m,) int64; None means all in order.

    Returns:
        Scores (m,) float32.

    Raises:
        IndexError, RuntimeError, ValueError: as `maxsim_float`.
    """
    if q.ndim != 2 or q.dtype != np.int8 or c.dtype != np.int8:
        raise ValueError(
            f"The int8 kernel needs a query (r_q, D) and pages in int8, not {q.dtype} {q.shape}, {c.dtype}."
        )
    if np.shape(q_scale) != (len(q),) or np.shape(c_scale) != (len(c),):
        raise ValueError(
            f"{len(q)} query tokens and {len(c)} pages need as many scales, "
            f"not {np.shape(q_scale)} and {np.shape(c_scale)}."
        )
    kernels = _needed()
    code = kernels.lanes
    offset = None
    if kernels.host.vnni:
        operation, stored = code.VNNI, np.int8
        group = _group(operation, len(q), kernels)
        unpack = code.COPY if q.shape[1] % group else code.IN_PLACE
        offset = 128 * q.sum(axis=1, dtype=np.int32)  # 128 is added to every page component
    else:
        operation, unpack, stored = code.PAIRS, code.WIDEN, np.int16
        group = _group(operation, len(q), kernels)
    packed = _transposed(q, stored, group, kernels)
    scores = _run(kernels, operation, unpack, q, packed, c, rows, q_scale, offset)
    return scores * np.asarray(c_scale if rows is None else c_scale[rows], np.float32)


def maxsim_lookup(table: FloatArray, codes: NDArray[np.uint8], rows: Rows | None = None) -> FloatArray:
    """For each page, the sum over i of the maximum over j of <q_i, c_j> read from a table.

    <q_i, c_j> is the sum over m of table[i, m, codes[page, j, m]]. Product quantisation
    and binary codes (8 components a byte) are such sums.

    Args:
        table: (r_q, M, 256) float32.
        codes: (n, r_c, M) uint8. Strides as in `maxsim_float`.
        rows: which pages to score (m,) int64; None means all in order.

    Returns:
        Scores (m,) float32.

    Raises:
        IndexError, RuntimeError, ValueError: as `maxsim_float`.
    """
    if table.ndim != 3 or table.shape[2] != 256 or codes.dtype != np.uint8:
        raise ValueError(
            f"The lookup kernel needs a table (r_q, M, 256) and uint8 codes, not {table.shape}, {codes.dtype}"
        )
    kernels = _needed()
    lanes, slabs = _lanes(len(table), kernels)
    padded = np.zeros((slabs * lanes, *table.shape[1:]), np.float32)
    padded[: len(table)] = table
    packed = np.ascontiguousarray(padded.reshape(slabs, lanes, *table.shape[1:]).transpose(0, 2, 3, 1))
    return _run(kernels, kernels.lanes.LOOKUP, kernels.lanes.IN_PLACE, table, packed, codes, rows)


# Running a scan


def _lanes(r_q: int, kernels: _Kernels) -> tuple[int, int]:
    """Lanes of a slab, and slabs, for so many query tokens."""
    lanes = 4 if r_q <= 4 else 8 if r_q <= 8 else kernels.host.lanes
    return lanes, -(-r_q // lanes)


def _group(operation: int, r_q: int, kernels: _Kernels) -> int:
    """Components of a page token that meet the query at once."""
    spread: int = kernels.host.spread(operation, _lanes(r_q, kernels)[0])
    return int(kernels.lanes.GROUP[operation]) * spread


def _transposed(q: NDArray[Any], stored: Any, group: int, kernels: _Kernels) -> NDArray[Any]:
    """The query as (slabs, groups, lanes, group), with zeros for query tokens and components it lacks."""
    lanes, slabs = _lanes(len(q), kernels)
    groups = -(-q.shape[1] // group)
    padded = np.zeros((slabs * lanes, groups * group), stored)
    padded[: len(q), : q.shape[1]] = q
    return np.ascontiguousarray(padded.reshape(slabs, lanes, groups, group).transpose(0, 2, 1, 3))


def _run(
    kernels: _Kernels,
    operation: int,
    unpack: int,
    q: NDArray[Any],
    packed: NDArray[Any],
    c: NDArray[Any],
    rows: Rows | None,
    q_scale: FloatArray | None = None,
    offset: NDArray[np.int32] | None = None,
) -> FloatArray:
    rows = _checked(q, c, rows)
    m, (_, r_c, dim) = len(c) if rows is None else len(rows), c.shape
    out = np.empty(m, np.float32)
    if not m:
        return out
    code, (lanes, slabs) = kernels.lanes, _lanes(len(q), kernels)
    group = _group(operation, len(q), kernels)
    groups = -(-dim // group)
    block, spread = kernels.host.lanes, kernels.host.spread(operation, lanes)
    unpacked = code.GROUP_BYTES * spread * groups
    job = code.Job(
        operation=operation,
        unpack=unpack,
        query=packed.ctypes.data,
        slabs=slabs,
        slab_bytes=packed[0].nbytes,
        lanes=lanes,
        pages=c.ctypes.data,
        page_stride=c.strides[0],
        token_stride=c.strides[1],
        joined=int(c.strides[1] == dim * c.itemsize and groups * group == dim),
        r_q=len(q),
        r_c=r_c,
        dim=dim,
        groups=groups,
        unpacked=unpacked,
        block=block,
        ahead=-(-min(block, r_c) * dim * c.itemsize // (groups * spread)),
    )
    pages = np.empty(0, np.int64) if rows is None else rows
    weight = np.array(np.ones(len(q)) if q_scale is None else q_scale, np.float32)
    less = np.zeros(len(q), np.int32) if offset is None else offset

    def piece(start: int, stop: int) -> None:
        # Padding cache lines on both sides prevent false sharing between threads.
        best = np.empty(slabs * lanes + 2 * LINE, np.float32)[LINE:-LINE]
        scratch = np.zeros(0 if unpack == code.IN_PLACE else block * unpacked, np.uint8)
        kernels.scan(job, pages, start, stop, best, best.view(np.int32), weight, less, scratch, out)

    _share(piece, m, m * r_c * dim)
    return out


def _checked(q: NDArray[Any], c: NDArray[Any], rows: Rows | None) -> Rows | None:
    """`rows` in numba's type. Validates everything, since the kernels read by address."""
    if c.ndim != 3 or q.shape[1] != c.shape[2]:
        raise ValueError(f"{q.shape} and {c.shape} do not fit: pages are (n, r_c, {q.shape[1]}) here.")
    if not q.shape[0] or not c.shape[1] or not c.shape[2]:
        raise ValueError("MaxSim needs at least one token on either side, and one component.")
    if c.size and c.shape[2] > 1 and c.strides[2] != c.itemsize:
        raise ValueError(
            "A page token's components must lie side by side; np.ascontiguousarray makes them so."
        )
    if rows is None:
        return None
    rows = np.asarray(rows)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ValueError(f"Rows are whole numbers (m,), not {rows.dtype} {rows.shape}.")
    if rows.size and not 0 <= rows.min() <= rows.max() < len(c):
        raise IndexError(f"Rows are 0 to {len(c) - 1} here, not {rows.min()} to {rows.max()}.")
    return np.array(rows, np.int64)


def _share(piece: Callable[[int, int], None], m: int, components: int) -> None:
    """Run `piece` over 0 to m, in this thread or split over the pool."""
    count = threads()
    parts = min(count * PIECES, m)
    if count == 1 or components <= ONE_THREAD or _is_alone():
        piece(0, m)
        return
    edges = [m * part // parts for part in range(parts + 1)]
    list(_threads().map(piece, edges[:-1], edges[1:]))


def each(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """Results of `tasks`, in order, run in the pool; tasks are not split further."""
    if threads() == 1 or _is_alone():
        return [task() for task in tasks]
    return list(_threads().map(_alone, tasks))


def _alone(task: Callable[[], T]) -> T:
    _here.alone = True
    try:
        return task()
    finally:
        _here.alone = False


def _is_alone() -> bool:
    """Whether this is a pool thread, which must not wait for the pool."""
    return getattr(_here, "alone", False)


def threads() -> int:
    """Number of scan threads: the cores available to this process."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(cores, math.ceil(_quota(Path("/sys/fs/cgroup")) or cores)))


def _quota(root: Path) -> float | None:
    """CPU limit of the container in cores (cgroup version 2 or 1); None without one."""
    try:
        if (root / "cpu.max").exists():
            limit, period = (root / "cpu.max").read_text().split()
        else:
            limit, period = (
                (root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
            )
        cores = int(limit) / int(period)  # no limit: "max" in version 2, -1 in version 1
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(threads(), thread_name_prefix="maxsim")
        return _pool


def _after_fork() -> None:
    """Reset the pool in a forked child, which does not inherit its threads."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# Loading


def _needed() -> _Kernels:
    kernels = _load()
    if kernels is None:
        raise RuntimeError(
            "The MaxSim kernels are not available here; ask available() first and use numpy then."
        )
    return kernels


def _load() -> _Kernels | None:
    global _loaded, _tried
    with _lock:
        if not _tried:
            _tried = True
            if KERNELS.numba:
                try:
                    _loaded = _compile()
                except (
                    Exception
                ) as error:  # ImportError, or whatever numba and LLVM cannot do on this machine
                    log.warning("MaxSim runs on numpy, which is slower: no numba kernels (%s).", error)
        return _loaded


def _compile() -> _Kernels:
    from . import maxsim_simd

    return _Kernels(maxsim_simd, maxsim_simd.host(), maxsim_simd.compiled())
