"""How `distance_map.cu` is launched."""

from __future__ import annotations

from typing import Any, Literal

from .launch import Launch, blocks

_BLOCK, _AT_ONCE, _WARP = 256, 8, 32
KINDS = ("cosine", "l2")


def distance_map(
    first: Any,
    second: Any,
    distance: Any,
    n: int,
    channels: int,
    kind: Literal["cosine", "l2"],
    half: bool = True,
) -> Launch:
    """As `kernels.distance_map` on memory of the GPU.

    Args:
        first: (n, C) of FP16 (`half`) or FP32, aligned to 16 bytes.
        second: likewise.
        distance: (n,) FP32, written.
    """
    group = 1
    while group < _WARP and group * _AT_ONCE < channels:
        group *= 2
    entry = "distance_map" if half else "distance_map_f32"
    grid = (blocks(n * group, _BLOCK), 1, 1)
    args = (first, second, distance, n, channels, group, KINDS.index(kind))
    return Launch("distance_map", entry, grid, (_BLOCK, 1, 1), args)
