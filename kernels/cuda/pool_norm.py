"""How `pool_norm.cu` is launched."""

from __future__ import annotations

from typing import Any

from .launch import Launch, blocks

_CHUNK, _CELLS, _ROWS = 256, 8, 4


def pool_norm_scratch(shape: tuple[int, int, int]) -> tuple[int, int]:
    """What `pool_norm` needs for features (h, w, C): FP32 numbers, and 32-bit counters that start at 0."""
    h, w, channels = shape
    return blocks(w, _CELLS) * blocks(h, _ROWS) * channels, blocks(channels, _CHUNK)


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
    grid = (blocks(channels, _CHUNK), blocks(w, _CELLS), blocks(h, _ROWS))
    entry = "pool_norm" if half else "pool_norm_f32"
    args = (features, pooled, mean, partials, counters, h, w, channels)
    cells = (blocks(h * w, _CELLS), 1, 1)
    centre = (pooled, mean, centred, norms, h * w, channels)
    block = (32, _CELLS, 1)
    return [
        Launch("pool_norm", entry, grid, block, args),
        Launch("pool_norm", "pool_centre", cells, block, centre),
    ]
