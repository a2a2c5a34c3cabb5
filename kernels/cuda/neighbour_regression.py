"""How `neighbour_regression.cu` is launched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..regression import NOISE_VARIANCE
from .launch import Launch, blocks
from .pairs import paired

_WARPS = 4
MOST_CANDIDATES = 64
"""Largest `kept`: two for each lane of a warp."""


@dataclass(frozen=True)
class RegressionScale:
    """One scale of an image on the GPU; either `target` or `nearest` names the global vectors."""

    features: Any
    """(h, w, C) FP16, pooled."""
    lower: Any
    """(h, w, C) FP16: what `features` leave out, times 2048."""
    errors: Any
    """(h - 2 edge, w - 2 edge) FP32, written."""
    shape: tuple[int, int, int]
    """(h, w, C)."""
    edge: int
    """Cells at each side that get no error: >= 1, or 0 with neighbours mirrored at the border."""
    target: Any = None
    """(C,) FP32, one global vector for all cells; must be aligned to 16 bytes."""
    nearest: Any = None
    """(cells, kept) int32: rows of [the grid's cells `own`, then `bank`]; a cell's vector is the mean of its
    `count` nearest of them."""
    kept: int = 0
    count: int = 0
    own: Any = None
    """(own_count,) int32: cells of the grid."""
    own_count: int = 0
    bank: Any = None
    """(m, C) FP16."""
    bank_lower: Any = None
    """(m, C) FP16, as `lower`."""


def neighbour_regression(*scales: RegressionScale, blend: float, ridge: float = 1e-5) -> Launch:
    """As `kernels.neighbour_regression`, for one or two scales of an image at once.

    Raises:
        ValueError: a grid without a cell that has an error, or not exactly one kind of target.
    """
    for scale in scales:
        if min(scale.shape[:2]) < max(3, 2 * scale.edge + 1):
            raise ValueError(f"neighbour_regression: {scale.shape} has no cell {scale.edge} from the border")
        if (scale.target is None) == (scale.nearest is None):
            raise ValueError("neighbour_regression: expected either one target or nearest rows")
        if scale.nearest is not None and not 1 <= scale.count <= scale.kept <= MOST_CANDIDATES:
            found = f"{scale.count} of {scale.kept} candidates"
            raise ValueError(f"neighbour_regression: {found} are not possible")
    cells = max((s.shape[0] - 2 * s.edge) * (s.shape[1] - 2 * s.edge) for s in scales)
    args = paired([_arguments(scale) for scale in scales])
    grid = (blocks(cells, _WARPS), len(scales), 1)
    how = (1 - blend, float(blend), float(ridge))
    return Launch("neighbour_regression", "neighbour_regression", grid, (32 * _WARPS, 1, 1), (*args, *how))


def _arguments(s: RegressionScale) -> tuple[Any, ...]:
    memory = (s.features, s.lower, s.target, s.nearest, s.own, s.bank, s.bank_lower, s.errors)
    return (*memory, *s.shape, s.edge, s.count, s.kept, s.own_count, s.shape[2] * NOISE_VARIANCE)
