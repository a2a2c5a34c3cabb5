"""Each kernel in NumPy: the truth that native and CUDA forms are measured against.

Here stand pooling, selection and distances; the others are re-exported, so that this module holds every
name. A kernel answers in the dtype of its features: float32 in the product, float64 in the tests of
identities. Nothing loops over cells.

GRNR is "Global-Regularized Neighborhood Regression", arXiv 2406.07333.
"""

from typing import Literal

import numpy as np

from .arrays import Floats, Indices, inner, mean_row
from .finish import border_profile, fill_border, finish_map
from .regression import neighbour_regression, shift_correlations
from .resize import preprocess

__all__ = [
    "Bank",
    "anchor_indices",
    "border_profile",
    "distance_map",
    "distance_rowsum",
    "fill_border",
    "finish_map",
    "knn_distance",
    "neighbour_mean",
    "neighbour_regression",
    "pool_norm",
    "preprocess",
    "select_global",
    "shift_correlations",
]

_TILE = 1 << 18
"""Largest number of distances held at once: 1 MiB in float32, so that a tile stays in the cache."""


def pool_norm(features: Floats, out: Floats | None = None) -> tuple[Floats, Floats, Floats]:
    """Features averaged over 3x3 cells, with their mean and their squared distance from it.

    Args:
        features: (h, w, C).
        out: (h, w, C) of the same dtype to fill with the pooled features; None allocates.

    Returns:
        pooled: (h, w, C); cells outside the grid count as 0 and the divisor is always 9, so an edge cell
            over constant features keeps 6/9 of them and a corner 4/9.
        norms: (h, w), squared norm of (pooled - mean).
        mean: (C,), mean pooled feature of all cells.

    Source: arXiv 2406.07333, pooling of its code; the norms feed `distance_rowsum` elsewhere.
    """
    h, w, _ = features.shape
    padded = np.pad(features, ((1, 1), (1, 1), (0, 0)))
    rows = padded[:h] + padded[1 : h + 1] + padded[2:]
    pooled = np.divide(rows[:, :w] + rows[:, 1 : w + 1] + rows[:, 2:], 9, out=out)
    mean = mean_row(pooled.reshape(h * w, -1))
    centred = pooled - mean
    return pooled, inner(centred, centred), mean


def distance_rowsum(features: Floats) -> Floats:
    """Mean Euclidean distance from each cell to all other cells of the image ("self filtering").

    Args:
        features: (n, C), n >= 1.

    Returns:
        (n,) in embedding units, small = typical; 0 for a single cell.

    Source: arXiv 2406.07333, self filtering; its code includes the cell itself, at distance infinity. The
    Gram form |a|^2 + |b|^2 - 2 a.b about the mean is derived: without centring, float32 loses the distances
    of nearly constant images.
    """
    n = len(features)
    centred = features - mean_row(features)
    squares = inner(centred, centred)
    sums = np.empty(n, features.dtype)
    step = max(1, _TILE // n)
    for first in range(0, n, step):
        rows = slice(first, min(first + step, n))
        distances = _squared_distances(centred[rows], squares[rows], centred, squares)
        np.sqrt(distances, out=distances)
        # A cell is at distance 0 from itself; rounding may say otherwise.
        np.einsum("ii->i", distances[:, rows])[:] = 0
        sums[rows] = distances.sum(axis=1)
    return sums / max(1, n - 1)


def select_global(
    features: Floats, row_distance: Floats, count: int, variant: Literal["paper", "demo"] = "paper"
) -> tuple[Indices, Floats]:
    """The cells taken as typical of the image, and the mean of their features.

    Args:
        features: (n, C).
        row_distance: (n,), see `distance_rowsum`; not looked at by "demo".
        count: number of cells, 1 <= count <= n.
        variant: "paper" takes the smallest distances, ties by index; "demo" the first cells in raster
            order, which is what the published code amounts to (its distances are all infinite).

    Returns:
        indices: (count,) int64; "paper" in order of distance.
        vector: (C,), the global vector.

    Raises:
        ValueError: count outside 1..n, or an unknown variant.

    Source: arXiv 2406.07333; derived: only the mean of the vectors matters (see `neighbour_regression`).
    """
    if not 1 <= count <= len(features):
        raise ValueError(f"select_global: count is {count}, expected 1..{len(features)}")
    if variant == "paper":
        indices = np.argsort(row_distance, kind="stable")[:count]
    elif variant == "demo":
        indices = np.arange(count)
    else:
        raise ValueError(f"select_global: variant is {variant!r}, expected 'paper' or 'demo'")
    return indices.astype(np.int64), mean_row(features[indices])


class Bank:
    """Rows made ready once, to be searched many times: `knn_distance` takes them as it takes rows."""

    def __init__(self, rows: Floats) -> None:
        """Keeps the rows, (M, C); they must not change afterwards."""
        self.rows = rows
        self.centre = mean_row(rows)
        self.centred: Floats = rows - self.centre
        self.squares = inner(self.centred, self.centred)


def knn_distance(
    queries: Floats,
    bank: Floats | Bank,
    k: int,
    exclude: Indices | None = None,
    out: tuple[Floats, Indices] | None = None,
) -> tuple[Floats, Indices]:
    """Euclidean distance from each query patch to its k nearest bank patches, and which they are.

    Args:
        queries: (N, C), patch embeddings of one image.
        bank: (M, C), embeddings of normal patches, or of (some of) the same image's own.
        k: number of neighbours, 1 <= k <= M; 1 <= k <= M - 1 where a row is excluded.
        exclude: (N,) the bank row that is the query itself and not its neighbour; -1: none.
        out: the two results of an earlier call of the same sizes, to be written anew; None: new arrays.

    Returns:
        distances: (N, k) in embedding units, ascending.
        indices: (N, k) int64 rows of the bank; of equal distances the smaller index comes first.

    Raises:
        ValueError: C differs between the two, k is out of range, or exclude does not fit.

    Source: PatchCore (Roth et al., CVPR 2022), section 3.3, for the bank; the image as its own is derived.
    Gram form about the bank's mean: float32 cannot tell a distance below about 1e-3 of the norms from 0.
    """
    bank = bank if isinstance(bank, Bank) else Bank(bank)
    check_knn(queries, bank.rows, k, exclude)
    n, m = len(queries), len(bank.rows)
    queries = queries - bank.centre
    own_squares = inner(queries, queries)
    distances, indices = out or (np.empty((n, k), queries.dtype), np.empty((n, k), np.int64))
    # At least 32 rows: fewer would read a large bank once for each.
    step = max(32, _TILE // m)
    for first in range(0, n, step):
        rows = slice(first, min(first + step, n))
        tile = _squared_distances(queries[rows], own_squares[rows], bank.centred, bank.squares)
        if exclude is not None:
            own = np.flatnonzero(exclude[rows] >= 0)
            tile[own, exclude[rows][own]] = np.inf
        distances[rows], indices[rows] = _smallest(tile, k)
    return np.sqrt(distances, out=distances), indices


def check_knn(queries: Floats, bank: Floats, k: int, exclude: Indices | None) -> None:
    """Raises ValueError unless these are arguments of `knn_distance`."""
    (n, channels), m = queries.shape, len(bank)
    if bank.shape[1] != channels:
        raise ValueError(f"knn_distance: queries have {channels} channels, the bank {bank.shape[1]}")
    excluded = exclude is not None and bool((exclude >= 0).any())
    if not 1 <= k <= m - excluded:
        raise ValueError(f"knn_distance: k is {k}, expected 1..{m - excluded} for a bank of {m} rows")
    if exclude is not None and (exclude.shape != (n,) or (n > 0 and exclude.max() >= m)):
        raise ValueError(f"knn_distance: exclude {exclude.shape} does not fit {n} queries and {m} bank rows")


def _smallest(values: Floats, k: int) -> tuple[Floats, Indices]:
    """The k smallest of each row, ascending, ties by index; values (n, m) >= 0 or NaN."""
    m = values.shape[1]
    if k == 1:
        nearest = values.argmin(axis=1)[:, None]
        return np.take_along_axis(values, nearest, axis=1), nearest
    if values.dtype != np.float32:
        order = np.argsort(values, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(values, order, axis=1), order
    # The bits of floats >= 0 sort like the floats, so value and index fit one integer: partition and sort it
    # once, and ties fall to the smaller index. Twice as fast as argpartition, which leaves ties open.
    keys = np.left_shift(values.view(np.int32), 32, dtype=np.int64)
    keys |= np.arange(m)
    keys.partition(k - 1, axis=1)
    keys = np.sort(keys[:, :k], axis=1)
    return (keys >> 32).astype(np.int32).view(np.float32), keys & 0xFFFFFFFF


def neighbour_mean(bank: Floats, indices: Indices) -> Floats:
    """Mean of the bank rows named for each query: the local global vector of a cell.

    Args:
        bank: (M, C).
        indices: (N, k) rows of the bank, no row twice for a query.

    Returns:
        (N, C).

    Source: derived.
    """
    n, k = indices.shape
    # One product with a matrix of 0 and 1/k: k reads per query fewer than gathering (N, k, C).
    shares = np.zeros((n, len(bank)), bank.dtype)
    np.put_along_axis(shares, indices, 1 / k, axis=1)
    return shares @ bank


def anchor_indices(n: int, count: int) -> Indices:
    """At most `count` of n cells, evenly spread in raster order: the image as its own bank, thinned out.

    Args:
        n: cells, >= 1.
        count: anchors wanted, >= 1.

    Returns:
        (min(n, count),) int64, ascending, each in the middle of its share of the cells.

    Raises:
        ValueError: n or count below 1.

    Source: derived.
    """
    if n < 1 or count < 1:
        raise ValueError(f"anchor_indices: n is {n}, count {count}, expected both >= 1")
    count = min(n, count)
    return (2 * np.arange(count, dtype=np.int64) + 1) * n // (2 * count)


def distance_map(first: Floats, second: Floats, kind: Literal["cosine", "l2"]) -> Floats:
    """Distance between two feature maps, cell by cell.

    Args:
        first: (h, w, C).
        second: (h, w, C).
        kind: "cosine" is 1 - cos of the angle, 0..2, and 1 where a vector is zero; "l2" is the norm of the
            difference.

    Returns:
        (h, w).

    Raises:
        ValueError: different shapes or an unknown kind.

    Source: student-teacher and reconstruction methods in general, such as STFPM (Wang et al., BMVC 2021).
    """
    if first.shape != second.shape:
        raise ValueError(f"distance_map: shapes differ: {first.shape} and {second.shape}")
    if kind == "l2":
        difference = first - second
        return np.sqrt(inner(difference, difference))
    if kind != "cosine":
        raise ValueError(f"distance_map: kind is {kind!r}, expected 'cosine' or 'l2'")
    lengths = np.sqrt(inner(first, first)) * np.sqrt(inner(second, second))
    cosine: Floats = inner(first, second) / np.maximum(lengths, np.finfo(lengths.dtype).tiny)
    # Rounding can push the cosine of equal vectors above 1, and a distance below 0.
    return np.maximum(1 - cosine, 0)


def _squared_distances(
    first: Floats, first_squares: Floats, second: Floats, second_squares: Floats
) -> Floats:
    """(n, m) of |a|^2 + |b|^2 - 2 a.b: one product instead of an (n, m, C) difference."""
    tile: Floats = (-2 * first) @ second.T
    tile += second_squares
    tile += first_squares[:, None]
    # Rounding can push a true zero slightly negative.
    np.maximum(tile, 0, out=tile)
    return tile
