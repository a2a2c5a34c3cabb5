"""Few rows that stand for many: greedy k-centre selection, exact, many rows to one pass over the data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Indices = NDArray[np.int64]

POOL = 2048
"""Farthest rows among which the next ones are looked for, before all distances are brought up to date."""
_TILE = 1 << 20
"""Distances held at once; 4 MiB in float32."""
SAME = 4e-6
"""Squared distance, as a share of the greatest squared norm, that float32 cannot tell from 0."""


def project(rows: F32, dimensions: int, seed: int) -> F32:
    """Random Gaussian projection that keeps distances within some percent; rows as they are if C is less.

    Args:
        rows: (n, C).
        dimensions: d; the relative error of a squared distance is about sqrt(2 / d).

    Returns:
        (n, min(C, d)); the same seed projects alike.

    Source: Johnson and Lindenstrauss (1984); PatchCore (Roth et al., CVPR 2022), section 3.2.
    """
    channels = rows.shape[1]
    if channels <= dimensions:
        return rows
    matrix = np.random.default_rng(seed).standard_normal((channels, dimensions)) / np.sqrt(dimensions)
    projected: F32 = rows @ matrix.astype(np.float32)
    return projected


def greedy_coreset(
    points: F32,
    count: int,
    seed: int,
    pool: int = POOL,
    chosen_so_far: Callable[[int], None] | None = None,
) -> Indices:
    """Rows of which each next one is the farthest from all before it: minimax facility location, greedily.

    Args:
        points: (n, d), n >= 1; moved to their mean in place, to keep memory at one copy.
        count: rows wanted, 1..n.
        seed: picks the first row.
        pool: see `POOL`; the result does not depend on it.
        chosen_so_far: told the number of rows after each batch.

    Returns:
        (m,) int64 in the order of choice, no row twice; of equally far rows the smaller index comes first.
        m < count where all other rows equal chosen ones as far as float32 can tell.

    Raises:
        ValueError: count outside 1..n.

    Source: PatchCore, algorithm 1; Sener and Savarese (ICLR 2018). Batches are derived: distances to the
    chosen rows only ever shrink, so the farthest row of a pool is the farthest of all as long as it lies
    beyond what every row outside the pool had before.
    """
    if not 1 <= count <= len(points):
        raise ValueError(f"greedy_coreset: count is {count}, expected 1..{len(points)}")
    points -= points.mean(axis=0, dtype=np.float64).astype(np.float32)
    squares = np.einsum("nd,nd->n", points, points)
    least = np.full(len(points), np.inf, np.float32)
    floor = SAME * float(squares.max())
    batch = np.array([np.random.default_rng(seed).integers(len(points))])
    chosen: list[Indices] = []
    while len(batch):
        chosen.append(batch)
        count -= len(batch)
        _bring_nearer(points, squares, batch, least)
        if chosen_so_far is not None:
            chosen_so_far(sum(map(len, chosen)))
        batch = _next_batch(points, squares, least, count, floor, pool)
    return np.concatenate(chosen).astype(np.int64)


def _bring_nearer(points: F32, squares: F32, batch: Indices, least: F32) -> None:
    """Lowers each row's squared distance to the chosen rows by those of a batch; the batch's own become 0."""
    step = max(1, _TILE // len(batch))
    for first in range(0, len(points), step):
        rows = slice(first, first + step)
        tile = _squared(points[rows], squares[rows], points[batch], squares[batch])
        np.minimum(least[rows], tile.min(axis=1), out=least[rows])
    least[batch] = 0


def _next_batch(points: F32, squares: F32, least: F32, count: int, floor: float, size: int) -> Indices:
    """The next rows that greedy selection takes and that one pool can tell; none when all are covered."""
    farthest = int(least.argmax())
    if count < 1 or not least[farthest] > floor:
        return np.empty(0, np.int64)
    order = np.argpartition(least, -min(size, len(least)))
    pool = np.union1d(order[-size:], farthest)
    outside = least[order[:-size]].max(initial=floor)
    between = _squared(points[pool], squares[pool], points[pool], squares[pool])
    own, at = least[pool], int(np.searchsorted(pool, farthest))
    batch: list[int] = []
    while len(batch) < count:
        batch.append(pool[at])
        np.minimum(own, between[at], out=own)
        own[at] = 0
        at = int(own.argmax())
        # Equally far rows outside the pool may have a smaller index: strictly farther, or another pool.
        if not own[at] > outside:
            break
    return np.array(batch)


def _squared(first: F32, first_squares: F32, second: F32, second_squares: F32) -> F32:
    """(n, m) of |a - b|^2 as |a|^2 + |b|^2 - 2 a.b."""
    tile: F32 = first @ (-2 * second.T)
    tile += second_squares
    tile += first_squares[:, None]
    return tile
