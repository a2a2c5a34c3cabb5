"""Matrices whose rows are zero outside of a short band, as the kernels read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Floats


@dataclass(frozen=True)
class Bands:
    """The bands of a matrix (n_out, n_in): NumPy arrays, or the GPU's memory in their place."""

    first: Any
    """(n_out,) int32, column where the band of each row starts; first + taps <= n_in."""
    weights: Any
    """(taps, n_out) float32: what neighbouring threads read lies side by side."""
    taps: int
    n_in: int
    n_out: int


def bands(matrix: Floats) -> Bands:
    """The bands of a matrix, all as wide as the widest of them."""
    n_out, n_in = matrix.shape
    used = matrix != 0
    first, last = used.argmax(axis=1), n_in - used[:, ::-1].argmax(axis=1)
    taps = int((last - first).max())
    first = np.minimum(first, n_in - taps)
    weights = np.take_along_axis(matrix, first[:, None] + np.arange(taps), axis=1)
    return Bands(
        first.astype(np.int32), np.ascontiguousarray(weights.T.astype(np.float32)), taps, n_in, n_out
    )
