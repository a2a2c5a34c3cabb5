"""Compiled regression against the reference in float64, which has its own test against least squares."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import native, reference
from kernels.arrays import F32
from kernels.native import Library

SHAPES = [(3, 3, 1), (3, 40, 5), (19, 3, 16), (9, 8, 26), (7, 20, 64), (12, 35, 131)]


def smooth(shape: tuple[int, int, int], seed: int = 0) -> F32:
    """Pooled noise: neighbours overlap as they do in a network's features."""
    noise = np.random.default_rng(seed).normal(1, 1, shape).astype(np.float32)
    return np.asarray(reference.pool_norm(noise)[0], np.float32)


def targets(features: F32) -> list[F32]:
    """One global vector, and one for each inner cell."""
    h, w, c = features.shape
    each = features[1:-1, 1:-1] + np.random.default_rng(1).normal(0, 0.1, (h - 2, w - 2, c))
    return [features.mean(axis=(0, 1)), each.astype(np.float32)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("each", [0, 1])
@pytest.mark.parametrize("threads", [1, 3])
def test_it_agrees_with_float64(
    native_library: Library, shape: tuple[int, int, int], each: int, threads: int
) -> None:
    features = smooth(shape)
    target = targets(features)[each]
    found = native.neighbour_regression(features, target, 0.995, threads=threads)
    expected = reference.neighbour_regression(features.astype(np.float64), target.astype(np.float64), 0.995)
    assert found.dtype == np.float32
    # As the reference in float32: 2^-24 for K times a condition number of 1e2 to 1e3, of the cell's norm.
    norms = np.linalg.norm(features[1:-1, 1:-1], axis=2)
    assert (np.abs(found - expected) / norms).max() < 2e-5
    # The stated tolerance of the FP32 form; fewer channels than neighbours leave errors of rounding alone.
    if shape[2] > 8:
        assert np.abs(found - expected).mean() / expected.mean() < 1e-5


@pytest.mark.parametrize("blend", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("ridge", [1e-3, 1e-5])
def test_blend_and_ridge_mean_the_same(native_library: Library, blend: float, ridge: float) -> None:
    features = smooth((8, 9, 40))
    for target in targets(features):
        found = native.neighbour_regression(features, target, blend, ridge)
        expected = reference.neighbour_regression(
            features.astype(np.float64), target.astype(np.float64), blend, ridge
        )
        np.testing.assert_allclose(found, expected, rtol=2e-4)


def test_any_number_of_threads_gives_the_same_bits(native_library: Library) -> None:
    features = smooth((17, 22, 30))
    for target in targets(features):
        first = native.neighbour_regression(features, target, 0.995)
        for threads in (2, 7, 64):
            again = native.neighbour_regression(features, target, 0.995, threads=threads)
            np.testing.assert_array_equal(again, first)


def test_the_inside_of_a_grid_is_read_in_place(native_library: Library) -> None:
    features = smooth((12, 14, 20))
    inside, steps = features[2:-2, 1:-1], features[::2, ::2]
    vector = features.mean(axis=(0, 1))
    for view in (inside, steps):
        np.testing.assert_array_equal(
            native.neighbour_regression(view, vector, 0.9),
            native.neighbour_regression(view.copy(), vector, 0.9),
        )


def test_a_cell_that_is_not_a_number_reaches_every_window_it_lies_in(native_library: Library) -> None:
    features = smooth((9, 40, 16))
    features[2, 2, 15] = np.nan
    errors = native.neighbour_regression(features, np.ones(16, np.float32), 0.995)
    assert np.isnan(errors[:3, :3]).all()
    assert np.isfinite(errors[3:]).all()
    assert np.isfinite(errors[:, 3:]).all()


def test_what_is_not_a_number_in_the_target_reaches_the_cells_it_is_for(native_library: Library) -> None:
    features = smooth((6, 7, 16))
    one, each = targets(features)
    one[3], each[2, 1, 0] = np.nan, np.nan
    assert np.isnan(native.neighbour_regression(features, one, 0.995)).all()
    found = np.isnan(native.neighbour_regression(features, each, 0.995))
    assert found[2, 1]
    assert found.sum() == 1


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1.0, 1e6])
def test_constant_and_ramp_are_finite_at_any_scale(native_library: Library, scale: float) -> None:
    grid = np.arange(20, dtype=np.float32)
    slope = np.linspace(0.5, 2, 26, dtype=np.float32)
    ramp = (grid[:, None, None] + 2 * grid[None, :, None]) * slope
    for features in (scale * ramp, np.full_like(ramp, 0.7 * scale)):
        errors = native.neighbour_regression(
            features.astype(np.float32), features[0, 0].astype(np.float32), 0.995
        )
        assert np.isfinite(errors).all()
        assert (errors >= 0).all()


@pytest.mark.parametrize(
    ("shape", "target"), [((2, 5, 8), (8,)), ((5, 2, 8), (8,)), ((5, 5, 8), (7,)), ((5, 5, 8), (5, 5, 8))]
)
def test_shapes_that_do_not_fit_are_refused(
    native_library: Library, shape: tuple[int, ...], target: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        native.neighbour_regression(np.zeros(shape, np.float32), np.zeros(target, np.float32), 0.5)


def test_another_dtype_is_refused(native_library: Library) -> None:
    with pytest.raises(ValueError, match="not float32"):
        native.neighbour_regression(np.zeros((5, 5, 8), np.float16), np.zeros(8, np.float32), 0.5)
    with pytest.raises(ValueError, match="expected float32"):
        native.neighbour_regression(np.zeros((5, 5, 8), np.float32), np.zeros(8, np.int32), 0.5)
