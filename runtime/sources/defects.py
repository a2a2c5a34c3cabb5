"""Planted defects of known kind, place, size and contrast, and where exactly they lie.

A defect is a few numbers; everything about its looks follows from them, so that another process can draw
or list the same defect without seeing the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..frame import U8

F32 = NDArray[np.float32]

MASK_LEVEL = 0.25
"""Ground truth is where the change is at least this share of the defect's peak."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One planted defect."""

    kind: str
    """A key of `KINDS`."""
    x_px: float
    """Column of its centre."""
    y_px: float
    """Row of its centre."""
    size_px: float
    """Its largest extent."""
    contrast: float
    """Peak change of the grey level as a share of full scale: 0.2 is 51 of 255; negative is darker."""
    angle_rad: float = 0.0
    """Direction of its long side, counted from the row towards larger y."""
    seed: int = 0
    """Decides the outline's small irregularities."""


def random_defect(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    kinds: Sequence[str],
    size_px: tuple[float, float],
    contrast: tuple[float, float],
) -> Defect:
    """A defect of uniform size and contrast, wholly inside an image of `shape` if it fits."""
    kind = kinds[int(rng.integers(len(kinds)))]
    size = float(rng.uniform(*size_px))
    darker = rng.random() < (0.0 if kind == "dent" else 1.0 if kind == "missing_thread" else 0.75)
    value = float(rng.uniform(*contrast)) * (-1 if darker else 1)
    angle = 0.0 if kind == "missing_thread" else float(rng.uniform(0, math.pi))
    margin = size / 2 + 2
    x, y = (float(rng.uniform(min(margin, n / 2), max(n - margin, n / 2))) for n in (shape[1], shape[0]))
    return Defect(kind, x, y, size, value, angle, int(rng.integers(2**31)))


def plant_defect(image: U8, defect: Defect) -> U8:
    """A copy of an (H, W) or (H, W, 3) image with the defect in it; what lies outside is cut off."""
    planted: U8 = image.copy()
    stamp_defect(planted, defect)
    return planted


def stamp_defect(image: U8, defect: Defect) -> None:
    """As `plant_defect`, into the image itself."""
    rows, columns, profile = _profile(defect, image.shape)
    patch = image[rows, columns].astype(np.float32)
    change = profile * np.float32(255 * defect.contrast)
    patch += change if image.ndim == 2 else change[:, :, None]
    image[rows, columns] = np.clip(np.rint(patch), 0, 255).astype(np.uint8)


def ground_truth_mask(defects: Sequence[Defect], shape: tuple[int, ...]) -> U8:
    """(H, W) uint8: 255 where a defect changes the image by `MASK_LEVEL` of its peak or more, else 0."""
    mask = np.zeros(shape[:2], np.uint8)
    for defect in defects:
        rows, columns, profile = _profile(defect, shape)
        mask[rows, columns] |= np.where(np.abs(profile) >= MASK_LEVEL, 255, 0).astype(np.uint8)
    return mask


def _profile(defect: Defect, shape: tuple[int, ...]) -> tuple[slice, slice, F32]:
    """Rows, columns and the change per pixel, -1..1 with its peak at 1, of the part inside the image."""
    reach = math.ceil(defect.size_px / 2) + 2
    top, left = math.floor(defect.y_px) - reach, math.floor(defect.x_px) - reach
    rows = slice(min(max(top, 0), shape[0]), min(max(top + 2 * reach + 1, 0), shape[0]))
    columns = slice(min(max(left, 0), shape[1]), min(max(left + 2 * reach + 1, 0), shape[1]))
    y = np.arange(top, top + 2 * reach + 1, dtype=np.float32)[:, None] - np.float32(defect.y_px)
    x = np.arange(left, left + 2 * reach + 1, dtype=np.float32)[None, :] - np.float32(defect.x_px)
    cos, sin = np.float32(math.cos(defect.angle_rad)), np.float32(math.sin(defect.angle_rad))
    rng = np.random.default_rng(defect.seed)
    half = np.float32(max(defect.size_px, 1.0) / 2)
    profile = KINDS[defect.kind](x * cos + y * sin, y * cos - x * sin, half, rng)
    profile /= max(float(np.abs(profile).max()), 1e-6)
    return (
        rows,
        columns,
        profile[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left],
    )


def _wobbly_radius(u: F32, v: F32, rng: np.random.Generator, wobble: float) -> F32:
    """Distance from the centre, in units of an irregular outline that reaches 1 at its farthest."""
    angle = np.arctan2(v, u)
    outline = np.ones_like(angle)
    for k in (2, 3, 5):
        outline += np.float32(wobble / k * rng.uniform(0.5, 1.5)) * np.cos(
            k * angle + rng.uniform(0, 2 * np.pi)
        )
    radius: F32 = np.hypot(u, v) / (outline / outline.max())
    return radius


def _edge(distance: F32, width: float) -> F32:
    """1 inside (distance < 0), 0 outside, smooth over about `width`."""
    soft: F32 = 1 / (1 + np.exp(np.clip(distance / np.float32(width / 4), -30, 30)))
    return soft


def _spot(u: F32, v: F32, half: np.float32, rng: np.random.Generator) -> F32:
    """A drop or a speck: full change inside a slightly irregular outline."""
    radius = _wobbly_radius(u, v * np.float32(rng.uniform(1.0, 1.35)), rng, 0.25)
    return _edge(radius - half * np.float32(0.93), max(1.5, 0.15 * float(half)))


def _stain(u: F32, v: F32, half: np.float32, rng: np.random.Generator) -> F32:
    """A dried liquid: ragged outline, weaker inside, with a rim."""
    radius = _wobbly_radius(u, v * np.float32(rng.uniform(1.1, 1.6)), rng, 0.5) / half
    rim = np.exp(-(((radius - np.float32(0.85)) / np.float32(0.1)) ** 2))
    stain: F32 = _edge(radius - np.float32(0.92), 0.12) * np.float32(0.65) + rim * np.float32(0.35)
    return stain


def _scratch(u: F32, v: F32, half: np.float32, rng: np.random.Generator) -> F32:
    """A bent line, thin at its ends."""
    along = np.clip(np.abs(u) / half, 0, 1)
    bend = np.float32(rng.uniform(-0.12, 0.12)) * half * (1 - 2 * along**2)
    width = np.float32(max(1.1, 0.05 * float(half))) * (np.float32(1.2) - along)
    line: F32 = np.exp(-(((v - bend) / width) ** 2)) * (np.abs(u) <= half)
    return line


def _missing_thread(u: F32, v: F32, half: np.float32, rng: np.random.Generator) -> F32:
    """A gap along a thread: a straight bar with the shadow of its neighbours."""
    width = np.float32(max(1.5, 0.14 * float(half)))
    bar = _edge(np.abs(v) - width, 2.0) * _edge(np.abs(u) - half + 1, 2.0)
    gap: F32 = bar * (np.float32(0.85) + np.float32(0.15) * np.cos(u * np.float32(0.9)))
    return gap


def _dent(u: F32, v: F32, half: np.float32, rng: np.random.Generator) -> F32:
    """A hollow lit from one side: one flank darker, the other lighter."""
    radius = np.hypot(u, v * np.float32(rng.uniform(1.0, 1.4))) / half
    flank: F32 = u / half * np.clip(1 - radius**2, 0, None) ** 2
    return flank


KINDS: dict[str, Callable[[F32, F32, np.float32, np.random.Generator], F32]] = {
    "spot": _spot,
    "stain": _stain,
    "scratch": _scratch,
    "missing_thread": _missing_thread,
    "dent": _dent,
}
"""Name -> change per pixel, from coordinates along and across the defect, half its size and its own dice."""
