"""The numba-compiled scan over pages and its SIMD code; imported lazily by index/maxsim_kernels.py.

The query is transposed and split into slabs of up to 16 tokens, one SIMD lane each. Page components are
broadcast one by one, so that a block of page tokens is

    total[token] += query[component] * broadcast(page[token, component])

in registers, followed by one maximum over its tokens. Lanes are summed only at the end of a page. Numba
compiles the loops over pages and blocks; two intrinsics emit LLVM vector code for the inner part, which LLVM
lowers to the machine's vector width. Addresses are integers there; `builder` is llvmlite's.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numpy.typing import NDArray

# Operations between page and query components, in groups of 4 bytes (LOOKUP: of one code).
FLOAT = 0  # 1 x float32
VNNI = 1  # 4 x int8, by one instruction
PAIRS = 2  # 2 x int16, where there is no such instruction
LOOKUP = 3  # a code, which picks a row of the query's table
GROUP = {FLOAT: 1, VNNI: 4, PAIRS: 2, LOOKUP: 1}  # components
GROUP_BYTES = 4  # of them, unpacked (LOOKUP: 1, which is not unpacked)
MADD = {4: "sse2.pmadd.wd", 8: "avx2.pmadd.wd", 16: "avx512.pmaddw.d.512"}  # by lanes

# Unpacking of page tokens, per block.
IN_PLACE = 0
HALF = 1  # float16 -> float32
WIDEN = 2  # int8 -> int16
COPY = 3  # int8 -> int8, where a token does not end with a whole group

WIDEST = 16  # lanes
FEW = 4  # page tokens; up to so many have a variant of their own
CENTROIDS = 256
PAGES_AHEAD = 4  # to prefetch; short prefixes far apart come 10% faster than with 1

I16, I32, I64, F32 = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
POINTER = ir.PointerType()

intrinsic: Any = extending.intrinsic  # its own type would want the typing context from those who call it


class Job(NamedTuple):
    """Scalar parameters of a scan; addresses and strides are in bytes.

    Pages are passed by address: numba would compile separately for read-only and strided array types.
    """

    operation: int
    unpack: int
    query: int
    slabs: int
    slab_bytes: int
    lanes: int
    pages: int
    page_stride: int
    token_stride: int
    joined: int  # 1: the tokens of a page follow each other without a gap, before and after unpacking
    r_q: int
    r_c: int
    dim: int
    groups: int  # of a page token
    unpacked: int  # bytes of a page token, unpacked
    block: int  # page tokens
    ahead: int  # bytes to prefetch for each group


@dataclass(frozen=True)
class Host:
    """SIMD features of a machine."""

    lanes: int  # 16 with AVX-512, else 8; a block has as many page tokens
    vnni: bool
    madd: bool  # int16 pairs multiplied and added by one instruction

    def spread(self, operation: int, lanes: int) -> int:
        """Number of groups of a page token processed side by side in one vector.

        Short queries leave AVX-512 lanes free for further groups: the scan of (8, 16) prefixes takes half the
        instructions.

        >>> Host(16, True, True).spread(VNNI, 8), Host(16, True, True).spread(VNNI, 16)
        (2, 1)
        >>> Host(8, True, True).spread(VNNI, 4), Host(16, True, True).spread(FLOAT, 8)
        (1, 1)
        """
        return self.lanes // lanes if operation == VNNI and self.lanes == WIDEST else 1

    @classmethod
    def of(cls, features: str) -> Host:
        """
        >>> Host.of("+avx2,+avx512bw,+avx512vl,+avx512vnni")
        Host(lanes=16, vnni=True, madd=True)
        >>> Host.of("+avx2,-avx512vl,-avx512vnni,-avxvnni")
        Host(lanes=8, vnni=False, madd=True)
        """
        has = set(features.split(","))
        wide = {"+avx512bw", "+avx512vl"} <= has
        return cls(16 if wide else 8, ("+avx512vnni" if wide else "+avxvnni") in has, "+avx2" in has)


def _features() -> str:
    return str(cpu_target.target_context.codegen().magic_tuple()[2])


def host() -> Host:
    """The machine that numba compiles for."""
    return Host.of(_features())


def compiled() -> Callable[..., None]:
    """`_scan` as machine code. Kept on disk where numba finds a folder it may write to.

    Raises:
        RuntimeError: when the processor cannot convert float16, for which LLVM would call a function that is
            not there, and the process would crash.
    """
    if platform.machine().lower() not in ("arm64", "aarch64") and "+f16c" not in _features().split(","):
        raise RuntimeError("this processor does not convert float16")
    floats, integers = types.Array(types.float32, 1, "C"), types.Array(types.int32, 1, "C")
    signature = types.void(
        types.NamedUniTuple(types.int64, len(Job._fields), Job),
        types.Array(types.int64, 1, "C"),
        types.int64,
        types.int64,
        floats,
        integers,
        floats,
        integers,
        types.Array(types.uint8, 1, "C"),
        floats,
    )
    try:
        return numba.njit(signature, nogil=True, cache=True)(_scan)
    except Exception:  # no such folder, a full disk, a damaged file; what else is wrong comes again below
        return numba.njit(signature, nogil=True)(_scan)


def _scan(
    job: Job,
    rows: NDArray[np.int64],  # empty: all pages in order
    start: int,
    stop: int,
    best: NDArray[np.float32],  # (slabs * lanes,): the maximum of each query token
    best_int: NDArray[np.int32],  # the same memory
    weight: NDArray[np.float32],  # (r_q,) of the integer operations, and what to take off before
    offset: NDArray[np.int32],
    scratch: NDArray[np.uint8],
    out: NDArray[np.float32],
) -> None:
    """Scores of the pages `start` to `stop` of `rows` into `out`."""
    integer = job.operation == VNNI or job.operation == PAIRS
    for at in range(start, stop):
        following = min(at + PAGES_AHEAD, stop - 1)
        page = job.pages + (rows[at] if rows.size else at) * job.page_stride
        coming = job.pages + (rows[following] if rows.size else following) * job.page_stride
        if integer:
            best_int[:] = -0x7FFFFFFF
        else:
            best[:] = -np.inf
        for first in range(0, job.r_c, job.block):
            tokens = min(job.block, job.r_c - first)
            source, stride = page + first * job.token_stride, job.token_stride
            after = source + job.block * job.token_stride if first + job.block < job.r_c else coming
            if job.unpack != IN_PLACE:
                stride = job.unpacked
                if job.joined:
                    _unpack(job.unpack, source, scratch.ctypes.data, tokens * job.dim)
                else:
                    for token in range(tokens):
                        target = scratch.ctypes.data + token * stride
                        _unpack(job.unpack, source + token * job.token_stride, target, job.dim)
                source = scratch.ctypes.data
            for slab in range(job.slabs):
                query = job.query + slab * job.slab_bytes
                highest = best.ctypes.data + slab * job.lanes * 4
                _score_block(
                    job.operation,
                    job.lanes,
                    query,
                    source,
                    stride,
                    tokens,
                    job.groups,
                    after,
                    job.ahead,
                    highest,
                )
        total = np.float32(0)
        for token in range(job.r_q):
            if integer:
                total += weight[token] * np.float32(best_int[token] - offset[token])
            else:
                total += best[token]
        out[at] = total


@intrinsic
def _score_block(
    context: Any,
    operation: Any,
    lanes: Any,
    query: Any,  # address of the slab
    block: Any,  # address of the first page token
    stride: Any,  # bytes from one page token to the next
    tokens: Any,
    groups: Any,
    after: Any,  # address of what comes next, to prefetch
    ahead: Any,
    best: Any,  # address of `lanes` maxima, which are raised
) -> Any:
    """A block of page tokens against a slab of query tokens."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _call_apart(builder, "maxsim_block", arguments, _write_variants)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 10), write


@intrinsic
def _unpack(context: Any, unpack: Any, source: Any, target: Any, count: Any) -> Any:
    """`count` components from address `source` to address `target`, made what the operation takes."""

    def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _call_apart(builder, "maxsim_unpack", arguments, _write_unpack)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), write


def _call_apart(builder: Any, name: str, arguments: Any, write: Callable[..., None]) -> None:
    """Call what `write` writes as a function of its own, which LLVM may not inline.

    Inlined, each test for a variant would have the loops around it copied (loop unswitching).
    """
    apart = builder.module.globals.get(name)
    if apart is None:
        apart = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [a.type for a in arguments]), name)
        apart.linkage = "internal"
        apart.attributes.add("noinline")
        inside = ir.IRBuilder(apart.append_basic_block())
        write(inside, *apart.args)
        inside.ret_void()
    builder.call(apart, arguments)


def _write_variants(builder: Any, operation: Any, lanes: Any, *rest: Any) -> None:
    """The block for each operation, number of lanes and number of page tokens that this machine may need."""
    machine = host()
    for known in (FLOAT, VNNI if machine.vnni else PAIRS, LOOKUP):
        for count in sorted({4, 8, machine.lanes}):
            same = builder.and_(
                builder.icmp_signed("==", operation, I64(known)), builder.icmp_signed("==", lanes, I64(count))
            )
            with builder.if_then(same):
                few, spread = builder.icmp_signed("<=", rest[3], I64(FEW)), machine.spread(known, count)
                with builder.if_else(few) as (then, otherwise):
                    with then:
                        _write_block(builder, known, count, spread, FEW, *rest)
                    with otherwise:
                        _write_block(builder, known, count, spread, machine.lanes, *rest)


def _write_block(
    builder: Any,
    operation: int,
    lanes: int,
    spread: int,
    width: int,
    query: Any,
    block: Any,
    stride: Any,
    tokens: Any,
    groups: Any,
    after: Any,
    ahead: Any,
    best: Any,
) -> None:
    integer, lookup = operation in (VNNI, PAIRS), operation == LOOKUP
    vector = ir.VectorType(I32 if integer else F32, lanes * spread)
    zero = ir.Constant(vector, [0 if integer else 0.0] * lanes * spread)
    totals = [cgutils.alloca_once_value(builder, zero) for _ in range(width)]  # registers, once optimised
    last = builder.sub(tokens, I64(1))
    starts = []
    for token in range(width):
        # Past the end comes the last token again, which leaves the maximum as it is.
        index = builder.select(builder.icmp_signed("<", last, I64(token)), last, I64(token))
        starts.append(builder.add(block, builder.mul(index, stride)))
    with cgutils.for_range(builder, groups) as loop:
        for part in range(spread if width > FEW else 1):  # of few tokens, one has a line's worth
            coming = builder.add(builder.mul(loop.index, I64(spread)), I64(part))
            _prefetch(builder, builder.add(after, builder.mul(coming, ahead)))
        row_bytes = 4 * lanes * (CENTROIDS if lookup else spread)
        row = builder.add(query, builder.mul(loop.index, I64(row_bytes)))
        q = None if lookup else _load(builder, row, vector)
        step = builder.mul(loop.index, I64(1 if lookup else GROUP_BYTES * spread))
        for total, start in zip(totals, starts, strict=True):
            before = builder.load(total, typ=vector)
            here = builder.add(start, step)
            if lookup:
                builder.store(_look_up(builder, lanes, before, row, here), total)
            else:
                builder.store(_multiply_add(builder, operation, lanes, spread, before, q, here), total)
    highest = _load(builder, best, ir.VectorType(vector.element, lanes))
    compare = builder.icmp_signed if integer else builder.fcmp_ordered
    for total in totals:
        value = _gathered(builder, builder.load(total, typ=vector), lanes, spread)
        highest = builder.select(compare(">", value, highest), value, highest)
    _store(builder, highest, best)


def _gathered(builder: Any, total: Any, lanes: int, spread: int) -> Any:
    """The sums of the `spread` parts that each query token's product has in neighbouring lanes."""
    if spread == 1:
        return total
    parts = []
    for part in range(spread):
        index = ir.Constant(ir.VectorType(I32, lanes), list(range(part, lanes * spread, spread)))
        parts.append(builder.shuffle_vector(total, total, index))
    return reduce(builder.add, parts)


def _multiply_add(
    builder: Any, operation: int, lanes: int, spread: int, total: Any, q: Any, where: Any
) -> Any:
    """`total` and the products of the query's groups `q` with the page token's groups at `where`."""
    group = F32 if operation == FLOAT else I32
    c = _broadcast(builder, _load(builder, where, ir.VectorType(group, spread)), lanes)
    if operation == FLOAT:
        # "contract": one fused instruction on machines that have it.
        product = builder.fmul(q, c, flags=("contract",))
        return builder.fadd(total, product, flags=("contract",))
    if operation == PAIRS:
        return builder.add(total, _multiply_pairs(builder, q, c, lanes))
    # Unsigned page components, 128 added, times signed ones of the query; the flip costs nothing, for it is
    # part of the load. LLVM 22 wants bytes here, and converts this.
    c = builder.xor(c, ir.Constant(c.type, [0x80808080] * c.type.count))
    name, kind = f"llvm.x86.avx512.vpdpbusd.{32 * lanes * spread}", ir.FunctionType(c.type, [c.type] * 3)
    return builder.call(builder.module.declare_intrinsic(name, (), kind), [total, c, q])


def _multiply_pairs(builder: Any, a: Any, b: Any, lanes: int) -> Any:
    """2 x int16 a lane: products summed. LLVM finds x86's instruction for the plain pattern only at times."""
    wide, pairs = ir.VectorType(I32, lanes), ir.VectorType(I16, 2 * lanes)
    a, b = builder.bitcast(a, pairs), builder.bitcast(b, pairs)
    if host().madd:
        name = f"llvm.x86.{MADD[lanes]}"
        return builder.call(
            builder.module.declare_intrinsic(name, (), ir.FunctionType(wide, [pairs] * 2)), [a, b]
        )
    products = []
    for odd in (0, 1):
        index = ir.Constant(wide, list(range(odd, 2 * lanes, 2)))
        products.append(
            builder.mul(*(builder.sext(builder.shuffle_vector(c, c, index), wide) for c in (a, b)))
        )
    return builder.add(*products)


def _look_up(builder: Any, lanes: int, total: Any, row: Any, where: Any) -> Any:
    """`total` and the table's entry for the code at `where`."""
    code = builder.zext(_load(builder, where, ir.IntType(8)), I64)
    entry = builder.add(row, builder.mul(code, I64(4 * lanes)))
    return builder.fadd(total, _load(builder, entry, ir.VectorType(F32, lanes)))


def _write_unpack(builder: Any, unpack: Any, source: Any, target: Any, count: Any) -> None:
    for known, at_once in ((HALF, 16), (WIDEN, 32), (COPY, 64)):
        with builder.if_then(builder.icmp_signed("==", unpack, I64(known))):
            whole = builder.sub(count, builder.srem(count, I64(at_once)))
            with cgutils.for_range_slice(builder, I64(0), whole, I64(at_once), I64) as (index, _):
                _convert(builder, known, source, target, index, at_once)
            with cgutils.for_range(builder, count, whole) as loop:
                _convert(builder, known, source, target, loop.index, 1)


def _convert(builder: Any, unpack: int, source: Any, target: Any, index: Any, count: int) -> None:
    """Components `index` to `index + count`."""
    bytes_in, bytes_out = {HALF: (2, 4), WIDEN: (1, 2), COPY: (1, 1)}[unpack]
    stored: Any = ir.HalfType() if unpack == HALF else ir.IntType(8)
    address = builder.add(source, builder.mul(index, I64(bytes_in)))
    value = _load(builder, address, ir.VectorType(stored, count))
    if unpack == HALF:
        value = builder.fpext(value, ir.VectorType(F32, count))
    elif unpack == WIDEN:
        value = builder.sext(value, ir.VectorType(I16, count))
    _store(builder, value, builder.add(target, builder.mul(index, I64(bytes_out))))


def _load(builder: Any, address: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(address, POINTER), align=1, typ=kind)


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, POINTER), align=1)


def _prefetch(builder: Any, address: Any) -> None:
    """To read, into all caches. An address outside the pages does nothing."""
    kind = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
    prefetch = builder.module.declare_intrinsic("llvm.prefetch.p0", (), kind)
    builder.call(prefetch, [builder.inttoptr(address, POINTER), I32(0), I32(3), I32(1)])


def _broadcast(builder: Any, value: Any, times: int) -> Any:
    """A vector again and again."""
    index = ir.Constant(ir.VectorType(I32, value.type.count * times), [*range(value.type.count)] * times)
    return builder.shuffle_vector(value, value, index)
