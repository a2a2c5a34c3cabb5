"""How `distance_rowsum.cu` is launched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .launch import Launch, blocks
from .pairs import centre_bytes, paired

_TILE, _THREADS = 64, 128


@dataclass(frozen=True)
class RowsumScale:
    """One scale of an image on the GPU."""

    features: Any
    """(n, C) FP16."""
    mean: Any
    """(C,) FP32 of the features, or any vector near it."""
    distances: Any
    """(n,) FP32, written."""
    partials: Any
    """Scratch, see `rowsum_scratch`."""
    counter: Any
    """One 32-bit integer that is 0 before the first launch, and again after each."""
    n: int
    channels: int


def rowsum_scratch(n: int) -> int:
    """How many FP32 numbers of scratch `distance_rowsum` needs for n cells."""
    return blocks(n, _TILE) * n


def distance_rowsum(*scales: RowsumScale) -> Launch:
    """As `kernels.distance_rowsum`, for one or two scales of an image at once."""
    tiles = max(blocks(scale.n, _TILE) for scale in scales)
    shared = max(centre_bytes(scale.channels) for scale in scales)
    args = [(s.features, s.mean, s.distances, s.partials, s.counter, s.n, s.channels) for s in scales]
    grid = (tiles, tiles, len(scales))
    return Launch("distance_rowsum", "distance_rowsum", grid, (_THREADS, 1, 1), paired(args), shared)
