"""From cell errors to the anomaly map and the image score."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from .arrays import F32, Floats

FUSIONS = ("product", "sum", "mean")
SCORES = ("max", "mean_top", "std")

_PROFILE_REACH = 0.125
"""Outer part of each axis, as a fraction of its length, in which the border profile acts."""

_PROFILE_FULL = 0.0625
"""Part of that in which it acts fully; from here inwards it fades to nothing."""

_PROFILE_SMOOTH = 5
"""Rows averaged in the border profile."""


def fill_border(errors: Floats, size: tuple[int, int], ring: int, mode: Literal["min", "edge"]) -> Floats:
    """The full grid from its inner cells, with a border ring overwritten.

    Args:
        errors: (h - 2r, w - 2r), the cells that could be solved, centred in the grid; 0 <= r <= ring.
        size: (h, w) of the grid.
        ring: cells per side that are overwritten.
        mode: "min" fills with the minimum over all of `errors`, as the paper's code does; "edge" with the
            nearest kept cell.

    Returns:
        (h, w) in the dtype of `errors`.

    Raises:
        ValueError: `errors` is not centred in the grid, does not cover the kept cells, or nothing is kept.

    Source: arXiv 2406.07333 for "min" (ring 3 at stride 8, 2 at stride 16); "edge" is derived: the minimum
    invents a good border around a defect that touches it.
    """
    cut = check_border(errors.shape, size, ring, mode)
    kept = errors[cut : errors.shape[0] - cut, cut : errors.shape[1] - cut]
    if mode == "edge":
        return np.pad(kept, ring, mode="edge")
    return np.pad(kept, ring, constant_values=errors.min())


def check_border(shape: tuple[int, ...], size: tuple[int, int], ring: int, mode: str) -> int:
    """Cells per side of the errors that are overwritten, for every form of `fill_border`.

    Raises:
        ValueError: as `fill_border`.
    """
    (height, width), (rows, columns) = size, shape
    skipped = (height - rows) // 2
    if (height - rows, width - columns) != (2 * skipped, 2 * skipped) or not 0 <= skipped <= ring:
        raise ValueError(f"fill_border: errors {shape} do not lie centred in {size} within a ring of {ring}")
    if height <= 2 * ring or width <= 2 * ring:
        raise ValueError(f"fill_border: a ring of {ring} cells leaves nothing of a grid of {size}")
    if mode not in ("min", "edge"):
        raise ValueError(f"fill_border: mode is {mode!r}, expected 'min' or 'edge'")
    return ring - skipped


def finish_map(
    maps: Sequence[Floats],
    rows: Sequence[F32],
    columns: Sequence[F32],
    fusion: Literal["product", "sum", "mean"] = "product",
    score: Literal["max", "mean_top", "std"] = "max",
    top: float = 0.01,
    mask: F32 | None = None,
    profile: bool = False,
) -> tuple[F32, float]:
    """Anomaly map and image score from the error maps of all scales.

    Each scale becomes A_h M A_w^T, the scales are fused cell by cell. The score is taken from a copy that is
    divided by the border profile (if wanted) and multiplied by the mask; the map itself stays untouched.
    NaN anywhere in a map is NaN in the score, even under a mask of 0: what was not computed is not good.

    Args:
        maps: S maps (h_s, w_s), >= 0.
        rows: S matrices A_h (H, h_s) float32, see `finish_matrix`.
        columns: S matrices A_w (W, w_s) float32.
        fusion: how the scales are joined; the unit of the map is the product, sum or mean of their units.
        score: "max", "mean_top" (mean of the largest fraction `top` of all H * W cells) or "std".
        top: fraction in 0..1, at least one cell is taken.
        mask: (H, W) float32 weight in 0..1, applied to the score only; None is 1 everywhere.
        profile: divide by the border profile before the score, see `border_profile`.

    Returns:
        map: (H, W) float32, in the unit of the fused errors.
        score: image score in the same unit, >= 0 for maps >= 0; NaN if any input is NaN.

    Raises:
        ValueError: no map, lists of different length, shapes that do not fit, or an unknown word.

    Source: arXiv 2406.07333 for the product; its code has no score: that and the other options are derived.
    """
    check_finish(maps, rows, columns, fusion, score, top, mask)
    fused = _fuse([_enlarge(*scale) for scale in zip(maps, rows, columns, strict=True)], fusion)
    judged = fused / border_profile(fused) if profile else fused
    if mask is not None:
        judged = judged * mask.astype(np.float32, copy=False)
    return fused, _score(judged, score, top)


def check_finish(
    maps: Sequence[Floats],
    rows: Sequence[F32],
    columns: Sequence[F32],
    fusion: str,
    score: str,
    top: float,
    mask: F32 | None,
) -> tuple[int, int]:
    """(H, W) of the finished map, for every form of `finish_map`.

    Raises:
        ValueError: as `finish_map`.
    """
    if not maps or not len(maps) == len(rows) == len(columns):
        raise ValueError(f"finish_map: {len(maps)} maps, {len(rows)} row and {len(columns)} column matrices")
    for cells, down, across in zip(maps, rows, columns, strict=True):
        if (down.shape[1], across.shape[1]) != cells.shape:
            raise ValueError(
                f"finish_map: matrices {down.shape} and {across.shape} do not fit a map {cells.shape}"
            )
    shapes = [(len(down), len(across)) for down, across in zip(rows, columns, strict=True)]
    if len(set(shapes)) != 1:
        raise ValueError(f"finish_map: scales end in different sizes: {shapes}")
    if mask is not None and mask.shape != shapes[0]:
        raise ValueError(f"finish_map: the mask is {mask.shape}, the map {shapes[0]}")
    if fusion not in FUSIONS:
        raise ValueError(f"finish_map: fusion is {fusion!r}, expected one of {', '.join(FUSIONS)}")
    if score not in SCORES:
        raise ValueError(f"finish_map: score is {score!r}, expected one of {', '.join(SCORES)}")
    if score == "mean_top" and not 0 < top <= 1:
        raise ValueError(f"finish_map: top is {top}, expected a fraction in 0..1")
    return shapes[0]


def top_count(top: float, cells: int) -> int:
    """How many of all cells "mean_top" averages."""
    return max(1, math.ceil(top * cells))


def _enlarge(cells: Floats, rows: F32, columns: F32) -> F32:
    enlarged: F32 = rows @ cells.astype(np.float32, copy=False) @ columns.T
    return enlarged


def _fuse(scales: list[F32], fusion: str) -> F32:
    fused = scales[0]
    for scale in scales[1:]:
        fused = fused * scale if fusion == "product" else fused + scale
    return fused / np.float32(len(scales)) if fusion == "mean" else fused


def _score(judged: F32, score: str, top: float) -> float:
    if score == "max":
        return float(judged.max())
    if score == "std":
        return float(judged.std(dtype=np.float64))
    count = top_count(top, judged.size)
    # NaN sorts behind every number, so it is always among the largest and reaches the mean.
    largest = np.partition(judged, judged.size - count, axis=None)[judged.size - count :]
    return float(largest.mean(dtype=np.float64))


def border_profile(anomaly_map: F32) -> F32:
    """How much the frame of this map is raised as a whole, row by row and column by column.

    The frame of a good image often scores higher along its full length (padding, lens shading, the part's own
    edge); a defect raises a short piece of it only. A row's factor is max(1, its median / median of the map),
    averaged over 5 rows (the end rows repeated), in full within 6.25 % of the border, fading linearly
    to 1 at 12.5 %; columns likewise; a cell takes the larger one. A map whose median is 0 has no profile.

    Args:
        anomaly_map: (H, W) float32, >= 0.

    Returns:
        (H, W) float32, >= 1; NaN where the map holds NaN.

    Source: derived.
    """
    centre = _median(anomaly_map, None)
    if centre <= 0:
        return np.ones_like(anomaly_map)
    down = faded(_median(anomaly_map, 1) / centre)
    across = faded(_median(anomaly_map, 0) / centre)
    return np.maximum(down[:, None], across[None, :]).astype(np.float32)


def _median(values: F32, axis: int | None) -> Floats:
    return np.asarray(np.median(values.astype(np.float64), axis=axis))


def faded(ratio: Floats) -> Floats:
    """(n,) factors >= 1 of the rows of a map from their medians over its median; see `border_profile`."""
    n = len(ratio)
    padded = np.pad(np.maximum(1.0, ratio), _PROFILE_SMOOTH // 2, mode="edge")
    smooth = np.convolve(padded, np.full(_PROFILE_SMOOTH, 1 / _PROFILE_SMOOTH), mode="valid")
    depth = (np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5) / n
    weight = np.clip((_PROFILE_REACH - depth) / (_PROFILE_REACH - _PROFILE_FULL), 0.0, 1.0)
    return np.asarray(1 + weight * (smooth - 1))
