"""The kernels of one form as a table: what uses them does not ask which form it was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal

from . import native, reference
from .arrays import F32, Indices

Form = Literal["native", "reference"]
FORMS: tuple[Form, ...] = ("native", "reference")
"""Best first; `reference` is always there."""


@dataclass(frozen=True)
class Kernels:
    """The kernels of `reference`, arguments and results as there, float32."""

    form: Form
    preprocess: Callable[..., F32]
    pool_norm: Callable[..., tuple[F32, F32, F32]]
    distance_rowsum: Callable[..., F32]
    select_global: Callable[..., tuple[Indices, F32]]
    neighbour_mean: Callable[..., F32]
    neighbour_regression: Callable[..., F32]
    Bank: Callable[..., Any]
    """Rows packed once; `knn_distance` takes them as it takes rows."""
    knn_distance: Callable[..., tuple[F32, Indices]]
    distance_map: Callable[..., F32]
    fill_border: Callable[..., F32]
    finish_map: Callable[..., tuple[F32, float]]


def open_kernels(form: Form | None = None, threads: int = 1) -> Kernels:
    """The kernels of a form; None: native where it was compiled, else the reference.

    Args:
        threads: of each native kernel, >= 1; the reference leaves that to NumPy's BLAS.

    Raises:
        ValueError: native kernels are asked for and there are none, with the reason.
    """
    loaded = native.library()
    if form == "native" and loaded.functions is None:
        raise ValueError(loaded.reason)
    if form == "reference" or loaded.functions is None:
        return Kernels("reference", *(getattr(reference, name) for name in _NAMES))
    return Kernels("native", *(partial(getattr(native, name), threads=threads) for name in _NAMES))


_NAMES = [field.name for field in fields(Kernels)][1:]
