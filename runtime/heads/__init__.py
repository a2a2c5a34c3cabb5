"""What turns feature maps into map and score: a table from the manifest's head to the class behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels import Form, Kernels, open_kernels

from ..bundle import Bundle, DistanceMapHead, GrnrHead, KnnHead
from ..errors import EngineError
from ..head import Head
from .distance_map import HostDistanceMap
from .grnr import HostGrnr
from .knn import HostKnn

HEADS: dict[type, Callable[[Any, Any, Any, Kernels], Head]] = {
    GrnrHead: HostGrnr,
    KnnHead: HostKnn,
    DistanceMapHead: HostDistanceMap,
}
"""Head's parameters -> the head that runs them on the CPU, with the kernels it is given."""


def host_kernels(form: Form | None = None, threads: int = 1) -> Kernels:
    """The CPU's kernels; None: native where it was compiled, else the reference.

    Raises:
        EngineError: native is asked for and there is none here, with the reason.
    """
    try:
        return open_kernels(form, threads)
    except ValueError as error:
        raise EngineError(f"head native: {error}; or take head reference") from None


def open_head(bundle: Bundle, kernels: Kernels) -> Head:
    """The head of a bundle on the CPU."""
    part = bundle.manifest.head
    return HEADS[type(part)](part, bundle.arrays(), bundle.manifest.network.outputs, kernels)
