"""How `pool_norm.cu` is launched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .launch import Launch, blocks
from .pairs import paired

_CHUNK, _CELLS, _ROWS = 256, 8, 4


def pool_norm_scratch(shape: tuple[int, int, int]) -> tuple[int, int]:
    """What `pool_norm` needs for features (h, w, C): FP32 numbers, and 32-bit counters that start at 0."""
    h, w, channels = shape
    return blocks(w, _CELLS) * blocks(h, _ROWS) * channels, blocks(channels, _CHUNK)


@dataclass(frozen=True)
class PoolScale:
    """One scale of an image on the GPU; see `pool_norm`."""

    features: Any
    pooled: Any
    lower: Any
    """(h, w, C) FP16, written: what `pooled` leaves out, times 2048; or None."""
    mean: Any
    partials: Any
    counters: Any
    shape: tuple[int, int, int]
    """(h, w, C)."""


def pool(*scales: PoolScale, half: bool = True) -> Launch:
    """Pooled features and their mean alone, for one or two scales of an image at once."""
    sizes = [scale.shape for scale in scales]
    across, chunks = max(blocks(w, _CELLS) for _, w, _ in sizes), max(blocks(c, _CHUNK) for *_, c in sizes)
    grid = (chunks, across, sum(blocks(h, _ROWS) for h, _, _ in sizes))
    args = paired([(s.features, s.pooled, s.lower, s.mean, s.partials, s.counters, *s.shape) for s in scales])
    return Launch("pool_norm", "pool_norm" if half else "pool_norm_f32", grid, (32, _CELLS, 1), args)


def pool_norm(
    features: Any,
    pooled: Any,
    mean: Any,
    norms: Any,
    centred: Any,
    partials: Any,
    counters: Any,
    shape: tuple[int, int, int],
    half: bool = True,
) -> list[Launch]:
    """As `kernels.pool_norm` on memory of the GPU; FP16 arrays are aligned to 16 bytes.

    Args:
        features: (h, w, C) of FP16 (`half`) or FP32.
        pooled: (h, w, C) FP16, written.
        mean: (C,) FP32, written.
        norms: (h, w) FP32, written.
        centred: (h, w, C) FP16, written: pooled minus mean; None leaves it out. `norms` are of these.
        partials: scratch, see `pool_norm_scratch`.
        counters: scratch that is 0 before the first launch, and again after each.
        shape: (h, w, C).
    """
    h, w, channels = shape
    cells = (blocks(h * w, _CELLS), 1, 1)
    centre = (pooled, mean, centred, norms, h * w, channels)
    block = (32, _CELLS, 1)
    return [
        pool(PoolScale(features, pooled, None, mean, partials, counters, shape), half=half),
        Launch("pool_norm", "pool_centre", cells, block, centre),
    ]
