"""Rolls of material: grey textures that join at their ends, for the synthetic web.

A roll is as long as several sections, rendered once; its last row continues in its first. Nothing in it
repeats exactly: threads differ in width, brightness and course, grains in size.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frame import U8

F32 = NDArray[np.float32]

THREAD_PX = 12.0
"""Mean distance of two threads of `woven`: 1/85 of a 1024-pixel frame."""


def render_roll(texture: str, length: int, width: int, seed: int) -> U8:
    """(length, width) uint8 roll of a key of `TEXTURES`, mean near 120; the same for the same arguments."""
    rng = np.random.default_rng([seed, 0x524F4C4C])
    roll = TEXTURES[texture](rng, length, width)
    # The lamp is a little brighter in the middle; across the web only, so that the ends still join.
    across = np.linspace(-1, 1, width, dtype=np.float32)
    return np.clip(roll * (1.02 - 0.07 * across**2), 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, length: int, width: int, cell_y: float, cell_x: float) -> F32:
    """Smooth noise, about N(0, 1) at its nodes `cell` pixels apart, whose ends join along y."""
    rows, columns = max(1, round(length / cell_y)), max(2, round(width / cell_x) + 3)
    grid = rng.standard_normal((rows, columns), np.float32)
    grid = np.pad(grid, ((2, 2), (0, 0)), "wrap")
    scale = length / rows
    y = (np.arange(length, dtype=np.float32) + 0.5) / scale + 1.5
    x = (np.arange(width, dtype=np.float32) + 0.5) / cell_x + 0.5
    return _sample(grid, y, x)


def _sample(grid: F32, y: F32, x: F32) -> F32:
    """Cubic interpolation of `grid` at the rows `y` and columns `x`."""
    x_map, y_map = np.meshgrid(x, y)
    return cv2.remap(grid, x_map, y_map, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)  # type: ignore[return-value]


def _blur(image: F32, sigma_y: float, sigma_x: float) -> F32:
    """Gaussian blur whose ends join along y."""
    pad = int(4 * sigma_y) + 2
    wrapped = np.pad(image, ((pad, pad), (0, 0)), "wrap")
    blurred = cv2.GaussianBlur(wrapped, (0, 0), sigmaX=max(sigma_x, 0.01), sigmaY=max(sigma_y, 0.01))
    return blurred[pad:-pad]  # type: ignore[return-value]


def _standard(image: F32) -> F32:
    """Mean 0, deviation 1."""
    scaled: F32 = (image - image.mean()) / image.std()
    return scaled


def _threads(rng: np.random.Generator, extent: int, joins: bool) -> tuple[NDArray[np.intp], F32, int]:
    """Thread number and place across it (-1..1) for each pixel of `extent`, and how many threads."""
    count = max(4, round(extent / THREAD_PX / 4) * 4)
    widths = THREAD_PX * (1 + 0.09 * rng.standard_normal(count + (0 if joins else 8))).clip(0.7, 1.35)
    edges = np.concatenate([[0.0], np.cumsum(widths)])
    edges *= extent / edges[-1] if joins else 1.0
    at = np.arange(extent) + 0.5
    index = np.clip(np.searchsorted(edges, at, "right") - 1, 0, len(widths) - 1)
    across = 2 * (at - edges[index]) / (edges[index + 1] - edges[index]) - 1
    return index, across.astype(np.float32), len(widths)


def _woven(rng: np.random.Generator, length: int, width: int) -> F32:
    """Plain-weave cloth: warp along the web, weft across; the cloth is drawn straight, then bent."""
    weft, v, weft_count = _threads(rng, length, joins=True)
    warp, u, warp_count = _threads(rng, width, joins=False)
    warp_light, weft_light = (rng.normal(0, 6, n).astype(np.float32) for n in (warp_count, weft_count))
    height, warp_on_top = _cloth_height(u, v, (weft[:, None] + warp[None, :]) % 2 == 0)
    yarn = np.where(warp_on_top, warp_light[warp][None, :], weft_light[weft][:, None])
    fibre = np.where(warp_on_top, _noise(rng, length, width, 8, 1.3), _noise(rng, length, width, 1.3, 8))
    # Yarn deep in the cloth is in shadow; the lamp stands to the upper left.
    lit = height - np.roll(height, (1, 1), (0, 1))
    cloth = 30 + (112 + yarn) * height + 55 * lit + (3 + 6 * height) * fibre
    return _bend(rng, cloth.astype(np.float32)) * (1 + 0.03 * _noise(rng, length, width, 90, 90))


def _cloth_height(u: F32, v: F32, warp_over: NDArray[np.bool_]) -> tuple[F32, NDArray[np.bool_]]:
    """Height (0..1) of the upper yarn at each pixel, and whether that is the warp.

    A yarn is a round bar that rises over one neighbour and dives under the next; u and v are the places
    across warp and weft yarns, -1..1.
    """
    side = np.where(warp_over, 1, -1).astype(np.float32)
    bar_u, bar_v = (np.sqrt(np.clip(1 - (w / 0.93) ** 2, 0, None)) for w in (u, v))
    warp = 0.5 * bar_u[None, :] + 0.3 * side * np.cos(0.5 * np.pi * v)[:, None]
    weft = 0.5 * bar_v[:, None] - 0.3 * side * np.cos(0.5 * np.pi * u)[None, :]
    height = np.clip(np.maximum(warp, weft) + 0.2, 0, 1)
    return height.astype(np.float32), warp > weft


def _bend(rng: np.random.Generator, cloth: F32) -> F32:
    """The cloth with threads that wander by a pixel or two."""
    length, width = cloth.shape
    dx = 1.1 * _noise(rng, length, width, 160, 40) + 0.5 * _noise(rng, length, width, 30, 12)
    dy = 1.1 * _noise(rng, length, width, 40, 160) + 0.5 * _noise(rng, length, width, 12, 30)
    pad = 16
    wrapped = np.pad(cloth, ((pad, pad), (0, 0)), "wrap")
    x = np.arange(width, dtype=np.float32)[None, :] + dx
    y = np.arange(length, dtype=np.float32)[:, None] + dy + pad
    return cv2.remap(wrapped, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)  # type: ignore[return-value]


def _brushed(rng: np.random.Generator, length: int, width: int) -> F32:
    """Brushed metal: hairlines across the web, of three lengths, a few of them deep."""
    steel = 128 + 9 * _noise(rng, length, width, 1.1, 300) + 9 * _noise(rng, length, width, 1.4, 90)
    steel += 7 * _noise(rng, length, width, 1.2, 25) + 3 * _noise(rng, length, width, 1.2, 5)
    deep = _noise(rng, length, width, 1.6, 140)
    steel -= 14 * np.clip(deep - 1.6, 0, 1.5)
    steel += 12 * np.clip(-deep - 1.8, 0, 1.5)
    return steel + 3 * _noise(rng, length, width, 12, 400)


def _granular(rng: np.random.Generator, length: int, width: int) -> F32:
    """Cast or sanded surface: grains of several sizes, longer along the web, lit from the upper left."""
    white = rng.standard_normal((length, width), np.float32)
    fine, coarse = _standard(_blur(white, 1.9, 1.5)), _standard(_blur(white[::-1], 3.4, 2.6))
    height = _standard(np.tanh(1.2 * fine) + 0.8 * np.tanh(1.1 * coarse))
    lit = height - np.roll(height, (2, 2), (0, 1))
    stone = 120 + 12 * height + 11 * _standard(lit) + 3 * _noise(rng, length, width, 60, 60)
    flecks = _noise(rng, length, width, 6, 5)
    stone += 24 * np.clip(-flecks - 2.2, 0, 1) - 20 * np.clip(flecks - 2.1, 0, 1)
    return stone


TEXTURES: dict[str, Callable[[np.random.Generator, int, int], F32]] = {
    "woven": _woven,
    "brushed": _brushed,
    "granular": _granular,
}
"""Name -> roll of (length, width) float32 grey levels."""
