"""Compiled pooling and self filtering against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import native, reference
from kernels.native import Library

SHAPES = [(1, 1, 1), (1, 7, 3), (5, 1, 17), (12, 9, 26), (40, 33, 128), (7, 6, 515)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [1, 3])
def test_pool_norm_agrees(native_library: Library, shape: tuple[int, int, int], threads: int) -> None:
    features = np.random.default_rng(1).normal(1, 1, shape).astype(np.float32)
    pooled, norms, mean = native.pool_norm(features, threads=threads)
    expected = reference.pool_norm(features)
    # The same sums of nine, in the same order up to contraction.
    np.testing.assert_allclose(pooled, expected[0], rtol=1e-6, atol=1e-6)
    # Another order of C terms, all of them >= 0; the mean is rounded once.
    np.testing.assert_allclose(norms, expected[1], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(mean, expected[2], rtol=1e-6, atol=1e-7)


def test_pool_norm_gives_the_same_bits_for_any_number_of_threads(native_library: Library) -> None:
    features = np.random.default_rng(2).normal(1, 1, (11, 9, 37)).astype(np.float32)
    first = native.pool_norm(features)
    for threads in (2, 5, 64, 200):
        for found, expected in zip(native.pool_norm(features, threads=threads), first, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_pool_norm_spreads_what_is_not_a_number(native_library: Library) -> None:
    features = np.zeros((6, 6, 20), np.float32)
    features[0, 0, 19] = np.nan
    pooled, norms, mean = native.pool_norm(features)
    assert np.isnan(pooled[:2, :2, 19]).all()
    assert np.isfinite(pooled[2:]).all()
    assert np.isnan(mean[19])
    assert np.isnan(norms).all()


def test_pool_norm_writes_where_it_is_told_and_reads_any_view(native_library: Library) -> None:
    features = np.random.default_rng(3).normal(size=(8, 9, 12)).astype(np.float32)
    out = np.empty((4, 3, 12), np.float32)
    pooled, _, _ = native.pool_norm(features[::2, ::3], out)
    assert pooled is out
    np.testing.assert_allclose(out, reference.pool_norm(features[::2, ::3])[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("n", "channels", "count"), [(1, 1, 1), (50, 7, 50), (400, 26, 40), (1600, 64, 1)])
def test_select_global_agrees(native_library: Library, n: int, channels: int, count: int) -> None:
    rng = np.random.default_rng(4)
    features = rng.normal(1, 1, (n, channels)).astype(np.float32)
    # Few different values: many ties.
    for distances in (rng.random(n), rng.integers(0, 4, n), np.zeros(n), -rng.integers(0, 2, n)):
        indices, vector = native.select_global(features, distances.astype(np.float32), count)
        expected = reference.select_global(features, distances.astype(np.float32), count)
        np.testing.assert_array_equal(indices, expected[0])
        assert indices.dtype == np.int64
        # Both sum in double; the order may differ.
        np.testing.assert_allclose(vector, expected[1], rtol=1e-6, atol=1e-7)


def test_select_global_takes_what_is_not_a_number_last(native_library: Library) -> None:
    features = np.random.default_rng(5).normal(size=(6, 3)).astype(np.float32)
    distances = np.array([np.nan, np.inf, 1, -np.nan, 0, 0.5], np.float32)
    for count in range(1, 7):
        found, expected = (f.select_global(features, distances, count) for f in (native, reference))
        np.testing.assert_array_equal(found[0], expected[0])


def test_select_global_of_the_demo_and_its_refusals_are_the_references(native_library: Library) -> None:
    features = np.random.default_rng(6).normal(size=(9, 3)).astype(np.float32)
    distances = np.arange(9, dtype=np.float32)
    indices, _ = native.select_global(features, distances, 3, "demo")
    np.testing.assert_array_equal(indices, [0, 1, 2])
    for count in (0, 10):
        with pytest.raises(ValueError, match=r"expected 1\.\.9"):
            native.select_global(features, distances, count)
    with pytest.raises(ValueError, match="do not fit"):
        native.select_global(features, distances[:4], 3)


@pytest.mark.parametrize(("n", "m", "channels", "k"), [(1, 1, 1, 1), (40, 30, 26, 20), (9, 200, 130, 3)])
@pytest.mark.parametrize("threads", [1, 4])
def test_neighbour_mean_agrees(
    native_library: Library, n: int, m: int, channels: int, k: int, threads: int
) -> None:
    rng = np.random.default_rng(7)
    bank = rng.normal(1, 1, (m, channels)).astype(np.float32)
    indices = np.argsort(rng.random((n, m)), axis=1)[:, :k]
    found = native.neighbour_mean(bank, indices, threads=threads)
    # Sums of k terms in another order.
    np.testing.assert_allclose(found, reference.neighbour_mean(bank, indices), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("index", [-1, 5])
def test_neighbour_mean_refuses_an_index_outside_the_bank(native_library: Library, index: int) -> None:
    with pytest.raises(ValueError, match="an index is out of range"):
        native.neighbour_mean(np.ones((5, 3), np.float32), np.array([[0, index]]))
    with pytest.raises(ValueError, match="expected int64"):
        native.neighbour_mean(np.ones((5, 3), np.float32), np.array([[0.5]]))


@pytest.mark.parametrize(
    ("n", "channels"), [(1, 1), (2, 3), (95, 7), (96, 26), (97, 26), (300, 17), (385, 130), (600, 5)]
)
def test_distance_rowsum_agrees(native_library: Library, n: int, channels: int) -> None:
    features = np.random.default_rng(8).normal(3, 1, (n, channels)).astype(np.float32)
    found = native.distance_rowsum(features)
    # Squares are exact to 2^-24 of the centred norms; distances are about as long as these.
    np.testing.assert_allclose(found, reference.distance_rowsum(features.astype(np.float64)), rtol=2e-6)
    for threads in (2, 5, 64):
        np.testing.assert_array_equal(native.distance_rowsum(features, threads=threads), found)


def test_distance_rowsum_selects_the_same_cells_of_a_nearly_constant_image(native_library: Library) -> None:
    noise = np.random.default_rng(9).normal(0, 1e-3, (400, 64))
    features = (100 + noise).astype(np.float32)
    found = np.argsort(native.distance_rowsum(features), kind="stable")[:40]
    expected = np.argsort(reference.distance_rowsum(features.astype(np.float64)), kind="stable")[:40]
    assert len(set(found) & set(expected)) >= 39


@pytest.mark.parametrize("value", [0.0, 0.7, 3e4])
def test_distance_rowsum_of_a_constant_image_is_next_to_nothing(
    native_library: Library, value: float
) -> None:
    found = native.distance_rowsum(np.full((200, 26), value, np.float32))
    assert np.isfinite(found).all()
    assert (found <= 1e-3 * value).all()


def test_distance_rowsum_passes_on_what_is_not_a_number(native_library: Library) -> None:
    features = np.random.default_rng(10).normal(size=(200, 26)).astype(np.float32)
    features[150, 3] = np.nan
    assert np.isnan(native.distance_rowsum(features)).all()


def test_features_may_be_pooled_in_place(native_library: Library) -> None:
    features = np.random.default_rng(0).normal(size=(6, 7, 5)).astype(np.float32)
    expected = native.pool_norm(features)[0]
    np.testing.assert_array_equal(native.pool_norm(features, features)[0], expected)
