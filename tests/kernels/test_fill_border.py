"""The border ring."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import fill_border


@given(
    h=st.integers(1, 12),
    w=st.integers(1, 12),
    ring=st.integers(0, 4),
    skipped=st.integers(0, 4),
    mode=st.sampled_from(["min", "edge"]),
)
def test_kept_cells_stay_and_the_ring_is_filled(
    h: int, w: int, ring: int, skipped: int, mode: Literal["min", "edge"]
) -> None:
    h, w, skipped = h + 2 * ring, w + 2 * ring, min(skipped, ring)
    full = np.random.default_rng(h * 100 + w).random((h, w)).astype(np.float32)
    errors = full[skipped : h - skipped, skipped : w - skipped]
    filled = fill_border(errors, (h, w), ring, mode)
    assert filled.dtype == np.float32
    for y in range(h):
        for x in range(w):
            v, u = min(max(y, ring), h - 1 - ring), min(max(x, ring), w - 1 - ring)
            kept = (v, u) == (y, x)
            assert filled[y, x] == (full[v, u] if kept or mode == "edge" else errors.min())


def test_the_minimum_is_over_all_solved_cells_not_only_the_kept_ones() -> None:
    errors = np.full((6, 6), 5.0)
    errors[0, 0] = 1.0
    assert fill_border(errors, (8, 8), 3, "min")[0, 0] == 1.0


def test_what_is_not_a_number_fills_the_ring() -> None:
    errors = np.ones((6, 6))
    errors[0, 0] = np.nan
    assert np.isnan(fill_border(errors, (8, 8), 3, "min")[0, 0])


@pytest.mark.parametrize(
    ("shape", "ring", "match"),
    [((5, 6), 2, "centred"), ((7, 8), 2, "centred"), ((10, 10), 2, "centred"), ((2, 2), 2, "centred"),
     ((8, 8), 4, "leaves nothing")],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(shape: tuple[int, int], ring: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        fill_border(np.ones(shape), (8, 8), ring, "min")


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode is 'mean'"):
        fill_border(np.ones((8, 8)), (8, 8), 1, "mean")  # type: ignore[arg-type]
