"""Distances between feature maps against loops over cells."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import distance_map


@settings(deadline=None, max_examples=30)
@given(h=st.integers(1, 5), w=st.integers(1, 5), channels=st.integers(1, 6), seed=st.integers(0, 999))
def test_each_cell_is_compared_with_its_counterpart(h: int, w: int, channels: int, seed: int) -> None:
    first, second = np.random.default_rng(seed).normal(0, 1, (2, h, w, channels))
    cosine, l2 = distance_map(first, second, "cosine"), distance_map(first, second, "l2")
    for y in range(h):
        for x in range(w):
            a, b = first[y, x].tolist(), second[y, x].tolist()
            dot = sum(p * q for p, q in zip(a, b, strict=True))
            # Float64; the cosine loses digits where it is near 1.
            assert cosine[y, x] == pytest.approx(1 - dot / (math.hypot(*a) * math.hypot(*b)), abs=1e-12)
            assert l2[y, x] == pytest.approx(math.dist(a, b), rel=1e-12)


def test_equal_maps_have_no_distance_and_opposite_ones_two() -> None:
    features = np.random.default_rng(1).normal(0, 1, (8, 8, 32)).astype(np.float32)
    cosine = distance_map(features, 3 * features, "cosine")
    assert cosine.dtype == np.float32
    assert (cosine >= 0).all()
    # Rounding of three float32 sums of 32 terms.
    assert cosine.max() < 1e-6
    np.testing.assert_allclose(distance_map(features, -features, "cosine"), 2, rtol=1e-6)
    assert not distance_map(features, features, "l2").any()


def test_a_zero_vector_is_at_cosine_distance_one() -> None:
    zero, one = np.zeros((2, 2, 4), np.float32), np.ones((2, 2, 4), np.float32)
    assert (distance_map(zero, one, "cosine") == 1).all()
    assert (distance_map(zero, zero, "cosine") == 1).all()


@pytest.mark.parametrize("kind", ["cosine", "l2"])
def test_what_is_not_a_number_shows(kind: str) -> None:
    first = np.ones((2, 2, 3))
    first[1, 0, 2] = np.nan
    found = distance_map(first, np.ones((2, 2, 3)), kind)  # type: ignore[arg-type]
    assert np.isnan(found).tolist() == [[False, False], [True, False]]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        distance_map(np.ones((2, 2, 3)), np.ones((2, 2, 4)), "l2")
    with pytest.raises(ValueError, match="kind is 'l1'"):
        distance_map(np.ones((2, 2, 3)), np.ones((2, 2, 3)), "l1")  # type: ignore[arg-type]
