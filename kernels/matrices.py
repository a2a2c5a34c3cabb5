"""Constant matrices: resampling and smoothing are linear and separable, one small matrix per axis."""

import numpy as np

from .arrays import F32, F64


def resize_matrix(n_in: int, n_out: int) -> F64:
    """Weights that resample one axis with a triangle filter.

    Output i looks at source position (i + 0.5) * n_in / n_out (half-pixel centres). The triangle reaches
    max(1, n_in / n_out) source pixels to each side, so shrinking is antialiased and enlarging is bilinear.
    What reaches over the border is dropped and each row is scaled to sum 1.

    Args:
        n_in: source length, >= 1.
        n_out: target length, >= 1.

    Returns:
        (n_out, n_in) float64, rows sum to 1.

    Raises:
        ValueError: a length below 1.
    """
    if n_in < 1 or n_out < 1:
        raise ValueError(f"resize: lengths must be >= 1, found {n_in} -> {n_out}")
    scale = n_in / n_out
    centres = (np.arange(n_out) + 0.5) * scale
    reach = np.abs((np.arange(n_in) + 0.5)[None, :] - centres[:, None]) / max(1.0, scale)
    weights: F64 = np.maximum(0.0, 1.0 - reach)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def gaussian_matrix(n: int, sigma: float) -> F64:
    """Weights that smooth one axis with a Gaussian cut at int(4 sigma + 0.5) and mirrored at the border.

    The mirror repeats the edge pixel (d c b a | a b c d | d c b a), SciPy's `reflect`.

    Args:
        n: length, >= 1.
        sigma: standard deviation in pixels, >= 0; 0 gives the identity.

    Returns:
        (n, n) float64, rows sum to 1.

    Raises:
        ValueError: n or sigma out of range.
    """
    if n < 1 or not 0 <= sigma < np.inf:
        raise ValueError(f"gaussian: need n >= 1 and a finite sigma >= 0, found n = {n}, sigma = {sigma}")
    if sigma == 0:
        return np.eye(n)
    radius = int(4 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    sources = (np.arange(n)[:, None] + offsets) % (2 * n)
    sources = np.where(sources < n, sources, 2 * n - 1 - sources)
    matrix = np.zeros((n, n))
    np.add.at(matrix, (np.arange(n)[:, None], sources), kernel)
    return matrix


def block_mean_matrix(n_in: int, n_out: int) -> F64:
    """Weights that average n_in pixels into n_out equal blocks; a pixel cut by a block edge counts in part.

    Returns:
        (n_out, n_in) float64, rows sum to 1; the identity when the lengths agree.

    Raises:
        ValueError: not 1 <= n_out <= n_in.
    """
    if not 1 <= n_out <= n_in:
        raise ValueError(f"block mean: need 1 <= n_out <= n_in, found {n_in} -> {n_out}")
    edges = np.arange(n_out + 1) * (n_in / n_out)
    left, right = edges[:-1, None], edges[1:, None]
    pixels = np.arange(n_in)
    overlap: F64 = np.minimum(right, pixels + 1) - np.maximum(left, pixels)
    return np.maximum(overlap, 0.0) * (n_out / n_in)


def finish_matrix(cells: int, size: int, out: int, sigma: float = 0.0, crop: int = 0) -> F32:
    """One axis of the post-processing: bilinear to `size` pixels, Gaussian, crop, block mean to `out` rows.

    A map of cells M becomes A_h M A_w^T, with no intermediate of image size. The block mean lets a map
    be coarser than the image (96 rows from 384 pixels, say); `out = size - 2 crop` keeps every pixel.

    Args:
        cells: cells of the feature grid along this axis, 1 <= cells <= size.
        size: pixels of the working image along this axis.
        out: rows of the finished map, 1 <= out <= size - 2 crop.
        sigma: Gaussian standard deviation in working pixels; 0 leaves it out.
        crop: pixels cut off at each end after smoothing, >= 0.

    Returns:
        (out, cells) float32, rows sum to 1.

    Raises:
        ValueError: one of the lengths does not fit the others.

    Source: arXiv 2406.07333 for bilinear, Gaussian and crop (there 40 or 20 cells, 320 px, sigma 3, crop 32);
    writing them as one matrix, and the block mean, are derived.
    """
    if cells > size:
        raise ValueError(f"finish: {cells} cells do not fit {size} pixels; the map is only ever enlarged")
    if crop < 0 or size - 2 * crop < 1:
        raise ValueError(f"finish: a crop of {crop} px per side leaves nothing of {size} px")
    smooth = gaussian_matrix(size, sigma) @ resize_matrix(cells, size)
    kept = smooth[crop : size - crop]
    return (block_mean_matrix(size - 2 * crop, out) @ kept).astype(np.float32)
