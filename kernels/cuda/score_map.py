"""How `score_map.cu` is launched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from ..finish import SCORES, top_count
from .launch import Launch

_REACH, _SMOOTH = 0.125, 2
_MOST = 1024


@dataclass(frozen=True)
class Judge:
    """How a map (H, W) becomes a score, as `kernels.finish_map` has it, on memory of the GPU."""

    score: Any
    """(1,) float32, written."""
    scratch: Any
    """float32 numbers, see `score_scratch` or, with `finish_map`, `finish_scratch`."""
    counter: Any
    """One 32-bit integer that is 0 before the first launch, and again after each."""
    mask: Any = None
    """(H, W) float32, 0..1; None is 1 everywhere."""
    kind: Literal["max", "mean_top", "std"] = "max"
    top: float = 0.01
    profile: bool = False


def score_scratch(shape: tuple[int, int]) -> int:
    """How many float32 numbers of scratch `score_map` needs for a map (H, W)."""
    # A median for each line and one for the map.
    return 1 + shape[0] + shape[1]


def score_map(anomaly_map: Any, shape: tuple[int, int], judge: Judge) -> Launch:
    """The score of a map (H, W) float32."""
    height, width = shape
    block = (min(_MOST, max(256, -(-height * width // 64) // 32 * 32)), 1, 1)
    how = (SCORES.index(judge.kind), top_count(judge.top, height * width))
    outer = (_outer(height), _outer(width)) if judge.profile else (0, 0)
    medians, shared = (judge.scratch, 4 * (height + width)) if judge.profile else (None, 0)
    args = (anomaly_map, judge.mask, medians, judge.counter, judge.score, height, width, *outer, *how)
    return Launch("score_map", "score_map", (1 + 2 * sum(outer), 1, 1), block, args, shared)


def _outer(n: int) -> int:
    """Lines at either end whose median the profile may look at; both ends together hold at most n + 1."""
    return min(math.ceil(_REACH * n) + _SMOOTH, (n + 1) // 2)
