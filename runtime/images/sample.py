"""A small sample of a frame that says whether the picture is sound: what `quality` judges by.

64 tiles of at most 32 x 32 pixels at full resolution, spread evenly: 65,000 pixels whatever the camera, fine
enough to see a blur of one pixel, and spread enough to see what covers a few tiles' share of the view.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frame import U8

F32 = NDArray[np.float32]

Box = tuple[int, int, int, int]
"""x, y, width, height, px."""

GRID = 8
"""Tiles each way."""
TILE_PX = 32
"""Edge of a tile, where the frame is large enough."""
DARK_BELOW, BRIGHT_FROM = 16, 250
"""Grey levels that count as dark and as saturated."""
_LEVELS = np.arange(256, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What was seen; grey levels 0..255."""

    pixels: U8
    """(GRID * tile, GRID * tile) grey, the tiles side by side."""
    mean: float
    p99: float
    """Grey level that 99 % of the pixels do not exceed."""
    dark_frac: float
    """Share of pixels below `DARK_BELOW`."""
    sat_frac: float
    """Share of pixels at `BRIGHT_FROM` and above."""
    focus: float
    """Median over the tiles of the variance of the Laplacian: what covers a few tiles does not change it."""
    tile_mean: F32
    """(GRID, GRID) mean grey level of each tile."""
    tile_focus: F32
    """(GRID, GRID) variance of the Laplacian in each tile."""

    @property
    def tile_light(self) -> F32:
        """(GRID, GRID) tile means over their median: the light's pattern, whatever its strength."""
        return self.tile_mean / max(float(np.median(self.tile_mean)), 1.0)


def crop(pixels: U8, box: Box | None) -> U8:
    """The part of an image inside a box; all of it for None."""
    if box is None:
        return pixels
    x, y, width, height = box
    return pixels[y : y + height, x : x + width]


def take_sample(pixels: U8) -> Sample:
    """Samples a frame of (H, W) grey or (H, W, 3) BGR."""
    tile = min(TILE_PX, *pixels.shape[:2])
    grey = _mosaic(pixels, tile)
    share = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel() / grey.size
    tile_focus = _focus(grey, tile)
    return Sample(
        pixels=grey,
        mean=float(share @ _LEVELS),
        p99=float(np.searchsorted(np.cumsum(share), 0.99)),
        dark_frac=float(share[:DARK_BELOW].sum()),
        sat_frac=float(share[BRIGHT_FROM:].sum()),
        focus=float(np.median(tile_focus)),
        tile_mean=_tile_means(grey.astype(np.float32)),
        tile_focus=tile_focus,
    )


def _mosaic(pixels: U8, tile: int) -> U8:
    """The tiles side by side; a frame smaller than all of them shows some pixels twice."""
    rows, columns = (_positions(length, tile) for length in pixels.shape[:2])
    strips = pixels[rows]
    grey = strips if strips.ndim == 2 else np.asarray(cv2.cvtColor(strips, cv2.COLOR_BGR2GRAY), np.uint8)
    return np.take(grey, columns, axis=1)


def _positions(length: int, tile: int) -> NDArray[np.intp]:
    starts = np.linspace(0, length - tile, GRID).astype(np.intp)
    return np.asarray(np.add.outer(starts, np.arange(tile)).ravel(), np.intp)


def _focus(grey: U8, tile: int) -> F32:
    """Variance of the Laplacian inside each tile; what it says across the seams is left out."""
    if tile < 3:
        return np.zeros((GRID, GRID), np.float32)
    edges = np.asarray(cv2.Laplacian(grey, cv2.CV_32F), np.float32)
    inside = edges.reshape(GRID, tile, GRID, tile)[:, 1:-1, :, 1:-1].reshape(GRID * (tile - 2), -1)
    square = np.asarray(inside * inside, np.float32)
    variance = np.subtract(_tile_means(square), np.square(_tile_means(inside)))
    return np.asarray(np.maximum(variance, 0), np.float32)


def _tile_means(mosaic: F32) -> F32:
    """(GRID, GRID) mean of each tile."""
    return np.asarray(cv2.resize(mosaic, (GRID, GRID), interpolation=cv2.INTER_AREA), np.float32)
