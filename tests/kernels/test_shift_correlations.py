"""The 13 shift maps hold every inner product of the 3x3 windows."""

import numpy as np
import pytest

from kernels import shift_correlations

WINDOW = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


@pytest.mark.parametrize("channels", [1, 26, 130])
def test_every_product_of_a_window_is_in_the_maps(channels: int) -> None:
    features = np.random.default_rng(channels).normal(0, 1, (6, 7, channels)).astype(np.float32)
    maps = shift_correlations(features)
    assert len(maps) == 13
    exact = features.astype(np.float64)
    for y in range(1, 5):
        for x in range(1, 6):
            for first in WINDOW:
                for second in WINDOW:
                    a, b = sorted([(y + first[0], x + first[1]), (y + second[0], x + second[1])])
                    shift = (b[0] - a[0], b[1] - a[1])
                    found = maps[shift][a[0], min(a[1], b[1])]
                    # Sums of C products in float32: 2^-24 each, relative to the norms of the two vectors.
                    scale = np.linalg.norm(exact[a]) * np.linalg.norm(exact[b])
                    assert found == pytest.approx(exact[a] @ exact[b], rel=1e-5, abs=1e-5 * scale)


def test_the_maps_cover_all_pairs_inside_the_grid() -> None:
    maps = shift_correlations(np.ones((5, 8, 3)))
    assert {shift: found.shape for shift, found in maps.items()} == {
        (dy, dx): (5 - dy, 8 - abs(dx)) for dy in range(3) for dx in range(-2, 3) if (dy, dx) >= (0, 0)
    }
    assert all((found == 3).all() for found in maps.values())
