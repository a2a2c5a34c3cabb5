"""Compiled distances against the reference."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels import native, reference
from kernels.arrays import F32
from kernels.native import Library

KINDS: tuple[Literal["cosine", "l2"], ...] = ("cosine", "l2")


def pair(h: int, w: int, channels: int, seed: int = 0) -> tuple[F32, F32]:
    draw = np.random.default_rng(seed)
    first = draw.normal(0.5, 1, (h, w, channels)).astype(np.float32)
    return first, first + draw.normal(0, 0.5, first.shape).astype(np.float32)


# The fixture only picks the library; it holds nothing that one example could leave to the next.
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 130)),
    kind=st.sampled_from(KINDS),
    threads=st.sampled_from([1, 2, 5]),
    seed=st.integers(0, 99),
)
def test_every_shape_agrees(
    native_library: Library,
    size: tuple[int, int, int],
    kind: Literal["cosine", "l2"],
    threads: int,
    seed: int,
) -> None:
    first, second = pair(*size, seed)
    found = native.distance_map(first, second, kind, threads=threads)
    assert found.dtype == np.float32
    # Sums of C <= 130 float32 terms in another order; 1 - cosine keeps the absolute error of the cosine.
    np.testing.assert_allclose(found, reference.distance_map(first, second, kind), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 256, 1024])
def test_it_is_as_close_to_float64_as_the_reference(
    native_library: Library, kind: Literal["cosine", "l2"], channels: int
) -> None:
    first, second = pair(16, 16, channels)
    exact = reference.distance_map(first.astype(np.float64), second.astype(np.float64), kind)
    # 2^-24 per term; the sums grow to a few hundred of them in each lane.
    np.testing.assert_allclose(native.distance_map(first, second, kind), exact, rtol=1e-6, atol=3e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_threads_changes_no_bit(native_library: Library, kind: Literal["cosine", "l2"]) -> None:
    first, second = pair(13, 7, 67)
    alone = native.distance_map(first, second, kind)
    for threads in (2, 3, 64, 500):
        np.testing.assert_array_equal(native.distance_map(first, second, kind, threads=threads), alone)


@pytest.mark.parametrize("channels", [1, 4, 100])
def test_a_zero_vector_is_at_cosine_distance_one(native_library: Library, channels: int) -> None:
    zero, one = np.zeros((2, 3, channels), np.float32), np.ones((2, 3, channels), np.float32)
    for first, second in ((zero, one), (one, zero), (zero, zero)):
        assert (native.distance_map(first, second, "cosine") == 1).all()


def test_equal_maps_have_no_distance_and_opposite_ones_two(native_library: Library) -> None:
    first, _ = pair(8, 8, 33)
    cosine = native.distance_map(first, 3 * first, "cosine")
    assert (cosine >= 0).all()
    # Rounding of three float32 sums of 33 terms.
    assert cosine.max() < 1e-6
    np.testing.assert_allclose(native.distance_map(first, -first, "cosine"), 2, rtol=1e-6)
    assert not native.distance_map(first, first, "l2").any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", [0, 31, 98, 99])
def test_what_is_not_finite_shows_in_its_cell_alone(
    native_library: Library, kind: Literal["cosine", "l2"], value: float, channel: int
) -> None:
    plain, broken = pair(3, 4, 100)
    broken[1, 2, channel] = value
    for pairing in ((plain, broken), (broken, plain)):
        found = native.distance_map(*pairing, kind)
        with np.errstate(invalid="ignore"):
            expected = reference.distance_map(*pairing, kind)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
        assert (~np.isfinite(found)).sum() == (~np.isfinite(found[1, 2])).sum() == 1


@pytest.mark.parametrize("size", [1e-30, 1e18, 1e30])
def test_values_beyond_what_can_be_squared_end_as_in_the_reference(
    native_library: Library, size: float
) -> None:
    first, second = pair(4, 4, 20)
    first, second = (array * np.float32(size) for array in (first, second))
    for kind in KINDS:
        with np.errstate(over="ignore", invalid="ignore"):
            expected = reference.distance_map(first, second, kind)
        np.testing.assert_allclose(native.distance_map(first, second, kind), expected, rtol=2e-6, atol=1e-6)


def test_it_writes_where_it_is_told_and_reads_any_view(native_library: Library) -> None:
    first, second = pair(8, 9, 12)
    out = np.empty((4, 3), np.float32)
    assert native.distance_map(first[::2, ::3], second[::2, ::3], "l2", out) is out
    expected = reference.distance_map(first[::2, ::3], second[::2, ::3], "l2")
    np.testing.assert_allclose(out, expected, rtol=2e-6)


def test_wrong_arguments_are_refused(native_library: Library) -> None:
    first, second = pair(2, 2, 3)
    with pytest.raises(ValueError, match="shapes differ"):
        native.distance_map(first, second[:1], "l2")
    with pytest.raises(ValueError, match="kind is 'l1'"):
        native.distance_map(first, second, "l1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected float32"):
        native.distance_map(first.astype(np.float64), second, "l2")
    with pytest.raises(ValueError, match="threads is 0"):
        native.distance_map(first, second, "l2", threads=0)
