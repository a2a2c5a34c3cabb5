"""Pooling against loops over cells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import pool_norm


@settings(deadline=None, max_examples=30)
@given(h=st.integers(1, 6), w=st.integers(1, 6), channels=st.integers(1, 5), seed=st.integers(0, 999))
def test_each_cell_is_a_ninth_of_its_window(h: int, w: int, channels: int, seed: int) -> None:
    features = np.random.default_rng(seed).normal(0, 1, (h, w, channels))
    pooled, norms, mean = pool_norm(features)
    expected = np.zeros_like(features)
    for y in range(h):
        for x in range(w):
            for v in range(max(0, y - 1), min(h, y + 2)):
                for u in range(max(0, x - 1), min(w, x + 2)):
                    expected[y, x] += features[v, u] / 9
    # Float64, other order of at most nine terms.
    np.testing.assert_allclose(pooled, expected, atol=1e-14)
    np.testing.assert_allclose(mean, expected.reshape(-1, channels).sum(axis=0) / (h * w), atol=1e-14)
    np.testing.assert_allclose(norms, ((expected - mean) ** 2).sum(axis=2), atol=1e-13)


def test_edges_of_a_constant_map_keep_six_ninths_and_corners_four() -> None:
    pooled = pool_norm(np.full((4, 5, 2), 9, np.float32))[0]
    assert pooled.dtype == np.float32
    np.testing.assert_array_equal(pooled[0, :, 0], [4, 6, 6, 6, 4])
    np.testing.assert_array_equal(pooled[1, :, 1], [6, 9, 9, 9, 6])


def test_the_mean_keeps_its_digits_over_many_cells() -> None:
    features = np.full((200, 200, 1), 0.1, np.float32)
    mean = pool_norm(features)[2]
    exact = 0.1 * (198 * 198 * 9 + 4 * 198 * 6 + 4 * 4) / (9 * 200 * 200)
    # Each pooled cell is rounded to float32; the sum over 40000 of them adds nothing to that.
    assert mean[0] == pytest.approx(exact, rel=3e-7)
