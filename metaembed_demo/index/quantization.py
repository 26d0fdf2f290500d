"""Storage kinds of page vectors: float16, int8, product quantisation, binary.

A codec encodes page vectors (n, R_c, D) as arrays of n rows and scores a float32 query against them without
decoding. Codes are nested: the first r_c tokens of the codes are the codes of the first r_c tokens, so a
smaller budget reads a prefix.

| kind    | stored per page                                       | bytes a page, 64 x 128 | 64 x 384 |
|---------|-------------------------------------------------------|------------------------|----------|
| float16 | the components                                        |                 16,384 |   49,152 |
| int8    | components times 127 over the page's largest          |                  8,196 |   24,580 |
| pq      | for each D / M components, the nearest of 256 centres |                  2,048 |    6,144 |
| binary  | the signs of the components                           |                  1,024 |    3,072 |

pq and binary code vectors after a fixed rotation (`rotation.py`). The loss in nDCG@5 is in
benchmarks/results/storage.json. Product quantisation: Jégou, Douze and
Schmid, "Product quantization for nearest neighbor search" (2011); the query is not quantised there nor for
`binary`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from metaembed_demo.core.types import FloatArray

from . import maxsim_kernels
from .maxsim import CHUNK_COMPONENTS, maxsim
from .rotation import Rotation, rotation

Rows = NDArray[np.int64]
Layout = tuple[tuple[tuple[int, ...], "np.dtype[Any]"], ...]

KINDS = ("float16", "int8", "pq", "binary")
SCORE_ALIKE = ("float16", "int8")  # scores differ by 0.001; other kinds have another scale
CENTROIDS = 256  # per sub-quantiser: one-byte codes
PQ_LEAST = CENTROIDS  # minimum training vectors
PQ_GOOD = 10_000  # about 40 per centroid, below which faiss warns
PQ_MOST = 65_536  # 256 per centroid; more do not improve the codebook
PQ_COMPONENTS = 4  # per byte
BITS = 8
ROTATED = "rotated"  # in the state of codes that were made after a rotation; older ones lack it
CHUNK_DISTANCES = 1 << 21  # distances to centroids per chunk: 8 MiB, fits in cache


class Codec(Protocol):
    """A storage kind for pages of `r_c` vectors of `dim` components.

    layout: shape without the first axis, and dtype, of each array from `encode`.
    """

    kind: str
    r_c: int
    dim: int
    layout: Layout

    def encode(self, vectors: FloatArray) -> tuple[NDArray[Any], ...]:
        """Arrays of n rows for `vectors` (n, R_c, D). Raises ValueError on another shape or on NaN."""
        ...

    def decode(self, codes: Sequence[NDArray[Any]]) -> FloatArray:
        """Reconstructed vectors (n, R_c, D) float32."""
        ...

    def score(
        self, q: FloatArray, codes: Sequence[NDArray[Any]], r_c: int, rows: Rows | None = None
    ) -> FloatArray:
        """MaxSim (m,) float32 of `q` (r_q, D) with the first `r_c` vectors of all pages, or of `rows` (m,).

        Raises:
            ValueError: when query, codes or r_c do not match this codec.
        """
        ...

    def bytes_per_page(self, r_c: int) -> int:
        """Bytes of the codes of a page's first `r_c` vectors."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Trained arrays, float32, to restore with `codec`; {} if there are none."""
        ...


def codec(
    kind: str,
    r_c: int,
    dim: int,
    sample: FloatArray | None = None,
    state: Mapping[str, NDArray[Any]] | None = None,
    parts: int | None = None,
) -> Codec:
    """A codec of the storage kind `kind` for pages (r_c, dim).

    Args:
        kind: one of KINDS.
        sample: pages (n, R_c, D) to train `pq` on, ignored by others; may be the pages to be stored.
        state: from `state()`, instead of a sample; without `rotated`, of codes from before the rotation.
        parts: bytes per vector of `pq`, a divisor of D; default: `pq_parts(dim)`.

    Raises:
        ValueError: on an unknown kind, a size below 1, a sample that is missing, too small or of another
            shape, or a state of another shape.

    >>> made = codec("int8", r_c=64, dim=128)
    >>> made.bytes_per_page(64), made.bytes_per_page(16)
    (8196, 2052)
    """
    if r_c < 1 or dim < 1:
        raise ValueError(f"A page needs at least one vector of one component, not ({r_c}, {dim}).")
    rotated = rotation(dim) if state is None or ROTATED in state else None  # of pq and binary
    if kind == "pq":
        if state is not None:
            return _Pq.restored(r_c, dim, state, rotated)
        return _Pq.fitted(r_c, dim, sample, pq_parts(dim) if parts is None else parts, rotated)
    if kind == "binary":
        return _Binary(r_c, dim, rotated)
    plain: dict[str, type[_Codec]] = {"float16": _Float16, "int8": _Int8}
    if kind not in plain:
        raise ValueError(f"There is no storage called {kind!r}. Use one of: {', '.join(KINDS)}.")
    return plain[kind](r_c, dim)


def pq_parts(dim: int) -> int:
    """Bytes per vector of `pq`: the largest divisor of `dim` that is at most a quarter of it.

    >>> pq_parts(128), pq_parts(384), pq_parts(100), pq_parts(6), pq_parts(2)
    (32, 96, 25, 1, 1)
    """
    return next(parts for parts in range(max(1, dim // PQ_COMPONENTS), 0, -1) if dim % parts == 0)


class _Codec:
    """Common base: checks, prefixes, and the numpy fallback without numba."""

    kind: str
    layout: Layout

    def __init__(self, r_c: int, dim: int, rotated: Rotation | None = None) -> None:
        self.r_c, self.dim, self.rotated = r_c, dim, rotated

    def encode(self, vectors: FloatArray) -> tuple[NDArray[Any], ...]:
        if np.ndim(vectors) != 3 or np.shape(vectors)[1:] != (self.r_c, self.dim):
            raise ValueError(
                f"Pages for this storage have shape (n, {self.r_c}, {self.dim}), not {np.shape(vectors)}."
            )
        vectors = np.asarray(vectors, dtype=np.float32)
        if not np.isfinite(vectors).all():
            raise ValueError("The vectors hold values that are not finite: encode the pages again.")
        return self._encode(self._there(vectors))

    def decode(self, codes: Sequence[NDArray[Any]]) -> FloatArray:
        found = self._decode(self._checked(codes, self.r_c))
        return self.rotated.back(found) if self.rotated else found

    def score(
        self, q: FloatArray, codes: Sequence[NDArray[Any]], r_c: int, rows: Rows | None = None
    ) -> FloatArray:
        q = np.asarray(q, dtype=np.float32)
        if q.ndim != 2 or q.shape[1] != self.dim or not len(q):
            raise ValueError(f"A query for these pages has shape (r_q, {self.dim}), not {q.shape}.")
        q, cut = self._there(q), self._checked(codes, r_c)
        if not (len(cut[0]) if rows is None else len(rows)):
            return np.empty(0, dtype=np.float32)
        if maxsim_kernels.available():
            return self._fused(q, cut, rows)
        return np.concatenate([self._plain(q, some) for some in self._chunks(cut, rows)])

    def bytes_per_page(self, r_c: int) -> int:
        """Codes of more than one axis per page have the token as the first."""
        kept = min(r_c, self.r_c)
        shapes = [((kept, *shape[1:]) if shape else (), dtype) for shape, dtype in self.layout]
        return sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in shapes)

    def state(self) -> dict[str, NDArray[Any]]:
        return {ROTATED: np.ones(1, np.float32)} if self.rotated else {}

    def _there(self, vectors: FloatArray) -> FloatArray:
        return self.rotated.there(vectors) if self.rotated else vectors

    # Implemented by each kind, of vectors after the rotation, if any

    def _encode(self, vectors: FloatArray) -> tuple[NDArray[Any], ...]:
        raise NotImplementedError

    def _decode(self, codes: Sequence[NDArray[Any]]) -> FloatArray:
        """(n, r_c, D) float32 of codes that may be a prefix."""
        raise NotImplementedError

    def _fused(self, q: FloatArray, codes: Sequence[NDArray[Any]], rows: Rows | None) -> FloatArray:
        """MaxSim by the kernels."""
        raise NotImplementedError

    def _plain(self, q: FloatArray, codes: Sequence[NDArray[Any]]) -> FloatArray:
        """MaxSim of a chunk by numpy: the reference that the kernels are tested against."""
        return maxsim(q, self._decode(codes))

    def _checked(self, codes: Sequence[NDArray[Any]], r_c: int) -> list[NDArray[Any]]:
        """`codes`, each cut to the first r_c tokens where it has tokens."""
        if not 1 <= r_c <= self.r_c:
            raise ValueError(f"These pages hold 1 to {self.r_c} vectors, not {r_c}.")
        found = [(tuple(array.shape[1:]), array.dtype) for array in codes]
        if found != list(self.layout) or len({len(array) for array in codes}) != 1:
            raise ValueError(
                f"These are not codes of {self.kind} storage: wanted {self.layout}, not {found}."
            )
        return [array[:, :r_c] if array.ndim > 1 else array for array in codes]

    def _chunks(self, codes: list[NDArray[Any]], rows: Rows | None) -> Iterator[list[NDArray[Any]]]:
        """The codes of the pages `rows` in chunks whose vectors fit in a core's cache."""
        n = len(codes[0]) if rows is None else len(rows)
        step = max(1, CHUNK_COMPONENTS // (codes[0].shape[1] * self.dim))
        for start in range(0, n, step):
            some = slice(start, start + step) if rows is None else rows[start : start + step]
            yield [array[some] for array in codes]


class _Float16(_Codec):
    """Vectors in half precision."""

    kind = "float16"

    def __init__(self, r_c: int, dim: int) -> None:
        super().__init__(r_c, dim)
        self.layout = (((r_c, dim), np.dtype(np.float16)),)

    def _encode(self, vectors: FloatArray) -> tuple[NDArray[Any], ...]:
        return (vectors.astype(np.float16),)

    def _decode(self, codes: Sequence[NDArray[Any]]) -> FloatArray:
        return np.asarray(codes[0], dtype=np.float32)

    def _fused(self, q: FloatArray, codes: Sequence[NDArray[Any]], rows: Rows | None) -> FloatArray:
        return maxsim_kernels.maxsim_float(q, codes[0], rows)


class _Int8(_Codec):
    """Components (n, R_c, D) int8 and scales (n,) float32: component = code * scale of the page.

    One scale per page, so the maximum over tokens is taken on integers. The query is quantised with one scale
    per token. No training.
    """

    kind = "int8"

    def __init__(self, r_c: int, dim: int) -> None:
        super().__init__(r_c, dim)
        self.layout = (((r_c, dim), np.dtype(np.int8)), ((), np.dtype(np.float32)))

    def _encode(self, vectors: FloatArray) -> tuple[NDArray[Any], ...]:
        return _to_int8(vectors)

    def _decode(self, codes: Sequence[NDArray[Any]]) -> FloatArray:
        return codes[0].astype(np.float32) * np.asarray(codes[1])[:, None, None]

    def _fused(self, q: FloatArray, codes: Sequence[NDArray[Any]], rows: Rows | None) -> FloatArray:
        return maxsim_kernels.maxsim_int8(*_to_int8(q), codes[0], codes[1], rows)

    def _plain(self, q: FloatArray, codes: Sequence[NDArray[Any]]) -> FloatArray:
        q8, scale = _to_int8(q)
        return maxsim(q8.astype(np.float32) * scale[:, None], self._decode(codes))


class _Binary(_Codec):
    """One bit per component, set if positive, eight to a byte, most significant first, zero-padded.

    Decoded as +1 or -1 over the square root of D.
    """

    kind = "binary"

    def __init__(self, r_c: int, dim: int, rotated: Rotation | None = None) -> None:
        super().__init__(r_c, dim, rotated)
        self._bytes = -(-dim // BITS)
        self.layout = (((r_c, self._bytes), np.dtype(np.uint8)),)
        bits = np.unpackbits(np.arange(CENTROIDS, dtype=np.uint8)[:, None], axis=1)
        self._signs = (2 * bits.astype(np.float32) - 1) / np.float32(np.sqrt(dim))  # (256, 8)

    def _encode(self, vectors: FloatArray) -> tuple[NDArray[Any], ...]:
        return (np.packbits(vectors > 0, axis=-1),)

    def _decode(self, codes: Sequence[NDArray[Any]]) -> FloatArray:
        return self._signs[codes[0]].reshape(*codes[0].shape[:2], -1)[..., : self.dim]

    def _fused(self, q: FloatArray, codes: Sequence[NDArray[Any]], rows: Rows | None) -> FloatArray:
        padded = np.zeros((len(q), self._bytes * BITS), dtype=np.float32)
        padded[:, : self.dim] = q
        table = padded.reshape(len(q), self._bytes, BITS) @ self._signs.T
        return maxsim_kernels.maxsim_lookup(table, codes[0], rows)


class _Pq(_Codec):
    """M bytes per vector: each group of D / M components is coded by the nearest of 256 centroids."""

    kind = "pq"

    def __init__(self, r_c: int, dim: int, centroids: FloatArray, rotated: Rotation | None = None) -> None:
        super().__init__(r_c, dim, rotated)
        self.centroids = centroids  # (M, 256, D / M)
        self.parts = len(centroids)
        self.layout = (((r_c, self.parts), np.dtype(np.uint8)),)

    @classmethod
    def fitted(
        cls, r_c: int, dim: int, sample: FloatArray | None, parts: int, rotated: Rotation | None
    ) -> _Pq:
        vectors = _training(sample, r_c, dim)
        vectors = rotated.there(vectors) if rotated else vectors
        if parts < 1 or dim % parts:
            raise ValueError(f"Storage pq cuts a vector into parts that divide {dim}; {parts} does not.")
        try:
            import faiss
        except ImportError as error:
            raise ValueError("Storage pq needs faiss to be fitted: pip install faiss-cpu") from error
        quantiser = faiss.ProductQuantizer(dim, parts, BITS)
        quantiser.cp.min_points_per_centroid = 1  # no warning for small samples
        quantiser.train(vectors)
        centroids = faiss.vector_to_array(quantiser.centroids)
        return cls(r_c, dim, centroids.reshape(parts, CENTROIDS, dim // parts), rotated)

    @classmethod
    def restored(cls, r_c: int, dim: int, state: Mapping[str, NDArray[Any]], rotated: Rotation | None) -> _Pq:
        if set(state) - {ROTATED} != {"centroids"}:
            raise ValueError(f"The state of pq storage is its centroids; this one has {sorted(state)}.")
        centroids = np.array(state["centroids"], dtype=np.float32)
        if (
            centroids.ndim != 3
            or centroids.shape[1] != CENTROIDS
            or len(centroids) * centroids.shape[2] != dim
        ):
            raise ValueError(
                f"Centroids of pq storage for D = {dim} have shape (M, {CENTROIDS}, {dim} / M), "
                f"not {centroids.shape}: they belong to another encoder."
            )
        return cls(r_c, dim, centroids, rotated)

    def state(self) -> dict[str, NDArray[Any]]:
        return {"centroids": self.centroids.copy()} | super().state()

    def _encode(self, vectors: FloatArray) -> tuple[NDArray[Any], ...]:
        flat = vectors.reshape(-1, self.dim)
        step = max(1, CHUNK_DISTANCES // (self.parts * CENTROIDS))
        chunks = [self._nearest(flat[start : start + step]) for start in range(0, len(flat), step)]
        codes = np.concatenate([np.empty((0, self.parts), np.uint8), *chunks])
        return (codes.reshape(len(vectors), self.r_c, self.parts),)

    def _nearest(self, x: FloatArray) -> NDArray[np.uint8]:
        """The nearest centroids (n, M) of vectors (n, D)."""
        cut = x.reshape(len(x), self.parts, -1).transpose(1, 0, 2)
        # Squared distance without the term that is the same for all centroids.
        away = np.square(self.centroids).sum(-1)[:, None] - 2 * (cut @ self.centroids.transpose(0, 2, 1))
        return away.argmin(-1).T.astype(np.uint8)

    def _decode(self, codes: Sequence[NDArray[Any]]) -> FloatArray:
        found = self.centroids[np.arange(self.parts), codes[0]]  # (n, r_c, M, D / M)
        return found.reshape(*codes[0].shape[:2], self.dim)

    def _fused(self, q: FloatArray, codes: Sequence[NDArray[Any]], rows: Rows | None) -> FloatArray:
        table = np.einsum("imd,mkd->imk", q.reshape(len(q), self.parts, -1), self.centroids, optimize=True)
        return maxsim_kernels.maxsim_lookup(np.ascontiguousarray(table), codes[0], rows)


def _to_int8(values: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
    """int8 `values` and a scale per entry of the first axis; the largest magnitude becomes 127."""
    scale = (np.abs(values).max(axis=tuple(range(1, values.ndim))) / 127).astype(np.float32)
    divisor = np.where(scale > 0, scale, 1).reshape(-1, *[1] * (values.ndim - 1))
    return np.rint(values / divisor).astype(np.int8), scale


def _training(sample: FloatArray | None, r_c: int, dim: int) -> FloatArray:
    """(n, D) vectors of `sample`, at most PQ_MOST, evenly spaced."""
    fix = "Keep the first pages as int8 and change to pq when there are more."
    if sample is None:
        raise ValueError(f"Storage pq is fitted to pages: give it a sample, or the state it had. {fix}")
    if np.ndim(sample) != 3 or np.shape(sample)[1:] != (r_c, dim):
        raise ValueError(f"A sample of pages has shape (n, {r_c}, {dim}), not {np.shape(sample)}.")
    count = len(sample) * r_c
    if count < PQ_LEAST:
        raise ValueError(
            f"Storage pq is fitted to at least {PQ_LEAST} vectors, better {PQ_GOOD:,}; {len(sample)} pages "
            f"give {count}. {fix}"
        )
    at = np.linspace(0, count - 1, min(count, PQ_MOST)).astype(np.int64)
    vectors = np.asarray(sample[at // r_c, at % r_c], dtype=np.float32)
    if not np.isfinite(vectors).all():
        raise ValueError("The sample holds values that are not finite: encode the pages again.")
    return vectors
