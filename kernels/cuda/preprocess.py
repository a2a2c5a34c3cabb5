"""How `preprocess.cu` is launched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import F32
from .bands import Bands
from .launch import Launch, blocks

_BLOCK = 256
_SHARED = 48 << 10
"""Bytes that every GPU gives a block without being asked."""

_TILES = [(16, 64), (16, 32), (8, 32), (8, 16), (4, 16), (4, 8), (2, 4), (1, 2), (1, 1)]
"""Rows and columns of outputs per block, largest first: the larger, the less two tiles share."""

_ENOUGH = 512
"""Blocks that keep a large GPU busy; below that smaller tiles are taken, down to 8 x 32."""


def normalisation(mean: Sequence[float], std: Sequence[float]) -> F32:
    """(6,): factor and summand that take 0..255 to (value / 255 - mean) / std, for red, green, blue."""
    factors = [1 / (255 * s) for s in std]
    return np.array([*factors, *(-m / s for m, s in zip(mean, std, strict=True))], np.float32)


def preprocess(
    image: Any,
    stride: int,
    channels: int,
    corner: tuple[int, int],
    down: Bands,
    across: Bands,
    normal: Any,
    out: Any,
    half: bool = True,
) -> Launch:
    """As `kernels.preprocess` on memory of the GPU.

    Args:
        image: uint8 rows of blue, green, red or of grey pixels, aligned to 4 bytes; all `stride` bytes of the
            last row are there to be read.
        stride: bytes from row to row; a multiple of 4 is faster.
        channels: 3 or 1.
        corner: (x, y) of the region in source pixels; its size is `n_in` of the bands.
        down: bands of `resize_matrix` for the rows, `across` for the columns, both on the GPU.
        normal: (6,) float32, see `normalisation`.
        out: (3, height, width) FP16 (`half`) or FP32, written.

    Raises:
        ValueError: an image so wide for one output that its line does not fit a block's memory.
    """
    height, width = down.n_out, across.n_out
    tile_h, tile_w, pitch = _tile(down, across, channels)
    bytes_of_lines = 4 * tile_h * pitch
    if bytes_of_lines > _SHARED:
        raise ValueError(f"preprocess: {across.n_in} columns are too many for {width} outputs on a GPU")
    args = (
        *(image, stride, *corner, channels),
        *(down.first, down.weights, down.taps, across.first, across.weights, across.taps),
        *(normal, out, height, width, tile_h, tile_w, pitch),
    )
    grid = (blocks(width, tile_w), blocks(height, tile_h), 1)
    entry = "preprocess" if half else "preprocess_f32"
    return Launch("preprocess", entry, grid, (_BLOCK, 1, 1), args, bytes_of_lines)


def _tile(down: Bands, across: Bands, channels: int) -> tuple[int, int, int]:
    """Rows and columns of a tile, and the floats of one of its lines."""
    for tile_h, tile_w in _TILES:
        # From the first output's first position to behind the last one's last; 3 bytes to a multiple of 4.
        span = -(-(tile_w - 1) * across.n_in // across.n_out) + across.taps + 1
        pitch = -(-(min(span, across.n_in) * channels + 3) // 4) * 4
        count = blocks(across.n_out, tile_w) * blocks(down.n_out, tile_h)
        if 4 * tile_h * pitch <= _SHARED and (count >= _ENOUGH or tile_h * tile_w <= 256):
            break
    return tile_h, tile_w, pitch
