"""How far two answers are apart, in the words of the table."""

from __future__ import annotations

from typing import Any

import numpy as np


def relative_map(found: Any, right: Any) -> str:
    """Greatest deviation of a map over its greatest value; answers are a map, or a map and its score."""
    mine, true = (np.asarray(a[0] if isinstance(a, tuple) else a, np.float64) for a in (found, right))
    difference = np.abs(mine.reshape(true.shape) - true).max()
    return f"map {difference / np.abs(true).max():.1e}"


def recall(found: Any, right: Any) -> str:
    """Share of the right neighbours that were found; answers are (distances, indices), (N, k) each."""
    pairs = zip(np.asarray(found[1]), np.asarray(right[1]), strict=True)
    hits = sum(len(np.intersect1d(mine, true)) for mine, true in pairs)
    return f"recall {hits / np.asarray(right[1]).size:.4f}"
