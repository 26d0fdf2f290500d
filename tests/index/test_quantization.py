"""Codecs: what the codes are, that scores are MaxSim of what they stand for, that state comes back whole."""

from typing import Any

import numpy as np
import pytest

from metaembed_demo.index import maxsim_kernels
from metaembed_demo.index.maxsim import maxsim
from metaembed_demo.index.quantization import KINDS, Codec, codec, pq_parts
from tests.support.sample_pages import random_vectors, unit

R_C, DIM = 8, 16
SQUARE = np.array([[[1.0, -0.5], [0.25, 0.0]]], dtype=np.float32)  # one page of two vectors


def made(kind: str, r_c: int = R_C, dim: int = DIM) -> Codec:
    return codec(kind, r_c, dim, random_vectors(9, 64, r_c, dim))


@pytest.fixture(params=[True, False], ids=["kernels", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Score with the kernels, where they are to be had, and without."""
    if not request.param:
        monkeypatch.setattr(maxsim_kernels, "available", lambda: False)


# What is kept


def test_float16_keeps_components() -> None:
    (codes,) = codec("float16", 2, 2).encode(SQUARE)
    assert codes.dtype == np.float16
    assert codes.tolist() == SQUARE.tolist()


def test_int8_counts_in_127ths_of_the_pages_largest() -> None:
    pages = np.concatenate([SQUARE, 2 * SQUARE])
    codes, scale = codec("int8", 2, 2).encode(pages)
    assert codes.tolist() == [[[127, -64], [32, 0]]] * 2
    assert scale.tolist() == pytest.approx([1 / 127, 2 / 127])


def test_int8_is_off_by_half_a_step_at_most() -> None:
    pages = random_vectors(0, 20, R_C, DIM)
    kept = codec("int8", R_C, DIM)
    codes, scale = kept.encode(pages)
    assert (np.abs(kept.decode([codes, scale]) - pages) <= 0.5001 * scale[:, None, None]).all()


@pytest.mark.filterwarnings("error")
def test_int8_of_an_empty_page_is_zeros() -> None:
    kept = codec("int8", 2, 2)
    codes = kept.encode(np.zeros((1, 2, 2), np.float32))
    assert kept.decode(codes).tolist() == [[[0, 0], [0, 0]]]


def test_binary_keeps_signs_eight_to_a_byte() -> None:
    page = np.array([[[1, -1, -1, -1, -1, -1, -1, 1, 1, -1]]], dtype=np.float32)
    kept = codec("binary", 1, 10)
    (codes,) = kept.encode(page)
    assert codes.tolist() == [[[0b10000001, 0b10000000]]]
    assert kept.decode([codes]) == pytest.approx(page / np.sqrt(10))


def test_pq_is_exact_where_parts_have_256_values() -> None:
    rng = np.random.default_rng(0)
    values = rng.permutation(np.stack(np.meshgrid(np.arange(16), np.arange(16)), -1).reshape(256, 2))
    pages = np.concatenate([values, rng.permutation(values)], axis=1).reshape(64, 4, 4).astype(np.float32)
    kept = codec("pq", 4, 4, sample=pages, parts=2)
    (codes,) = kept.encode(pages)
    assert codes.shape == (64, 4, 2)
    assert kept.decode([codes]) == pytest.approx(pages)


def test_pq_takes_the_nearest_centroid_of_each_part() -> None:
    kept, pages = made("pq"), random_vectors(1, 5, R_C, DIM)
    (codes,) = kept.encode(pages)
    parts = pages.reshape(5, R_C, DIM // 4, 1, 4)
    distance = np.linalg.norm(parts - kept.state()["centroids"], axis=-1)
    taken = np.take_along_axis(distance, codes[..., None].astype(int), -1)[..., 0]
    assert taken == pytest.approx(distance.min(-1))


def test_pq_encodes_a_page_alone_as_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, pages = made("pq"), random_vectors(1, 6, R_C, DIM)
    (together,) = kept.encode(pages)
    monkeypatch.setattr(
        "metaembed_demo.index.quantization.CHUNK_DISTANCES", 3 * 4 * 256
    )  # three vectors at a time
    assert kept.encode(pages)[0].tolist() == together.tolist()


@pytest.mark.filterwarnings("error")
def test_pq_takes_pages_of_zeros_and_no_pages() -> None:
    kept = made("pq")
    assert kept.encode(np.zeros((1, R_C, DIM), np.float32))[0].shape == (1, R_C, 4)
    assert kept.encode(np.zeros((0, R_C, DIM), np.float32))[0].shape == (0, R_C, 4)


def test_more_bytes_come_closer() -> None:
    """float16, int8, pq, binary in this order, and pq of more parts over pq of fewer."""
    pages = unit(random_vectors(2, 200, R_C, 1) + 0.3 * random_vectors(3, 200, R_C, 128))
    sample = pages[:150]
    kept = [codec(kind, R_C, 128, sample) for kind in KINDS] + [codec("pq", R_C, 128, sample, parts=8)]
    lost = [float(np.square(one.decode(one.encode(pages)) - pages).sum(-1).mean()) for one in kept]
    float16, int8, pq, _, few = lost
    assert float16 < int8 < pq < few


def test_a_rotation_brings_scores_closer_where_few_components_hold_most() -> None:
    few = np.where(np.arange(64) < 8, 1, 0.1).astype(np.float32)
    pages = unit(random_vectors(5, 200, R_C, 64) * few)
    query = unit(random_vectors(6, 1, 3, 64)[0] * few)
    exact = maxsim(query, pages)
    alike = []
    for kept in (codec("binary", R_C, 64), codec("binary", R_C, 64, state={})):
        scores = kept.score(query, kept.encode(pages), R_C)
        assert scores == pytest.approx(maxsim(query, kept.decode(kept.encode(pages))), abs=1e-4)
        alike.append(np.corrcoef(scores, exact)[0, 1])
    assert alike[0] > alike[1]


def test_codes_from_before_the_rotation_are_read_as_they_are() -> None:
    pages = random_vectors(6, 3, R_C, 64)
    old, new = codec("binary", R_C, 64, state={}), codec("binary", R_C, 64)
    assert (old.encode(pages)[0] == np.packbits(pages > 0, axis=-1)).all()
    assert (new.encode(pages)[0] != old.encode(pages)[0]).any()
    again = codec("binary", R_C, 64, state=new.state())
    assert (again.encode(pages)[0] == new.encode(pages)[0]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_layout_and_bytes_are_those_of_the_codes(kind: str) -> None:
    kept = made(kind)
    codes = kept.encode(random_vectors(4, 3, R_C, DIM))
    assert tuple((array.shape[1:], array.dtype) for array in codes) == kept.layout
    assert kept.bytes_per_page(R_C) == sum(array.nbytes for array in codes) / 3


@pytest.mark.slow
def test_bytes_of_a_page_of_64_by_128() -> None:
    sizes = {kind: made(kind, 64, 128).bytes_per_page(64) for kind in KINDS}
    assert sizes == {"float16": 16384, "int8": 8196, "pq": 2048, "binary": 1024}
    assert codec("float16", 64, 128).bytes_per_page(16) == 4096
    assert codec("binary", 64, 128).bytes_per_page(16) == 256


# Scores


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("r_q", "r_c"), [(1, 1), (3, 5), (6, R_C)])
def test_score_is_maxsim_of_what_the_codes_stand_for(kind: str, r_q: int, r_c: int) -> None:
    kept = made(kind)
    q, pages = random_vectors(5, r_q, DIM), random_vectors(6, 30, R_C, DIM)
    codes = kept.encode(pages)
    expected = maxsim(q, kept.decode(codes)[:, :r_c])
    # int8 rounds the query as well: half a 127th of a component, times D, for each query token.
    off = r_q * np.sqrt(DIM) * 0.5 / 127 if kind == "int8" else 1e-5
    assert kept.score(q, codes, r_c) == pytest.approx(expected, abs=off)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", KINDS)
def test_score_of_some_rows(kind: str) -> None:
    kept = made(kind)
    q, codes = random_vectors(5, 4, DIM), kept.encode(random_vectors(6, 30, R_C, DIM))
    rows = np.array([29, 3, 3, 0])
    assert kept.score(q, codes, 5, rows) == pytest.approx(kept.score(q, codes, 5)[rows], abs=1e-6)
    assert kept.score(q, codes, 5, rows[:0]).shape == (0,)
    assert kept.score(q, [array[:0] for array in codes], 5).shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_and_numpy_score_alike(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = made(kind, 20, 48)
    q, codes = random_vectors(5, 16, 48), kept.encode(random_vectors(6, 300, 20, 48))
    fast = kept.score(q, codes, 17)
    monkeypatch.setattr(maxsim_kernels, "available", lambda: False)
    assert kept.score(q, codes, 17) == pytest.approx(fast, abs=1e-4)


@pytest.mark.usefixtures("way")
def test_numpy_goes_through_many_pages_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaembed_demo.index.quantization.CHUNK_COMPONENTS", 3 * R_C * DIM)
    kept = made("pq")
    q, codes = random_vectors(5, 4, DIM), kept.encode(random_vectors(6, 10, R_C, DIM))
    one_by_one = [kept.score(q, [array[at : at + 1] for array in codes], R_C)[0] for at in range(10)]
    assert kept.score(q, codes, R_C) == pytest.approx(one_by_one, abs=1e-6)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", KINDS)
def test_codes_on_disk_score_as_those_in_memory(kind: str, tmp_path: Any) -> None:
    kept = made(kind)
    q, codes = random_vectors(5, 4, DIM), kept.encode(random_vectors(6, 10, R_C, DIM))
    mapped = []
    for at, array in enumerate(codes):
        np.save(tmp_path / f"{at}.npy", array)
        mapped.append(np.load(tmp_path / f"{at}.npy", mmap_mode="r"))
    assert kept.score(q, mapped, 3).tolist() == kept.score(q, codes, 3).tolist()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", ["float16", "int8", "binary", "pq"])
@pytest.mark.parametrize("dim", [1, 7, 33])
def test_any_number_of_components(kind: str, dim: int) -> None:
    kept = made(kind, R_C, dim)
    q, codes = random_vectors(5, 2, dim), kept.encode(random_vectors(6, 9, R_C, dim))
    found = kept.score(q, codes, R_C)
    assert found == pytest.approx(maxsim(q, kept.decode(codes)), abs=0.1 if kind == "int8" else 1e-5)


# State


@pytest.mark.parametrize("kind", KINDS)
def test_state_comes_back_whole(kind: str) -> None:
    kept, pages = made(kind), random_vectors(7, 5, R_C, DIM)
    again = codec(kind, R_C, DIM, state=kept.state())
    assert again.layout == kept.layout
    for name, array in kept.state().items():
        assert array.dtype == np.float32
        assert array.tobytes() == again.state()[name].tobytes()
    for one, other in zip(kept.encode(pages), again.encode(pages), strict=True):
        assert one.tobytes() == other.tobytes()


def test_fitting_twice_gives_the_same_codebook() -> None:
    assert made("pq").state()["centroids"].tobytes() == made("pq").state()["centroids"].tobytes()


def test_changing_a_given_state_changes_nothing() -> None:
    kept = made("pq")
    kept.state()["centroids"][:] = 0
    assert np.any(kept.state()["centroids"])


def test_parts_of_pq_come_from_the_state() -> None:
    few = codec("pq", R_C, DIM, random_vectors(9, 64, R_C, DIM), parts=2)
    assert codec("pq", R_C, DIM, state=few.state()).bytes_per_page(R_C) == 2 * R_C


@pytest.mark.parametrize(("dim", "parts"), [(128, 32), (384, 96), (2048, 512), (10, 2), (13, 1), (3, 1)])
def test_parts_divide_the_components(dim: int, parts: int) -> None:
    assert pq_parts(dim) == parts


# Bad input


def test_unknown_kind_names_the_known() -> None:
    with pytest.raises(ValueError, match=r"'int4'.*float16, int8, pq, binary"):
        codec("int4", 2, 2)


@pytest.mark.parametrize(("r_c", "dim"), [(0, 4), (4, 0)])
def test_a_page_needs_a_component(r_c: int, dim: int) -> None:
    with pytest.raises(ValueError, match="at least one vector"):
        codec("int8", r_c, dim)


def test_pq_says_how_many_pages_it_needs() -> None:
    with pytest.raises(ValueError, match=r"at least 256 vectors, better 10,000; 3 pages give 24.*int8"):
        codec("pq", R_C, DIM, random_vectors(0, 3, R_C, DIM))
    with pytest.raises(ValueError, match=r"give it a sample.*int8"):
        codec("pq", R_C, DIM)
    with pytest.raises(ValueError, match=r"\(n, 8, 16\), not \(300, 8, 15\)"):
        codec("pq", R_C, DIM, random_vectors(0, 300, R_C, 15))


def test_pq_refuses_a_sample_that_is_not_finite() -> None:
    sample = random_vectors(0, 64, R_C, DIM)
    sample[63, 7, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        codec("pq", R_C, DIM, sample)


@pytest.mark.parametrize("parts", [0, 3, 32])
def test_pq_refuses_parts_that_do_not_divide(parts: int) -> None:
    with pytest.raises(ValueError, match=f"divide 16; {parts} does not"):
        codec("pq", R_C, DIM, random_vectors(9, 64, R_C, DIM), parts=parts)


@pytest.mark.parametrize("shape", [(4, 256, 8), (4, 255, 4), (16, 16)])
def test_pq_refuses_a_state_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Centroids of pq storage for D = 16"):
        codec("pq", R_C, DIM, state={"centroids": np.zeros(shape, np.float32)})


def test_pq_refuses_a_state_without_centroids() -> None:
    with pytest.raises(ValueError, match=r"its centroids; this one has \['scale'\]"):
        codec("pq", R_C, DIM, state={"scale": np.zeros(1, np.float32)})


@pytest.mark.parametrize("kind", KINDS)
def test_encode_refuses_other_shapes_and_nan(kind: str) -> None:
    kept = made(kind)
    with pytest.raises(ValueError, match=r"\(n, 8, 16\), not \(8, 16\)"):
        kept.encode(random_vectors(0, R_C, DIM))
    pages = random_vectors(0, 2, R_C, DIM)
    pages[1, 0, 0] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        kept.encode(pages)


@pytest.mark.parametrize("kind", KINDS)
def test_score_refuses_what_does_not_fit(kind: str) -> None:
    kept = made(kind)
    q, codes = random_vectors(0, 2, DIM), kept.encode(random_vectors(1, 3, R_C, DIM))
    for r_c in (0, R_C + 1):
        with pytest.raises(ValueError, match=f"hold 1 to 8 vectors, not {r_c}"):
            kept.score(q, codes, r_c)
    with pytest.raises(ValueError, match=r"\(r_q, 16\), not \(2, 15\)"):
        kept.score(q[:, :15], codes, R_C)
    with pytest.raises(ValueError, match=f"not codes of {kind} storage"):
        kept.score(q, [array[:, :5] if array.ndim > 1 else array for array in codes], 5)


def test_codes_of_another_kind_are_refused() -> None:
    codes = codec("float16", R_C, DIM).encode(random_vectors(1, 3, R_C, DIM))
    with pytest.raises(ValueError, match="not codes of int8 storage"):
        codec("int8", R_C, DIM).decode(codes)


def test_arrays_of_unlike_length_are_refused() -> None:
    codes, scale = codec("int8", R_C, DIM).encode(random_vectors(1, 3, R_C, DIM))
    with pytest.raises(ValueError, match="not codes of int8 storage"):
        codec("int8", R_C, DIM).decode([codes, scale[:2]])
