"""The rows of the kernels' benchmark: a group of kernels is one file and its name in GROUPS."""

from __future__ import annotations

from benchmarks.contest import Row

from . import distance, grnr, knn, preprocess, regression

GROUPS = (knn, regression, grnr, distance, preprocess)


def all_rows() -> list[Row]:
    """Every row, in the order of the table."""
    return [row for group in GROUPS for row in group.ROWS]
