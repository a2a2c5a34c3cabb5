"""How `score_map.cu` is launched."""

from __future__ import annotations

import math
from typing import Any, Literal

from ..finish import SCORES, top_count
from .launch import Launch

_REACH, _SMOOTH = 0.125, 2
_MOST = 1024


def score_map_scratch(shape: tuple[int, int]) -> int:
    """How many float32 numbers `score_map` needs for a map (H, W)."""
    return 1 + shape[0] + shape[1]


def score_map(
    anomaly_map: Any,
    mask: Any,
    score: Any,
    medians: Any,
    shape: tuple[int, int],
    kind: Literal["max", "mean_top", "std"] = "max",
    top: float = 0.01,
    profile: bool = False,
) -> list[Launch]:
    """As the score of `kernels.finish_map` on memory of the GPU.

    Args:
        anomaly_map: (H, W) float32.
        mask: (H, W) float32, or None.
        score: (1,) float32, written.
        medians: scratch, see `score_map_scratch`; not used without a profile.
        shape: (H, W).
    """
    height, width = shape
    block = (min(_MOST, max(256, -(-height * width // 64) // 32 * 32)), 1, 1)
    how = (SCORES.index(kind), top_count(top, height * width))
    args = (anomaly_map, mask, medians if profile else None, score, height, width, *how)
    last = Launch("score_map", "score_map", (1, 1, 1), block, args, 4 * (height + width) if profile else 0)
    if not profile:
        return [last]
    outer = (_outer(height), _outer(width))
    grid = (1 + 2 * sum(outer), 1, 1)
    return [
        Launch("score_map", "line_medians", grid, block, (anomaly_map, medians, height, width, *outer)),
        last,
    ]


def _outer(n: int) -> int:
    """Lines at either end whose median the profile may look at; both ends together hold at most n + 1."""
    return min(math.ceil(_REACH * n) + _SMOOTH, (n + 1) // 2)
