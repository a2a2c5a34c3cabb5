"""What turns feature maps into map and score: a table from the manifest's head to the class behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels import Form, Kernels, open_kernels
from kernels.device import Device, DeviceError, open_device

from ..bundle import Bundle, DistanceMapHead, GrnrHead, KnnHead
from ..errors import EngineError
from ..head import Head, HeadForm
from .cuda_grnr import CudaGrnr
from .distance_map import HostDistanceMap
from .grnr import HostGrnr
from .knn import HostKnn

HEADS: dict[type, Callable[[Any, Any, Any, Kernels], Head]] = {
    GrnrHead: HostGrnr,
    KnnHead: HostKnn,
    DistanceMapHead: HostDistanceMap,
}
"""Head's parameters -> the head that runs them on the CPU, with the kernels it is given."""

CUDA_HEADS: dict[type, Callable[[Any, Any, Any, Device], Head]] = {GrnrHead: CudaGrnr}
"""Head's parameters -> the head that runs them on a GPU."""


def host_kernels(form: HeadForm | None = None, threads: int = 1) -> Kernels:
    """The CPU's kernels; None, and cuda, which has preprocessing there: native where it was compiled.

    Raises:
        EngineError: native is asked for and there is none here, with the reason.
    """
    try:
        host: Form | None = None if form == "cuda" else form
        return open_kernels(host, threads)
    except ValueError as error:
        raise EngineError(f"head native: {error}; or take head reference") from None


def head_name(form: HeadForm | None) -> HeadForm:
    """What serves when a form, or none, is asked for."""
    return "cuda" if form == "cuda" else host_kernels(form).form


def open_gpu() -> Device:
    """The GPU for head cuda.

    Raises:
        EngineError: there is none, or what drives it is not installed.
    """
    try:
        return open_device()
    except DeviceError as error:
        raise EngineError(f"head cuda: {error}") from None


def open_head(bundle: Bundle, kernels: Kernels, device: Device | None = None) -> Head:
    """The head of a bundle, on the GPU where one is given, else on the CPU.

    Raises:
        BundleError: its arrays do not fit.
        EngineError: it cannot run on a GPU.
    """
    part = bundle.manifest.head
    given = (part, bundle.arrays(), bundle.manifest.network.outputs)
    if device is None:
        return HEADS[type(part)](*given, kernels)
    if type(part) not in CUDA_HEADS:
        raise EngineError(f"head cuda: not for the bundle's head {type(part).__name__}; take head native")
    return CUDA_HEADS[type(part)](*given, device)
