"""Self filtering against explicit differences of all pairs."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import distance_rowsum


def all_pairs(features: npt.NDArray[np.float64]) -> list[float]:
    return [
        sum(float(np.linalg.norm(a - b)) for j, b in enumerate(features) if j != i) / (len(features) - 1)
        for i, a in enumerate(features)
    ]


@settings(deadline=None, max_examples=30)
@given(n=st.integers(2, 30), channels=st.integers(1, 12), seed=st.integers(0, 999))
def test_it_is_the_mean_distance_to_all_other_cells(n: int, channels: int, seed: int) -> None:
    features = np.random.default_rng(seed).normal(5, 1, (n, channels))
    # The Gram form leaves sqrt(2^-52) of the norm in a distance of nearly equal cells.
    np.testing.assert_allclose(distance_rowsum(features), all_pairs(features), rtol=1e-9, atol=1e-7)


def test_tiles_do_not_show_in_the_result() -> None:
    features = np.random.default_rng(1).normal(0, 1, (1500, 7)).astype(np.float32)
    sums = distance_rowsum(features)
    exact = features.astype(np.float64)
    assert sums.dtype == np.float32
    for i in (0, 173, 174, 175, 1499):
        expected = np.linalg.norm(exact - exact[i], axis=1).sum() / 1499
        # Float32 Gram form; distances here are as large as the norms.
        assert sums[i] == pytest.approx(expected, rel=1e-5)


def test_a_far_mean_does_not_cost_digits() -> None:
    """Nearly constant images: without centring, float32 would return noise here."""
    noise = np.random.default_rng(2).normal(0, 1, (300, 16))
    features = np.float32(1000) + noise.astype(np.float32)
    exact = features.astype(np.float64)
    expected = [np.linalg.norm(exact - row, axis=1).sum() / 299 for row in exact]
    # Both see the same inputs. The mean is rounded to float32, but shifts all cells alike.
    np.testing.assert_allclose(distance_rowsum(features), expected, rtol=1e-5)


def test_a_single_cell_has_no_distance() -> None:
    assert distance_rowsum(np.ones((1, 4), np.float32)).tolist() == [0.0]


@pytest.mark.parametrize("seed", range(10))
def test_a_cell_is_at_no_distance_from_itself(seed: int) -> None:
    """Two cells: rounding would leave up to sqrt(2^-23) of the norm as distance to oneself."""
    features = np.random.default_rng(seed).normal(0, 1, (2, 100)).astype(np.float32)
    expected = np.linalg.norm(np.float64(features[0]) - np.float64(features[1]))
    # Float32 sums of 100 terms.
    np.testing.assert_allclose(distance_rowsum(features), expected, rtol=2e-6)


def test_equal_cells_have_no_distance() -> None:
    assert not distance_rowsum(np.full((50, 3), 7.3, np.float32)).any()


def test_a_cell_that_is_not_a_number_spoils_all_distances() -> None:
    features = np.ones((5, 3))
    features[2, 1] = np.nan
    assert np.isnan(distance_rowsum(features)).all()
