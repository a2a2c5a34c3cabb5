"""GRNR's core: each feature cell rebuilt from its 8 neighbours, under the pull of a global vector."""

import numpy as np

from .arrays import Floats, inner

NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""(row, column) steps to the 8 window neighbours, in raster order."""

SHIFTS = tuple((dy, dx) for dy in range(3) for dx in range(-2, 3) if dy > 0 or dx >= 0)
"""The 13 (row, column) steps in half of a 5x5 window; the other half is the same pairs seen from behind."""

NOISE_VARIANCE = 1e-6 / 12
"""Variance of the uniform noise in 0..1e-3 that the paper's code adds to every neighbour value."""


def shift_correlations(features: Floats) -> dict[tuple[int, int], Floats]:
    """Inner products of all pairs of cells at most 2 rows and 2 columns apart.

    Every entry of the 8x8 Gram matrices of all cells is in these maps: 13 products per cell instead of 44.

    Args:
        features: (h, w, C), h, w >= 3.

    Returns:
        For each (dy, dx) in SHIFTS a map (h - dy, w - |dx|): entry [r, c] is the product of cell
        (r, c + max(0, -dx)) with the cell (dy, dx) further, so c is the left column of the pair.

    Source: derived from arXiv 2406.07333.
    """
    h, w, _ = features.shape
    maps = {}
    for dy, dx in SHIFTS:
        upper = features[: h - dy, max(0, -dx) : w - max(0, dx)]
        lower = features[dy:, max(0, dx) : w + min(0, dx)]
        maps[dy, dx] = inner(upper, lower)
    return maps


def neighbour_regression(features: Floats, target: Floats, blend: float, ridge: float = 1e-5) -> Floats:
    """What remains of each cell after it is rebuilt from its 8 neighbours, pulled towards a global vector.

    Per cell with feature x, neighbours B (8, C) and target g, the weights y solve
    (B B^T + eps I) y = B ((1 - a) x + a g), and the patch score is |x - y B|.

    Args:
        features: (h, w, C), h, w >= 3, pooled features.
        target: (C,) one global vector, or (h - 2, w - 2, C) one for each cell.
        blend: a = lam N / (1 + lam N) in 0..1, for N global vectors of weight lam whose mean is `target`.
        ridge: eps = max(C * 1e-6 / 12, ridge * mean diagonal of B B^T) per cell. The first term is the
            variance of the noise in the paper's code; it is absolute, so it rules where features are
            below about 0.1 per channel. 0 means no eps at all: exact algebra for tests, singular where
            neighbours repeat.

    Returns:
        (h - 2, w - 2) in embedding units, >= 0: the cells with a full 3x3 window.

    Raises:
        ValueError: shapes that do not fit.

    Source: arXiv 2406.07333, closed form of its code. Derived: N targets equal their mean with this blend,
    the Gram matrices come from 13 shift maps, a ridge stands for the noise. The residual is formed
    explicitly: the quadratic form |x|^2 - 2 u y + y K y cancels on smooth surfaces.
    """
    h, w, channels = features.shape
    rows, columns = h - 2, w - 2
    if rows < 1 or columns < 1 or target.shape not in ((channels,), (rows, columns, channels)):
        raise ValueError(
            f"neighbour_regression: features {features.shape} and target {target.shape} do not fit"
        )
    system = _normal_equations(features, target, blend)
    if ridge > 0:
        diagonal = np.einsum("iirc->irc", system[:, :8])
        diagonal += np.maximum(channels * NOISE_VARIANCE, ridge * diagonal.mean(axis=0))
    weights = _solve(system)
    residual = features[1:-1, 1:-1].copy()
    part = np.empty_like(residual)
    for weight, (dy, dx) in zip(weights, NEIGHBOURS, strict=True):
        np.multiply(features[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns], weight[..., None], out=part)
        residual -= part
    return np.sqrt(inner(residual, residual))


def _normal_equations(features: Floats, target: Floats, blend: float) -> Floats:
    """(8, 9, h - 2, w - 2): B B^T and, as ninth column, B ((1 - a) x + a g), for all cells at once."""
    h, w, _ = features.shape
    rows, columns = h - 2, w - 2
    maps = shift_correlations(features)

    def product(first: tuple[int, int], second: tuple[int, int]) -> Floats:
        """Map over the inner cells p of <X at p + first, X at p + second>."""
        upper, lower = min(first, second), max(first, second)
        shift = (lower[0] - upper[0], lower[1] - upper[1])
        row, column = 1 + upper[0], 1 + min(upper[1], lower[1])
        return maps[shift][row : row + rows, column : column + columns]

    system = np.empty((8, 9, rows, columns), features.dtype)
    for i, first in enumerate(NEIGHBOURS):
        for j, second in enumerate(NEIGHBOURS[: i + 1]):
            system[i, j] = system[j, i] = product(first, second)
        neighbour = features[1 + first[0] : 1 + first[0] + rows, 1 + first[1] : 1 + first[1] + columns]
        system[i, 8] = (1 - blend) * product(first, (0, 0)) + blend * inner(neighbour, target)
    return system


def _solve(system: Floats) -> Floats:
    """(8, ...) solutions of symmetric positive definite systems (8, 9, ...) that it overwrites.

    Elimination step by step over all cells at once: a few dozen vector operations, about four times as fast
    as one LAPACK call per cell. Without pivoting it is as stable as Cholesky on such a matrix, and one
    singular cell does not raise for all the others.
    """
    last = len(system)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for j in range(last - 1):
            factor = system[j + 1 :, j] / system[j, j]
            system[j + 1 :, j + 1 :] -= factor[:, None] * system[j, j + 1 :]
        solution = system[:, last]
        for j in reversed(range(last)):
            solution[j] /= system[j, j]
            solution[:j] -= system[:j, j] * solution[j]
    return solution
