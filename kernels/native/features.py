"""Pooling and self filtering, compiled."""

from __future__ import annotations

import numpy as np

from ..arrays import F32
from .library import Kernel, checked, result

_POOL_NORM = Kernel("pool_norm", "ppppnnn", 3)


def pool_norm(features: F32, out: F32 | None = None, threads: int = 1) -> tuple[F32, F32, F32]:
    """As in `reference`, float32 only; `out` (h, w, C) receives the pooled features where given."""
    features = checked("pool_norm", "features", features, 3)
    h, w, channels = features.shape
    pooled = result("pool_norm", features.shape, out)
    norms, mean = np.empty((h, w), np.float32), np.empty(channels, np.float32)
    _POOL_NORM((h, w, channels), features, pooled, norms, mean, h, w, channels, threads=threads)
    return pooled, norms, mean
