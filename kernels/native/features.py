"""Pooling and self filtering, compiled."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .. import reference
from ..arrays import F32, Indices
from .library import Kernel, checked, result

_DISTANCE_ROWSUM = Kernel("distance_rowsum", "ppnn", 2)
_POOL_NORM = Kernel("pool_norm", "ppppnnn", 3)
_SELECT_GLOBAL = Kernel("select_global", "ppppnnn", 3)
_NEIGHBOUR_MEAN = Kernel("neighbour_mean", "pppnnnn", 4)


def pool_norm(features: F32, out: F32 | None = None, threads: int = 1) -> tuple[F32, F32, F32]:
    """As in `reference`, float32 only; `out` (h, w, C) receives the pooled features where given."""
    features = checked("pool_norm", "features", features, 3)
    h, w, channels = features.shape
    pooled = result("pool_norm", features.shape, out)
    if np.may_share_memory(features, pooled):
        features = features.copy()
    norms, mean = np.empty((h, w), np.float32), np.empty(channels, np.float32)
    _POOL_NORM((h, w, channels), features, pooled, norms, mean, h, w, channels, threads=threads)
    return pooled, norms, mean


def select_global(
    features: F32,
    row_distance: F32,
    count: int,
    variant: Literal["paper", "demo"] = "paper",
    threads: int = 1,
) -> tuple[Indices, F32]:
    """As in `reference`, float32 only; one thread whatever `threads` is."""
    if variant != "paper" or not 1 <= count <= len(features):
        return reference.select_global(features, row_distance, count, variant)
    features = checked("select_global", "features", features, 2)
    row_distance = checked("select_global", "row_distance", row_distance, 1)
    (n, channels), indices = features.shape, np.empty(count, np.int64)
    if row_distance.shape != (n,):
        raise ValueError(f"select_global: {row_distance.shape} distances do not fit {n} features")
    vector = np.empty(channels, np.float32)
    sizes = (n, channels, count)
    _SELECT_GLOBAL(sizes, features, row_distance, indices, vector, *sizes, threads=threads)
    return indices, vector


def neighbour_mean(bank: F32, indices: Indices, threads: int = 1) -> F32:
    """As in `reference`, float32 only.

    Raises:
        ValueError: an index outside the bank.
    """
    bank = checked("neighbour_mean", "bank", bank, 2)
    if indices.ndim != 2 or indices.dtype != np.int64:
        raise ValueError(
            f"neighbour_mean: indices are {indices.dtype} {indices.shape}, expected int64 (N, k)"
        )
    means = np.empty((len(indices), bank.shape[1]), np.float32)
    sizes = (len(indices), *bank.shape, indices.shape[1])
    _NEIGHBOUR_MEAN(sizes, bank, np.ascontiguousarray(indices), means, *sizes, threads=threads)
    return means


def distance_rowsum(features: F32, threads: int = 1) -> F32:
    """As in `reference`, float32 only; no distance is stored."""
    features = checked("distance_rowsum", "features", features, 2)
    means = np.empty(len(features), np.float32)
    _DISTANCE_ROWSUM(features.shape, features, means, *features.shape, threads=threads)
    return means
