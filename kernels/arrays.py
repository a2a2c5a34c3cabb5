"""The array types of the kernels, and two sums that several of them share."""

from typing import Any

import numpy as np
import numpy.typing as npt

F16 = npt.NDArray[np.float16]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]
"""float32 in the product, float64 where a test checks an identity; a kernel answers in what it was given."""


def mean_row(rows: Floats) -> Floats:
    """(C,) mean of (n, C); summed in float64, as float32 loses a digit per thousand rows."""
    mean: Floats = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    return mean


def inner(first: Floats, second: Floats) -> Floats:
    """Inner products along the last axis, (..., C) and (..., C) to (...)."""
    products: Floats = np.einsum("...c,...c->...", first, second)
    return products
