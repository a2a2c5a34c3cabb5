"""Post-processing matrices against the steps they stand for, done one after the other with loops."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import finish_matrix, resize_matrix
from kernels.matrices import block_mean_matrix, gaussian_matrix

F64 = npt.NDArray[np.float64]


def bilinear(values: F64, size: int) -> F64:
    """Half-pixel centres, positions beyond the outer centres clamped to them."""
    result = np.empty(size)
    for i in range(size):
        position = min(max((i + 0.5) * len(values) / size - 0.5, 0.0), len(values) - 1.0)
        left = min(int(position), len(values) - 2) if len(values) > 1 else 0
        right = min(left + 1, len(values) - 1)
        result[i] = values[left] + (position - left) * (values[right] - values[left])
    return result


def gaussian(values: F64, sigma: float) -> F64:
    n, radius = len(values), int(4 * sigma + 0.5)
    result = np.empty(n)
    for i in range(n):
        total = weights = 0.0
        for offset in range(-radius, radius + 1):
            j = i + offset
            while not 0 <= j < n:
                j = -1 - j if j < 0 else 2 * n - 1 - j
            weight = np.exp(-(offset**2) / (2 * sigma**2))
            total, weights = total + weight * values[j], weights + weight
        result[i] = total / weights
    return result


@settings(deadline=None, max_examples=40)
@given(
    cells=st.integers(1, 12),
    more=st.integers(0, 40),
    sigma=st.floats(0.3, 4),
    crop=st.integers(0, 5),
    seed=st.integers(0, 999),
)
def test_a_finish_matrix_is_bilinear_then_gaussian_then_crop(
    cells: int, more: int, sigma: float, crop: int, seed: int
) -> None:
    size = cells + more
    crop = min(crop, (size - 1) // 2)
    values = np.random.default_rng(seed).random(cells)
    found = finish_matrix(cells, size, size - 2 * crop, sigma, crop) @ values
    expected = gaussian(bilinear(values, size), sigma)[crop : size - crop]
    # The matrix is rounded to float32 once; values are below 1 and rows sum to 1.
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_papers_matrix_reaches_the_cells_it_should() -> None:
    """40 cells, 320 px, sigma 3, crop 32: the outer two cells per side never reach the map."""
    matrix = finish_matrix(40, 320, 256, sigma=3, crop=32)
    assert matrix.shape == (256, 40)
    assert matrix.dtype == np.float32
    reached = np.flatnonzero(matrix.any(axis=0))
    assert (reached[0], reached[-1]) == (2, 37)


@given(n_in=st.integers(1, 60), n_out=st.integers(1, 60))
def test_a_coarser_map_is_the_mean_over_blocks_of_pixels(n_in: int, n_out: int) -> None:
    n_out = min(n_in, n_out)
    matrix = block_mean_matrix(n_in, n_out)
    values = np.random.default_rng(n_in).random(n_in)
    # Every pixel cut in n_out parts: each block is then a mean over whole parts.
    expected = np.repeat(values, n_out).reshape(n_out, n_in).mean(axis=1)
    np.testing.assert_allclose(matrix @ values, expected, atol=1e-12)


@given(cells=st.integers(1, 20), factor=st.integers(1, 8), sigma=st.floats(0, 6))
def test_a_constant_map_stays_constant(cells: int, factor: int, sigma: float) -> None:
    size = cells * factor
    for matrix in (finish_matrix(cells, size, (size + 1) // 2, sigma), resize_matrix(size, cells)):
        # Rows sum to 1 up to the rounding to float32.
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


def test_no_smoothing_and_equal_sizes_change_nothing() -> None:
    np.testing.assert_array_equal(finish_matrix(9, 9, 9), np.eye(9))
    np.testing.assert_array_equal(gaussian_matrix(5, 0), np.eye(5))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((50, 40, 40, 0.0, 0), "do not fit"),
        ((4, 40, 40, 0.0, 20), "leaves nothing"),
        ((4, 40, 40, 0.0, -1), "leaves nothing"),
        ((4, 40, 41, 0.0, 0), "1 <= n_out <= n_in"),
        ((4, 40, 0, 0.0, 0), "1 <= n_out <= n_in"),
        ((4, 40, 40, -1.0, 0), "sigma"),
        ((4, 40, 40, float("nan"), 0), "sigma"),
        ((0, 40, 40, 0.0, 0), "lengths"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(arguments: tuple[int, int, int, float, int], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        finish_matrix(*arguments)
