"""Nearest neighbours, compiled."""

from __future__ import annotations

import numpy as np

from .. import reference
from ..arrays import F32, Indices
from .library import Kernel, checked

MOST_NEIGHBOURS = 64
"""Largest k that is compiled: lists of candidates must stay short."""

_KNN_DISTANCE = Kernel("knn_distance", "pppppnnnn", 4)


def knn_distance(
    queries: F32, bank: F32, k: int, exclude: Indices | None = None, threads: int = 1
) -> tuple[F32, Indices]:
    """As in `reference`, float32 only; N x M distances are never stored; above k = 64 the reference serves.

    Distances are sums of squared differences: exact to about 1e-6 of themselves, 0 for equal rows, at any
    scale of the features. Candidates come from the Gram form about the bank's mean, k + 4 of them, so a
    neighbour can be missed only where five others are as near within rounding of that form. A bank with a
    value that is not finite gives NaN for all queries, a query with NaN for itself.
    """
    queries = checked("knn_distance", "queries", queries, 2)
    bank = checked("knn_distance", "bank", bank, 2)
    reference.check_knn(queries, bank, k, exclude)
    if k > MOST_NEIGHBOURS:
        return reference.knn_distance(queries, bank, k, exclude)
    own = None if exclude is None else np.ascontiguousarray(exclude, np.int64)
    sizes = (len(queries), len(bank), bank.shape[1], k)
    distances, indices = np.empty(sizes[::3], np.float32), np.empty(sizes[::3], np.int64)
    _KNN_DISTANCE(sizes, queries, bank, own, distances, indices, *sizes, threads=threads)
    return distances, indices
