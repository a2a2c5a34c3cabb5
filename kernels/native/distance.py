"""Distances between feature maps, compiled."""

from __future__ import annotations

from typing import Literal

from ..arrays import F32
from .library import Kernel, checked, result

KINDS = ("cosine", "l2")
"""In the order of the C function's numbers."""

_DISTANCE_MAP = Kernel("distance_map", "pppnni", 2)


def distance_map(
    first: F32, second: F32, kind: Literal["cosine", "l2"], out: F32 | None = None, threads: int = 1
) -> F32:
    """As in `reference`, float32 only; `out` (h, w) receives the distances where given."""
    first, second = (checked("distance_map", "a feature map", array, 3) for array in (first, second))
    if first.shape != second.shape:
        raise ValueError(f"distance_map: shapes differ: {first.shape} and {second.shape}")
    if kind not in KINDS:
        raise ValueError(f"distance_map: kind is {kind!r}, expected 'cosine' or 'l2'")
    h, w, channels = first.shape
    distance = result("distance_map", (h, w), out)
    sizes = (h * w, channels)
    _DISTANCE_MAP(sizes, first, second, distance, *sizes, KINDS.index(kind), threads=threads)
    return distance
