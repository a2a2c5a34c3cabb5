"""Neighbourhood regression, compiled."""

from __future__ import annotations

import numpy as np

from ..arrays import F32
from ..regression import NOISE_VARIANCE
from .library import Kernel, checked

_REGRESSION = Kernel("neighbour_regression", "pnpnpnnnffff", 2)


def neighbour_regression(
    features: F32, target: F32, blend: float, ridge: float = 1e-5, threads: int = 1
) -> F32:
    """As in `reference`, float32 only; features may be a view of whole cells, such as a grid's inside."""
    if features.dtype != np.float32 or features.ndim != 3:
        raise ValueError(f"neighbour_regression: features are {features.dtype} {features.shape}, not float32")
    h, w, channels = features.shape
    each = target.ndim == 3
    shape = (h - 2, w - 2)
    if min(shape) < 1 or target.shape != ((*shape, channels) if each else (channels,)):
        raise ValueError(
            f"neighbour_regression: features {features.shape} and target {target.shape} do not fit"
        )
    if features.strides[1:] != (4 * channels, 4) or features.strides[0] % 4:
        features = np.ascontiguousarray(features)
    target = checked("neighbour_regression", "target", target, target.ndim)
    errors = np.empty(shape, np.float32)
    _REGRESSION(
        (h, w),
        *(features, features.strides[0] // 4, target, each, errors, h, w, channels),
        *(1 - blend, blend, ridge, channels * NOISE_VARIANCE),
        threads=threads,
    )
    return errors
