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
