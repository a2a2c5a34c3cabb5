"""How `select_global.cu` is launched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .launch import Launch
from .pairs import paired

MOST_SELECTED = 1024
"""Largest count: the chosen cells stand in shared memory."""


@dataclass(frozen=True)
class SelectScale:
    """One scale of an image on the GPU."""

    features: Any
    """(n, C) FP16."""
    distances: Any
    """(n,) FP32; None takes the first cells, the variant "demo"."""
    indices: Any
    """(count,) int32, written: in order of distance."""
    vector: Any
    """(C,) FP32, written: the mean of the selected."""
    n: int
    channels: int
    count: int


def select_global(*scales: SelectScale) -> Launch:
    """As `kernels.select_global`, for one or two scales of an image at once.

    Raises:
        ValueError: count outside 1..n, or above MOST_SELECTED.
    """
    for scale in scales:
        if not 1 <= scale.count <= min(scale.n, MOST_SELECTED):
            most = min(scale.n, MOST_SELECTED)
            raise ValueError(f"select_global: count is {scale.count}, expected 1..{most}")
    args = [(s.features, s.distances, s.indices, s.vector, s.n, s.channels, s.count) for s in scales]
    return Launch("select_global", "select_global", (len(scales), 1, 1), (1024, 1, 1), paired(args))
