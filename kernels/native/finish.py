"""From cell errors to the anomaly map and the image score, compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..arrays import F32
from ..finish import FUSIONS, SCORES, check_border, check_finish, top_count
from .library import Kernel, addresses, checked, result

_FILL_BORDER = Kernel("fill_border", "ppnnnni", 3)
_FINISH_MAP = Kernel("finish_map", "pppppnnnnni", 5)
_SCORE_MAP = Kernel("score_map", "pppnnnii", 2)


def fill_border(
    errors: F32,
    size: tuple[int, int],
    ring: int,
    mode: Literal["min", "edge"],
    out: F32 | None = None,
    threads: int = 1,
) -> F32:
    """As in `reference`, float32 only; `out` (h, w) receives the grid where given; one thread is enough."""
    errors = checked("fill_border", "errors", errors, 2)
    cut = check_border(errors.shape, size, ring, mode)
    grid = result("fill_border", size, out)
    rows, columns = errors.shape
    how = (rows, columns, cut, ring, int(mode == "edge"))
    _FILL_BORDER((rows, columns, cut), errors, grid, *how, threads=threads)
    return grid


def finish_map(
    maps: Sequence[F32],
    rows: Sequence[F32],
    columns: Sequence[F32],
    fusion: Literal["product", "sum", "mean"] = "product",
    score: Literal["max", "mean_top", "std"] = "max",
    top: float = 0.01,
    mask: F32 | None = None,
    profile: bool = False,
    out: F32 | None = None,
    threads: int = 1,
) -> tuple[F32, float]:
    """As in `reference`, float32 only; `out` (H, W) receives the map where given.

    One value that is no finite number makes the whole map NaN; so it does in the reference, where zeros of
    the matrices are multiplied by it.
    """
    shape = check_finish(maps, rows, columns, fusion, score, top, mask)
    maps, rows, columns = (
        [checked("finish_map", what, array, 2) for array in arrays]
        for what, arrays in (("a map", maps), ("a row matrix", rows), ("a column matrix", columns))
    )
    fused = result("finish_map", shape, out)
    cells = np.array([array.shape for array in maps], np.int64)
    sizes = (len(maps), max(array.shape[0] for array in maps), max(array.shape[1] for array in maps), *shape)
    pointers = (addresses(maps), addresses(rows), addresses(columns))
    _FINISH_MAP(sizes, *pointers, cells, fused, *sizes, FUSIONS.index(fusion), threads=threads)
    weights = 0 if mask is None else checked("finish_map", "mask", mask, 2)
    found = np.empty(1)
    count = top_count(top, fused.size) if score == "mean_top" else 1
    how = (count, SCORES.index(score), int(profile))
    _SCORE_MAP(shape, fused, weights, found, *shape, *how, threads=1)
    return fused, float(found[0])
