"""How `finish_map.cu` is launched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .bands import Bands
from .launch import Launch, blocks
from .pairs import paired
from .score_map import Judge, score_map, score_scratch

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


def finish_scratch(shape: tuple[int, int]) -> int:
    """How many float32 numbers of scratch the `Judge` of a `finish_map` needs for a map (H, W)."""
    return max(score_scratch(shape), blocks(shape[0], _TILE_H) * blocks(shape[1], _TILE_W))


def finish_map(
    scales: Sequence[ErrorMap],
    out: Any,
    judge: Judge | None = None,
    fill: Literal["min", "edge"] = "min",
    fusion: Literal["product", "sum", "mean"] = "product",
) -> list[Launch]:
    """As `kernels.fill_border` and `kernels.finish_map` on memory of the GPU.

    Args:
        scales: one or more; two of them share a launch.
        out: (H, W) float32, written; H and W as the bands have them.
        judge: how the score is taken: the maximum costs no launch, everything else one; None leaves it out.
    """
    shape = (scales[0].down.n_out, scales[0].across.n_out)
    grid = (blocks(shape[1], _TILE_W), blocks(shape[0], _TILE_H), 1)
    launches = []
    for first in range(0, len(scales), 2):
        pair = scales[first : first + 2]
        last = first + 2 >= len(scales)
        factor = 1 / len(scales) if fusion == "mean" and last else 1.0
        how = (FILLS.index(fill), int(fusion != "product"), int(first > 0), factor)
        maximum = _maximum(judge if last else None)
        args = (*paired([scale.args() for scale in pair]), out, *shape, *how, *maximum)
        strip = 4 * _TILE_H * max(scale.across.n_in for scale in pair)
        launches.append(Launch("finish_map", "finish_map", grid, (_BLOCK, 1, 1), args, strip))
    if judge is not None and not _is_maximum(judge):
        launches.append(score_map(out, shape, judge))
    return launches


def _is_maximum(judge: Judge) -> bool:
    return judge.kind == "max" and not judge.profile


def _maximum(judge: Judge | None) -> tuple[Any, ...]:
    """Mask, partial maxima, counter and score as the kernel takes them; null where it takes none."""
    if judge is None or not _is_maximum(judge):
        return (None, None, None, None)
    return (judge.mask, judge.scratch, judge.counter, judge.score)
