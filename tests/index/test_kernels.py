"""The compiled kernels against numpy on shapes of all sorts, from many threads, and without numba."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from metaembed_demo.core.config import ROOT, Kernels
from metaembed_demo.index import maxsim, maxsim_kernels
from tests.support.sample_pages import random_vectors

SHAPES = [  # r_q, r_c, dim
    *((r_q, 7, 50) for r_q in range(1, 17)),
    (20, 5, 24),
    (33, 64, 16),
    *((5, r_c, 18) for r_c in (1, 2, 4, 5, 15, 16, 17, 31, 33, 64)),
    *((3, 6, dim) for dim in (1, 8, 9, 63, 128, 130, 384)),
    (16, 64, 128),
    (16, 17, 1536),
    (9, 3, 1535),
]
PAGES = 9

pytestmark = pytest.mark.usefixtures("compiled")


@pytest.fixture(scope="module")
def compiled() -> None:
    assert maxsim_kernels.available(), "the tests need numba, and a machine it compiles the kernels for"


def ints(seed: int, *shape: int) -> NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def int8_by_numpy(q, q_scale, c, c_scale) -> NDArray[np.float64]:
    similarity = np.einsum("id,njd->nij", q.astype(np.int64), c.astype(np.int64))
    return c_scale * (similarity.max(axis=2) * q_scale).sum(axis=1)


def lookup_by_numpy(table, codes) -> NDArray[np.float64]:
    similarity = table[:, np.arange(codes.shape[2]), codes].astype(np.float64).sum(axis=3)
    return similarity.max(axis=2).sum(axis=0)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize(("r_q", "r_c", "dim"), SHAPES)
def test_float_agrees_with_numpy(r_q: int, r_c: int, dim: int, kind: type) -> None:
    q = random_vectors(1, r_q, dim)
    c = random_vectors(2, PAGES, r_c + 3, dim).astype(kind)
    rows = np.array([8, 0, 3, 3])
    for pages in (c, c[:, :r_c], c[1:, 2 : 2 + r_c], c[::2], c[:, ::2]):
        expected = maxsim.maxsim_numpy(q, pages)
        np.testing.assert_allclose(maxsim_kernels.maxsim_float(q, pages), expected, rtol=1e-5, atol=1e-5)
    expected = maxsim.maxsim_numpy(q, c[rows, :r_c])
    np.testing.assert_allclose(
        maxsim_kernels.maxsim_float(q, c[:, :r_c], rows), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("r_q", "r_c", "dim"), SHAPES)
def test_int8_agrees_with_numpy(r_q: int, r_c: int, dim: int) -> None:
    q, c = ints(3, r_q, dim), ints(4, PAGES, r_c + 3, dim)
    rng = np.random.default_rng(5)
    q_scale, c_scale = rng.random(r_q, dtype=np.float32), rng.random(PAGES, dtype=np.float32)
    expected = int8_by_numpy(q, q_scale, c[:, :r_c], c_scale)
    found = maxsim_kernels.maxsim_int8(q, q_scale, c[:, :r_c], c_scale)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=0.1)
    rows = np.array([8, 0, 3, 3])
    found = maxsim_kernels.maxsim_int8(q, q_scale, c[:, :r_c], c_scale, rows)
    np.testing.assert_allclose(found, expected[rows], rtol=1e-5, atol=0.1)


@pytest.mark.parametrize(("r_q", "r_c", "parts"), [s for s in SHAPES if s[2] < 64])
def test_lookup_agrees_with_numpy(r_q: int, r_c: int, parts: int) -> None:
    rng = np.random.default_rng(6)
    table = rng.standard_normal((r_q, parts, 256), dtype=np.float32) - 1
    codes = rng.integers(0, 256, (PAGES, r_c + 3, parts)).astype(np.uint8)[:, :r_c]
    expected = lookup_by_numpy(table, codes)
    np.testing.assert_allclose(maxsim_kernels.maxsim_lookup(table, codes), expected, rtol=1e-4, atol=1e-4)
    rows = np.array([8, 0, 3, 3])
    found = maxsim_kernels.maxsim_lookup(table, codes, rows)
    np.testing.assert_allclose(found, expected[rows], rtol=1e-4, atol=1e-4)


def test_answers_by_eye() -> None:
    q = np.array([[1, 0], [0, 1]], np.float32)
    pages = np.array([[[1, 0], [0, 1]], [[1, 0], [1, 0]], [[-1, 0], [0, -1]]], np.float32)
    assert maxsim_kernels.maxsim_float(q, pages).tolist() == [2, 1, 0]
    one = np.ones(2, np.float32)
    scores = maxsim_kernels.maxsim_int8(
        q.astype(np.int8), one * 3, pages.astype(np.int8), np.array([1, 10, 1])
    )
    assert scores.tolist() == [6, 30, 0]
    table = np.zeros((1, 2, 256), np.float32)
    table[0, 0, 7], table[0, 1, 9] = 1, 2
    codes = np.array([[[7, 9], [0, 0]], [[9, 7], [7, 0]]], np.uint8)
    assert maxsim_kernels.maxsim_lookup(table, codes).tolist() == [3, 1]


@pytest.mark.parametrize("r_q", [1, 3, 6, 11, 17])
@pytest.mark.parametrize("r_c", [1, 3, 6, 11, 17])
def test_neither_missing_query_nor_missing_page_tokens_count(r_q: int, r_c: int) -> None:
    """All similarities are negative: a padded zero anywhere would win, or be added."""
    q, c = np.ones((r_q, 3), np.float32), -np.ones((4, r_c, 3), np.float32)
    ones = np.ones(max(r_q, 4), np.float32)
    expected = [-3.0 * r_q] * 4
    assert maxsim_kernels.maxsim_float(q, c).tolist() == expected
    assert maxsim_kernels.maxsim_float(q, c.astype(np.float16)).tolist() == expected
    assert (
        maxsim_kernels.maxsim_int8(q.astype(np.int8), ones[:r_q], c.astype(np.int8), ones[:4]).tolist()
        == expected
    )
    table = np.full((r_q, 3, 256), -1, np.float32)
    assert maxsim_kernels.maxsim_lookup(table, np.zeros((4, r_c, 3), np.uint8)).tolist() == expected


def test_int8_at_its_limits_does_not_overflow() -> None:
    q, c = np.full((1, 1536), -128, np.int8), np.full((1, 2, 1536), -128, np.int8)
    one = np.ones(1, np.float32)
    assert maxsim_kernels.maxsim_int8(q, one, c, one).tolist() == [128 * 128 * 1536]
    assert maxsim_kernels.maxsim_int8(q, one, np.full_like(c, 127), one).tolist() == [-128 * 127 * 1536]


def test_every_float16_is_read_right() -> None:
    bits = np.arange(1 << 16).astype(np.uint16).view(np.float16)
    pages = bits[np.isfinite(bits)].reshape(-1, 1, 1)  # subnormal ones too
    found = maxsim_kernels.maxsim_float(np.ones((1, 1), np.float32), pages)
    np.testing.assert_array_equal(found, pages[:, 0, 0].astype(np.float32))


def test_no_pages_and_no_rows_give_no_scores() -> None:
    q, none = random_vectors(1, 2, 8), np.empty(0, np.int64)
    assert maxsim_kernels.maxsim_float(q, np.empty((0, 4, 8), np.float16)).shape == (0,)
    assert maxsim_kernels.maxsim_float(q, random_vectors(2, 3, 4, 8), none).shape == (0,)
    assert maxsim.maxsim(q, random_vectors(2, 3, 4, 8), none).shape == (0,)


def test_reads_a_memory_map_that_may_not_be_written(tmp_path: Path) -> None:
    q, c = random_vectors(1, 4, 16), random_vectors(2, 6, 8, 16).astype(np.float16)
    np.save(tmp_path / "pages.npy", c)
    mapped = np.load(tmp_path / "pages.npy", mmap_mode="r")
    rows = np.array([5, 1])
    rows.flags.writeable = False
    np.testing.assert_array_equal(
        maxsim_kernels.maxsim_float(q, mapped[:, :4], rows), maxsim_kernels.maxsim_float(q, c[rows, :4])
    )


def test_threads_share_the_pages_and_change_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    q, c = random_vectors(1, 16, 32), random_vectors(2, 1001, 20, 32)
    rows = np.random.default_rng(3).permutation(1001)
    alone = maxsim_kernels.maxsim_float(q, c)
    monkeypatch.setattr(maxsim_kernels, "ONE_THREAD", 0)
    monkeypatch.setattr(maxsim_kernels, "threads", lambda: 3)
    np.testing.assert_array_equal(maxsim_kernels.maxsim_float(q, c), alone)
    np.testing.assert_array_equal(maxsim_kernels.maxsim_float(q, c, rows), alone[rows])
    np.testing.assert_array_equal(
        maxsim_kernels.maxsim_float(q, c[:2]), alone[:2]
    )  # fewer than there are parts


def test_eight_threads_at_once_get_what_one_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maxsim_kernels, "ONE_THREAD", 0)
    queries = [random_vectors(seed, 16, 32) for seed in range(8)]
    c, c8 = random_vectors(9, 500, 20, 32).astype(np.float16), ints(9, 500, 20, 32)
    scale = np.ones(500, np.float32)

    def search(q) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return maxsim_kernels.maxsim_float(q, c), maxsim_kernels.maxsim_int8(
            (q * 100).astype(np.int8), scale[: len(q)], c8, scale
        )

    alone = [search(q) for q in queries]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for found, expected in zip(pool.map(search, queries), alone, strict=True):
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q, c: maxsim_kernels.maxsim_float(q[:, :4], c), "do not fit"),
        (lambda q, c: maxsim_kernels.maxsim_float(q[0], c), "needs a query"),
        (lambda q, c: maxsim_kernels.maxsim_float(q, c.astype(np.float64)), "float16 or float32"),
        (lambda q, c: maxsim_kernels.maxsim_float(q[:0], c), "at least one token"),
        (lambda q, c: maxsim_kernels.maxsim_float(q, c[:, :0]), "at least one token"),
        (lambda q, c: maxsim_kernels.maxsim_float(q[:, :4], c[:, :, ::2]), "side by side"),
        (lambda q, c: maxsim_kernels.maxsim_float(q, c, np.array([0.5])), "whole numbers"),
        (lambda q, c: maxsim_kernels.maxsim_int8(q, q[:, 0], c, c[:, 0, 0]), "in int8"),
        (
            lambda q, c: maxsim_kernels.maxsim_int8(ints(1, 2, 8), q[:, 0], ints(1, 3, 4, 8), q[:, 0]),
            "scales",
        ),
        (lambda q, c: maxsim_kernels.maxsim_lookup(q, c), "needs a table"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(random_vectors(1, 2, 8), random_vectors(2, 3, 4, 8))


@pytest.mark.parametrize("score", [maxsim_kernels.maxsim_float, maxsim.maxsim, maxsim.maxsim_numpy])
@pytest.mark.parametrize("row", [-1, 3])
def test_a_row_that_is_no_page_is_refused(score, row: int) -> None:
    with pytest.raises(IndexError, match="Rows are 0 to 2 here"):
        score(random_vectors(1, 2, 8), random_vectors(2, 3, 4, 8), np.array([0, row]))


# maxsim() and its fallback


@pytest.mark.parametrize("rows", [None, np.array([499, 0, 7])])
def test_maxsim_takes_the_kernels_for_large_inputs_only(monkeypatch: pytest.MonkeyPatch, rows) -> None:
    taken = []
    whole = maxsim_kernels.maxsim_float
    monkeypatch.setattr(maxsim_kernels, "maxsim_float", lambda *given: taken.append(1) or whole(*given))
    monkeypatch.setattr(maxsim_kernels, "loaded", lambda: False)  # else smaller ones are worth it already
    q, c = random_vectors(1, 8, 32), random_vectors(2, 500, 16, 32).astype(np.float16)
    small = maxsim.maxsim(q, c, rows)
    assert not taken
    monkeypatch.setattr(maxsim, "KERNEL_FROM", 0)
    np.testing.assert_allclose(maxsim.maxsim(q, c, rows), small, atol=1e-5)
    assert taken
    # What the kernels do not read goes to numpy.
    np.testing.assert_allclose(maxsim.maxsim(q, c.astype(np.float64), rows), small, atol=1e-5)
    np.testing.assert_allclose(maxsim.maxsim(q, np.asfortranarray(c), rows), small, atol=1e-5)
    assert len(taken) == 1


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process."""
    monkeypatch.setattr(maxsim_kernels, "_loaded", None)
    monkeypatch.setattr(maxsim_kernels, "_tried", False)
    monkeypatch.setattr(maxsim, "KERNEL_FROM", 0)


@pytest.mark.usefixtures("unloaded")
def test_without_numba_one_warning_and_numpy(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)  # what makes `import numba` fail
    monkeypatch.delitem(sys.modules, "metaembed_demo.index.maxsim_simd")
    monkeypatch.delattr("metaembed_demo.index.maxsim_simd")
    q, c = random_vectors(1, 2, 8), random_vectors(2, 3, 4, 8)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            np.testing.assert_array_equal(maxsim.maxsim(q, c), maxsim.maxsim_numpy(q, c))
    assert [record.message[:20] for record in caplog.records] == ["MaxSim runs on numpy"]
    with pytest.raises(RuntimeError, match="not available"):
        maxsim_kernels.maxsim_float(q, c)


@pytest.mark.usefixtures("unloaded")
def test_switched_off_it_is_numpy_without_a_warning(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setenv("METAEMBED_NUMBA", "0")
    monkeypatch.setattr(maxsim_kernels, "KERNELS", Kernels())
    q, c = random_vectors(1, 2, 8), random_vectors(2, 3, 4, 8)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(maxsim.maxsim(q, c), maxsim.maxsim_numpy(q, c))
    assert not maxsim_kernels.available()
    assert not caplog.records


def run(code: str, **surroundings: str) -> str:
    """What a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **surroundings},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_numba_is_imported_when_first_used() -> None:
    code = (
        "import sys, metaembed_demo.index.maxsim as m, metaembed_demo.index.maxsim_kernels as k; "
        "print('numba' in sys.modules)"
    )
    assert run(code) == "False"


SCORE = """
import numpy as np
from metaembed_demo.index import maxsim_kernels as kernels
assert kernels.available()
rng = np.random.default_rng(1)
q, c = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((16, 50), (40, 20, 50)))
ones = np.ones(40, np.float32)
scores = kernels.maxsim_int8(q, ones[:16], c, ones)
assert scores.tolist() == np.einsum("id,njd->nij", q.astype(int), c.astype(int)).max(2).sum(1).tolist()
halves = kernels.maxsim_float(q.astype(np.float32), c.astype(np.float16))
assert halves.tolist() == scores.tolist()
print(kernels.threads(), kernels._load().host)
"""


@pytest.mark.slow
@pytest.mark.parametrize("features", ["+avx,+avx2,+fma,+f16c", "+avx,+f16c"])
def test_a_machine_without_vnni_finds_the_same(tmp_path: Path, features: str) -> None:
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    older = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": features} if x86 else {}
    found = run(SCORE, NUMBA_CACHE_DIR=str(tmp_path), **older)
    assert found.endswith(f"Host(lanes=8, vnni=False, madd={'avx2' in features and x86})")


def test_a_machine_without_float16_gets_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    from metaembed_demo.index import maxsim_simd

    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(maxsim_simd, "_features", lambda: "+sse2,+avx,-f16c")
    with pytest.raises(RuntimeError, match="float16"):
        maxsim_simd.compiled()


@pytest.mark.slow
def test_what_was_compiled_is_kept_where_numba_is_told(tmp_path: Path) -> None:
    run(SCORE, NUMBA_CACHE_DIR=str(tmp_path))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")}
    assert {path.suffix for path in kept} == {".nbi", ".nbc"}
    run(SCORE, NUMBA_CACHE_DIR=str(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")} == kept


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["a file where the folder should be", "torn files"])
def test_a_cache_that_does_not_work_is_done_without(tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    if damage == "torn files":
        run(SCORE, NUMBA_CACHE_DIR=str(cache))
        for path in cache.rglob("*.nb?"):
            path.write_bytes(path.read_bytes()[:100])
    else:
        cache.write_text("")
    run(SCORE, NUMBA_CACHE_DIR=str(cache))


@pytest.mark.slow
def test_a_forked_child_has_threads_of_its_own() -> None:
    code = SCORE.replace("assert kernels.available()", "kernels.ONE_THREAD = 0\nkernels.threads = lambda: 2")
    code += "\nimport os\nchild = os.fork() if hasattr(os, 'fork') else 0\n"
    code += "again = kernels.maxsim_int8(q, ones[:16], c, ones)\n"
    code += "assert (again == scores).all()\nif child: assert os.waitpid(child, 0)[1] == 0"
    assert "Host" in run(code)


def test_tasks_side_by_side_wait_for_no_thread_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would share its pages among the very threads that are busy with the tasks."""
    monkeypatch.setattr(maxsim_kernels, "ONE_THREAD", 0)
    monkeypatch.setattr(maxsim_kernels, "threads", lambda: 2)
    monkeypatch.setattr(maxsim_kernels, "_pool", None)
    q, pages = random_vectors(1, 4, 32), random_vectors(2, 40, 8, 32)
    names: set[str] = set()

    def scored(start: int) -> np.ndarray:
        names.add(threading.current_thread().name)
        return maxsim_kernels.maxsim_float(q, pages[start : start + 10])

    found: list[list[np.ndarray]] = []
    asked = threading.Thread(
        target=lambda: found.append(
            maxsim_kernels.each([partial(scored, start) for start in range(0, 40, 10)])
        ),
        daemon=True,
    )
    asked.start()
    asked.join(60)
    assert found, "the threads wait for each other"
    np.testing.assert_allclose(np.concatenate(found[0]), maxsim_kernels.maxsim_float(q, pages), rtol=1e-6)
    assert all(name.startswith("maxsim") for name in names)
    with pytest.raises(IndexError):
        maxsim_kernels.each([lambda: pages[99], lambda: pages[0]])


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_a_containers_limit_is_read(tmp_path: Path, files: dict[str, str], cores: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert maxsim_kernels._quota(tmp_path) == cores


def test_threads_are_the_cores_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    for limit, count in ((None, 8), (1.5, 2), (0.5, 1), (64.0, 8)):
        monkeypatch.setattr(maxsim_kernels, "_quota", lambda root, limit=limit: limit)
        assert maxsim_kernels.threads() == count
