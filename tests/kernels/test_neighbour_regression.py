"""GRNR's regression against the problem it solves, stated without its algebra.

The oracle takes each 3x3 patch out by hand and hands LAPACK the stacked least-squares problem over 1 + N
targets in float64: no Gram matrix, no blend, no mean of the global vectors, no shift maps.
"""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import neighbour_regression

F64 = npt.NDArray[np.float64]

STEPS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def stacked_least_squares(features: F64, globals_of: F64, lam: float) -> F64:
    """Residual norms (h - 2, w - 2); globals_of is (h - 2, w - 2, N, C)."""
    h, w, _ = features.shape
    errors = np.empty((h - 2, w - 2))
    for y in range(1, h - 1):
        for x in range(1, w - 1):
            patch = np.stack([features[y + dy, x + dx] for dy, dx in STEPS])
            blocks, targets = [patch.T], [features[y, x]]
            for vector in globals_of[y - 1, x - 1]:
                blocks.append(np.sqrt(lam) * patch.T)
                targets.append(np.sqrt(lam) * vector)
            weights = np.linalg.lstsq(np.concatenate(blocks), np.concatenate(targets), rcond=None)[0]
            errors[y - 1, x - 1] = np.linalg.norm(features[y, x] - weights @ patch)
    return errors


def random_features(seed: int, h: int, w: int, channels: int) -> F64:
    return np.random.default_rng(seed).normal(1.0, 1.0, (h, w, channels))


shapes = st.tuples(st.integers(3, 7), st.integers(3, 7), st.integers(16, 40))
seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None, max_examples=40)
@given(shape=shapes, seed=seeds, count=st.integers(1, 5), lam=st.floats(0, 20))
def test_one_global_vector_equals_least_squares_over_all_targets(
    shape: tuple[int, int, int], seed: int, count: int, lam: float
) -> None:
    features = random_features(seed, *shape)
    vectors = np.random.default_rng(seed + 1).normal(1.0, 1.0, (count, shape[2]))
    expected = stacked_least_squares(
        features, np.broadcast_to(vectors, (shape[0] - 2, shape[1] - 2, *vectors.shape)), lam
    )
    blend = lam * count / (1 + lam * count)
    errors = neighbour_regression(features, vectors.mean(axis=0), blend, ridge=0)
    # The normal equations square a condition number below 1e3: 1e6 * 2^-53 leaves 1e-10.
    np.testing.assert_allclose(errors, expected, rtol=1e-8, atol=1e-10)


@settings(deadline=None, max_examples=40)
@given(shape=shapes, seed=seeds, count=st.integers(1, 3), lam=st.floats(0, 20))
def test_one_vector_per_cell_equals_least_squares_over_all_targets(
    shape: tuple[int, int, int], seed: int, count: int, lam: float
) -> None:
    h, w, channels = shape
    features = random_features(seed, *shape)
    vectors = np.random.default_rng(seed + 1).normal(1.0, 1.0, (h - 2, w - 2, count, channels))
    expected = stacked_least_squares(features, vectors, lam)
    blend = lam * count / (1 + lam * count)
    errors = neighbour_regression(features, vectors.mean(axis=2), blend, ridge=0)
    # As above.
    np.testing.assert_allclose(errors, expected, rtol=1e-8, atol=1e-10)


def test_without_global_weight_it_is_least_squares_on_the_neighbours() -> None:
    features = random_features(3, 6, 5, 20)
    expected = stacked_least_squares(features, np.empty((4, 3, 0, 20)), 0.0)
    errors = neighbour_regression(features, np.full(20, 1e3), blend=0.0, ridge=0)
    # Float64, condition squared: see above.
    np.testing.assert_allclose(errors, expected, rtol=1e-10)


def test_with_infinite_global_weight_it_is_the_distance_to_the_projected_global_vector() -> None:
    features = random_features(4, 5, 6, 20)
    vector = np.random.default_rng(5).normal(1.0, 1.0, 20)
    errors = neighbour_regression(features, vector, blend=1.0, ridge=0)
    for y in range(1, 4):
        for x in range(1, 5):
            basis = np.linalg.qr(np.stack([features[y + dy, x + dx] for dy, dx in STEPS]).T)[0]
            expected = np.linalg.norm(features[y, x] - basis @ (basis.T @ vector))
            assert errors[y - 1, x - 1] == pytest.approx(expected, rel=1e-10)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, blend=st.floats(0, 1))
def test_the_squared_error_is_local_novelty_plus_global_deviation(seed: int, blend: float) -> None:
    features = random_features(seed, 4, 4, 24)
    vector = np.random.default_rng(seed + 1).normal(1.0, 1.0, 24)
    errors = neighbour_regression(features, vector, blend, ridge=0)
    for y in (1, 2):
        for x in (1, 2):
            cell = features[y, x]
            basis = np.linalg.qr(np.stack([features[y + dy, x + dx] for dy, dx in STEPS]).T)[0]
            novelty = cell - basis @ (basis.T @ cell)
            deviation = basis @ (basis.T @ (cell - vector))
            expected = novelty @ novelty + blend**2 * (deviation @ deviation)
            # The spec's own bound for this identity in float64.
            assert errors[y - 1, x - 1] ** 2 == pytest.approx(expected, rel=1e-10)


@settings(deadline=None, max_examples=30)
@given(shape=shapes, seed=seeds, factor=st.floats(0.5, 100))
def test_scaled_features_give_scaled_errors(shape: tuple[int, int, int], seed: int, factor: float) -> None:
    features = random_features(seed, *shape)
    vector = features.mean(axis=(0, 1))
    errors = neighbour_regression(features, vector, 0.995)
    scaled = neighbour_regression(factor * features, factor * vector, 0.995)
    # Features of about 1 keep the relative ridge above the absolute floor at every factor drawn.
    np.testing.assert_allclose(scaled, factor * errors, rtol=1e-9)


def test_the_order_of_the_neighbours_does_not_matter() -> None:
    features = random_features(6, 7, 6, 20)
    vector = features.mean(axis=(0, 1))
    errors = neighbour_regression(features, vector, 0.9)
    for mirrored, back in (
        (features[::-1], errors[::-1]),
        (features[:, ::-1], errors[:, ::-1]),
        (features.transpose(1, 0, 2), errors.T),
    ):
        # Only the order of elimination changes: rounding in float64 times the condition number.
        np.testing.assert_allclose(neighbour_regression(mirrored, vector, 0.9), back, rtol=1e-10)


def test_a_channel_of_zeros_changes_nothing() -> None:
    features = random_features(7, 5, 5, 20)
    vector = features.mean(axis=(0, 1))
    wider = np.concatenate([features, np.zeros((5, 5, 3))], axis=2)
    errors = neighbour_regression(features, vector, 0.9)
    with_zeros = neighbour_regression(wider, np.append(vector, [0, 0, 0]), 0.9)
    # Sums over more channels are taken in another order.
    np.testing.assert_allclose(with_zeros, errors, rtol=1e-12)


def test_one_vector_is_the_same_as_that_vector_for_every_cell() -> None:
    features = random_features(8, 6, 5, 26)
    vector = features.mean(axis=(0, 1))
    one = neighbour_regression(features, vector, 0.995)
    each = neighbour_regression(features, np.broadcast_to(vector, (4, 3, 26)), 0.995)
    np.testing.assert_allclose(each, one, rtol=1e-12)


@pytest.mark.parametrize("channels", [1, 4, 26, 128])
def test_float32_agrees_with_float64(channels: int) -> None:
    # Smoothed noise: neighbours overlap as pooled features do. Below 8 channels only the ridge helps K.
    noise = np.random.default_rng(9).normal(1.0, 1.0, (14, 14, channels))
    features = np.sum([noise[dy : 12 + dy, dx : 12 + dx] for dy in range(3) for dx in range(3)], axis=0) / 9
    vector = features.mean(axis=(0, 1))
    expected = neighbour_regression(features, vector, 0.995)
    errors = neighbour_regression(features.astype(np.float32), vector.astype(np.float32), 0.995)
    assert errors.dtype == np.float32
    # Measured: at most 4e-6 of the cell's norm. 2^-24 for K times a condition number of 1e2 to 1e3.
    norms = np.linalg.norm(features[1:-1, 1:-1], axis=2)
    assert (np.abs(errors - expected) / norms).max() < 2e-5


def test_the_ridge_has_an_absolute_floor_for_features_near_zero() -> None:
    features = np.zeros((5, 5, 8), np.float32)
    assert not neighbour_regression(features, np.zeros(8, np.float32), 0.995).any()


@pytest.mark.parametrize(
    ("shape", "target"), [((2, 5, 8), (8,)), ((5, 2, 8), (8,)), ((5, 5, 8), (7,)), ((5, 5, 8), (5, 5, 8))]
)
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        neighbour_regression(np.zeros(shape), np.zeros(target), 0.5)


def test_a_cell_that_is_not_a_number_reaches_every_window_it_lies_in() -> None:
    features = random_features(10, 6, 6, 16)
    features[2, 2, 5] = np.nan
    errors = neighbour_regression(features, np.ones(16), 0.995)
    assert np.isnan(errors[:3, :3]).all()
    assert np.isfinite(errors[3]).all()
    assert np.isfinite(errors[:, 3]).all()
