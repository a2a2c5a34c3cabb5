"""How `finish_map.cu` is launched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .bands import Bands
from .launch import Launch, blocks

_BLOCK, _TILE_H, _TILE_W = 256, 16, 32
FILLS = ("min", "edge")


@dataclass(frozen=True)
class ErrorMap:
    """The cell errors of one scale, and how they reach the map."""

    errors: Any
    """(rows, columns) float32: the cells that could be solved, centred in the grid."""
    rows: int
    columns: int
    cut: int
    """Cells per side of the errors that are overwritten; 0 <= cut <= ring."""
    ring: int
    """Cells per side of the grid that are filled; the grid has rows + 2 (ring - cut) of them."""
    down: Bands
    """Bands of the row matrix A_h (height, grid rows), on the GPU."""
    across: Bands
    """Bands of the column matrix A_w (width, grid columns), on the GPU."""

    def args(self) -> tuple[Any, ...]:
        """As the kernel takes them."""
        sizes = (self.rows, self.columns, self.cut, self.ring)
        axes = ((axis.first, axis.weights, axis.taps) for axis in (self.down, self.across))
        return (self.errors, *sizes, *(argument for axis in axes for argument in axis))


def finish_map(
    scales: Sequence[ErrorMap],
    out: Any,
    fill: Literal["min", "edge"] = "min",
    fusion: Literal["product", "sum", "mean"] = "product",
) -> list[Launch]:
    """As `kernels.fill_border` and the map of `kernels.finish_map` on memory of the GPU.

    Args:
        scales: one or more; two of them share a launch.
        out: (H, W) float32, written; H and W as the bands have them.
    """
    height, width = scales[0].down.n_out, scales[0].across.n_out
    grid = (blocks(width, _TILE_W), blocks(height, _TILE_H), 1)
    none = (None, 0, 0, 0, 0, None, None, 0, None, None, 0)
    launches = []
    for first in range(0, len(scales), 2):
        pair = scales[first : first + 2]
        factor = 1 / len(scales) if fusion == "mean" and first + 2 >= len(scales) else 1.0
        how = (FILLS.index(fill), int(fusion != "product"), int(first > 0), factor)
        args = (*pair[0].args(), *(pair[1].args() if len(pair) == 2 else none), out, height, width, *how)
        strip = 4 * _TILE_H * max(scale.across.n_in for scale in pair)
        launches.append(Launch("finish_map", "finish_map", grid, (_BLOCK, 1, 1), args, strip))
    return launches
