"""The numerics: each kernel in NumPy, readable beside the paper it comes from."""

from .matrices import finish_matrix, resize_matrix
from .reference import (
    Bank,
    anchor_indices,
    distance_map,
    distance_rowsum,
    fill_border,
    finish_map,
    knn_distance,
    neighbour_mean,
    neighbour_regression,
    pool_norm,
    preprocess,
    select_global,
    shift_correlations,
)
from .table import FORMS, Form, Kernels, open_kernels

__all__ = [
    "FORMS",
    "Bank",
    "Form",
    "Kernels",
    "anchor_indices",
    "distance_map",
    "distance_rowsum",
    "fill_border",
    "finish_map",
    "finish_matrix",
    "knn_distance",
    "neighbour_mean",
    "neighbour_regression",
    "open_kernels",
    "pool_norm",
    "preprocess",
    "resize_matrix",
    "select_global",
    "shift_correlations",
]
