"""Compiled border, map and score against the reference."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels import finish_matrix, native, reference
from kernels.arrays import F32
from kernels.native import Library

Scales = tuple[list[F32], list[F32], list[F32]]
FUSIONS = ("product", "sum", "mean")
SCORES = ("max", "mean_top", "std")
# The fixture only picks the library; it holds nothing that one example could leave to the next.
EXAMPLES = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def positive(seed: int, *shape: int) -> F32:
    values: F32 = np.random.default_rng(seed).random(shape).astype(np.float32) + np.float32(0.5)
    return values


def scales(sizes: list[tuple[int, int]], height: int, width: int, seed: int) -> Scales:
    """Maps with full matrices, random and partly negative: nothing is banded."""
    draw = np.random.default_rng(seed)
    matrix = [
        draw.normal(0.3, 1, (n, m)).astype(np.float32) for h, w in sizes for n, m in ((height, h), (width, w))
    ]
    return [positive(seed + i, *size) for i, size in enumerate(sizes)], matrix[::2], matrix[1::2]


def as_it_is(cells: F32, **options: Any) -> tuple[F32, float]:
    """One map that needs no enlarging."""
    h, w = cells.shape
    return native.finish_map([cells], [np.eye(h, dtype=np.float32)], [np.eye(w, dtype=np.float32)], **options)


@EXAMPLES
@given(
    h=st.integers(1, 12),
    w=st.integers(1, 12),
    ring=st.integers(0, 4),
    skipped=st.integers(0, 4),
    mode=st.sampled_from(["min", "edge"]),
)
def test_the_border_is_filled_as_in_the_reference(
    native_library: Library, h: int, w: int, ring: int, skipped: int, mode: Literal["min", "edge"]
) -> None:
    size, skipped = (h + 2 * ring, w + 2 * ring), min(skipped, ring)
    errors = positive(h * 100 + w, size[0] - 2 * skipped, size[1] - 2 * skipped)
    found = native.fill_border(errors, size, ring, mode)
    np.testing.assert_array_equal(found, reference.fill_border(errors, size, ring, mode))


@pytest.mark.parametrize("place", [(0, 0), (3, 3), (5, 5)])
def test_what_is_not_a_number_fills_the_ring(native_library: Library, place: tuple[int, int]) -> None:
    errors = positive(1, 6, 6)
    errors[place] = np.nan
    found = native.fill_border(errors, (8, 8), 3, "min")
    np.testing.assert_array_equal(found, reference.fill_border(errors, (8, 8), 3, "min"))
    assert np.isnan(found[0, 0])


def test_a_border_that_does_not_fit_is_refused(native_library: Library) -> None:
    for shape, ring, match in (
        ((5, 6), 2, "centred"),
        ((10, 10), 2, "centred"),
        ((8, 8), 4, "leaves nothing"),
    ):
        with pytest.raises(ValueError, match=match):
            native.fill_border(np.ones(shape, np.float32), (8, 8), ring, "min")
    with pytest.raises(ValueError, match="mode is 'mean'"):
        native.fill_border(np.ones((8, 8), np.float32), (8, 8), 1, "mean")  # type: ignore[arg-type]


@EXAMPLES
@given(
    sizes=st.lists(st.tuples(st.integers(1, 35), st.integers(1, 35)), min_size=1, max_size=3),
    out=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    fusion=st.sampled_from(FUSIONS),
    threads=st.sampled_from([1, 2, 5]),
    seed=st.integers(0, 99),
)
def test_full_matrices_of_every_size_agree(
    native_library: Library,
    sizes: list[tuple[int, int]],
    out: tuple[int, int],
    fusion: Any,
    threads: int,
    seed: int,
) -> None:
    given_scales = scales(sizes, *out, seed)
    found, score = native.finish_map(*given_scales, fusion, threads=threads)
    exact = reference.finish_map([m.astype(np.float64) for m in given_scales[0]], *given_scales[1:], fusion)[
        0
    ]
    assert found.shape == out
    # Signs differ, so that sums of up to 35 * 35 terms cancel: the error is relative to the greatest value.
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max())
    assert score == found.max()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_papers_matrices_agree(native_library: Library, fusion: Any) -> None:
    matrices = [finish_matrix(40, 320, 256, 3, 32), finish_matrix(20, 320, 256, 3, 32)]
    maps = [positive(1, 40, 40), positive(2, 20, 20)]
    found, score = native.finish_map(maps, matrices, matrices, fusion)
    expected, right = reference.finish_map(maps, matrices, matrices, fusion)
    # Short sums of positive float32 terms in another order.
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    assert score == pytest.approx(right, rel=2e-6)


def test_the_number_of_threads_changes_no_bit(native_library: Library) -> None:
    given_scales = scales([(17, 9), (8, 5)], 61, 43, 3)
    alone = native.finish_map(*given_scales)
    for threads in (2, 3, 64, 500):
        found, score = native.finish_map(*given_scales, threads=threads)
        np.testing.assert_array_equal(found, alone[0])
        assert score == alone[1]


@EXAMPLES
@given(
    size=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    score=st.sampled_from(SCORES),
    top=st.sampled_from([1e-9, 0.01, 0.3, 1.0]),
    profile=st.booleans(),
    masked=st.booleans(),
    ties=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_score_agrees(
    native_library: Library,
    size: tuple[int, int],
    score: Any,
    top: float,
    profile: bool,
    masked: bool,
    ties: bool,
    seed: int,
) -> None:
    cells = positive(seed, *size)
    cells[: size[0] // 16 + 1] *= 2
    cells[:, : size[1] // 16 + 1] *= 3
    if ties:
        cells = np.round(cells)
    mask = positive(seed + 1, *size) - np.float32(0.5) if masked else None
    eye = [np.eye(n, dtype=np.float32) for n in size]
    expected = reference.finish_map([cells], eye[:1], eye[1:], "sum", score, top, mask, profile)
    found = native.finish_map([cells], eye[:1], eye[1:], "sum", score, top, mask, profile)
    np.testing.assert_array_equal(found[0], expected[0])
    # Every cell has the reference's bits; only the order of float64 sums differs.
    assert found[1] == pytest.approx(expected[1], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("profile", [False, True])
def test_negative_cells_and_zeros_are_ranked_too(native_library: Library, score: Any, profile: bool) -> None:
    for cells in (positive(4, 33, 20) - 1, -positive(5, 33, 20), np.zeros((33, 20), np.float32)):
        expected = reference.finish_map(
            [cells],
            [np.eye(33, dtype=np.float32)],
            [np.eye(20, dtype=np.float32)],
            "sum",
            score,
            profile=profile,
        )
        found = as_it_is(cells, fusion="sum", score=score, profile=profile)
        assert found[1] == pytest.approx(expected[1], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("profile", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (12, 12), (23, 22)])
def test_what_is_not_finite_is_never_hidden(
    native_library: Library, score: str, profile: bool, value: float, place: tuple[int, int]
) -> None:
    cells = positive(7, 24, 23)
    cells[place] = value
    nothing = np.zeros((24, 23), np.float32)
    for mask in (None, nothing):
        found = as_it_is(cells, score=score, profile=profile, mask=mask)
        assert np.isnan(found[1])
        assert np.isnan(found[0]).all()


def test_what_is_not_a_number_outside_the_crop_is_not_hidden(native_library: Library) -> None:
    matrix = finish_matrix(40, 320, 256, 3, 32)
    assert not matrix[:, 0].any()
    cells = positive(8, 40, 40)
    cells[0, 0] = np.nan
    assert np.isnan(native.finish_map([cells], [matrix], [matrix])[1])


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("profile", [False, True])
def test_a_product_that_overflows_gives_no_finite_score(
    native_library: Library, score: Any, profile: bool
) -> None:
    cells = np.full((9, 9), 1e30, np.float32)
    eye = np.eye(9, dtype=np.float32)
    fused, found = native.finish_map(
        [cells, cells], [eye, eye], [eye, eye], "product", score, profile=profile
    )
    assert np.isinf(fused).all()
    assert not np.isfinite(found)


def test_it_writes_where_it_is_told_and_reads_any_view(native_library: Library) -> None:
    cells, out = positive(9, 20, 20), np.empty((10, 10), np.float32)
    fused, _ = as_it_is(cells[::2, ::2], out=out)
    assert fused is out
    np.testing.assert_array_equal(out, cells[::2, ::2])


def test_wrong_arguments_are_refused(native_library: Library) -> None:
    cells, eye = positive(10, 24, 24), np.eye(24, dtype=np.float32)
    with pytest.raises(ValueError, match="0 maps"):
        native.finish_map([], [], [])
    with pytest.raises(ValueError, match="do not fit a map"):
        native.finish_map([cells[1:]], [eye], [eye])
    with pytest.raises(ValueError, match="different sizes"):
        native.finish_map([cells, cells], [eye, eye[1:]], [eye, eye])
    with pytest.raises(ValueError, match="mask is"):
        as_it_is(cells, mask=np.ones((2, 2), np.float32))
    with pytest.raises(ValueError, match="expected float32"):
        as_it_is(cells.astype(np.float64))
    for options in ({"fusion": "max"}, {"score": "median"}, {"score": "mean_top", "top": 0.0}):
        with pytest.raises(ValueError, match="expected"):
            as_it_is(cells, **options)


def test_arrays_that_may_only_be_read_are_read(native_library: Library) -> None:
    cells, eye = positive(11, 6, 6), np.eye(6, dtype=np.float32)
    for array in (cells, eye):
        array.flags.writeable = False
    np.testing.assert_array_equal(native.finish_map([cells], [eye], [eye])[0], cells)
