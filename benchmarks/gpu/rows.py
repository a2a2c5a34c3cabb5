"""What is timed on a GPU: our launches, what they must read, write and compute, their peers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kernels import finish_matrix, resize_matrix
from kernels.cuda import (
    Bands,
    KnnScale,
    Launch,
    bands,
    distance_map,
    knn_distance,
    knn_scratch,
    normalisation,
    preprocess,
)
from kernels.device import Device
from kernels.workspace import Workspace
from runtime.bundle import GrnrHead
from runtime.heads.cuda_grnr import CudaGrnr
from runtime.network import TensorSpec

from .timing import time_cupy, time_torch

Peer = Callable[[], list[float]]
"""Milliseconds of each run; ImportError where its package is missing."""

DEPTHS, NEIGHBOURS = (128, 512, 1024), (1, 10, 32)
QUERIES, BANK = 4096, 65536
GRIDS = ((1, 40, 40, 512), (1, 20, 20, 1024))
"""Features of a backbone at 320 px, strides 8 and 16."""
PRESETS = {
    "selected": GrnrHead(outputs=("a", "b"), rings=(3, 2), target="selected", fill="min"),
    "nearest": GrnrHead(outputs=("a", "b"), rings=(2, 2), target="nearest", score="mean_top", profile=True),
}


@dataclass(frozen=True)
class Work:
    """One row of the table."""

    name: str
    launches: list[Launch]
    nbytes: float
    """Read and written at the least, each once."""
    operations: float = 0
    """Multiplications and additions on tensor cores."""
    peers: Mapping[str, Peer] = field(default_factory=dict)


def all_work(device: Device) -> Iterator[Work]:
    """Every row, its memory asked for when its turn comes."""
    space = Workspace(device)
    for depth in DEPTHS:
        for k in NEIGHBOURS:
            yield knn(space, QUERIES, BANK, depth, k)
    for name, part in PRESETS.items():
        yield grnr(device, name, part)
    for side, channels in ((256, 1024), (64, 256)):
        yield distances(space, side, channels)
    for shape, size in (((6000, 8000), 320), ((2048, 2448), 320)):
        yield resized(space, shape, size)


def knn(space: Workspace, n: int, m: int, depth: int, k: int) -> Work:
    """Queries against a memory bank, distances wanted."""
    draw = np.random.default_rng(depth)
    queries, bank = (draw.normal(size=(rows, depth)).astype(np.float16) for rows in (n, m))
    scale = KnnScale(
        features=space.constant(queries),
        indices=space.empty((n, k), np.int32),
        n=n,
        channels=depth,
        k=k,
        bank=space.constant(bank),
        bank_count=m,
        distances=space.empty((n, k), np.float32),
    )
    ((numbers, counters),) = knn_scratch(scale)
    scale = replace(
        scale,
        list_scores=space.empty(numbers, np.float32),
        list_rows=space.empty(numbers, np.int32),
        counters=space.counters(counters),
    )
    peers = {
        "torch mm, FP16 (cuBLAS: the product alone)": lambda: _torch_product(queries, bank),
        "torch mm + topk, FP16": lambda: _torch_topk(queries, bank, k),
        "torch cdist + topk, FP32": lambda: _torch_cdist(queries, bank, k),
        "CuPy matmul + argpartition, FP16": lambda: _cupy_topk(queries, bank, k),
    }
    nbytes = 2 * depth * (n + m) + 8 * n * k
    return Work(f"knn {n} x {m}, D={depth}, k={k}", [knn_distance(scale)], nbytes, 2.0 * n * m * depth, peers)


def grnr(device: Device, name: str, part: GrnrHead) -> Work:
    """The GRNR head behind a network in FP16 at 320 px: all launches, without upload and download."""
    arrays = {
        f"{axis}_{i}": finish_matrix(grid[1], 320, 256, 3.0, 32)
        for i, grid in enumerate(GRIDS)
        for axis in ("rows", "columns")
    }
    outputs = [TensorSpec(output, grid) for output, grid in zip(part.outputs, GRIDS, strict=True)]
    head = CudaGrnr(part, arrays, outputs, device)
    draw = np.random.default_rng(0)
    features: Any = {spec.name: np.abs(draw.normal(size=spec.shape)).astype(np.float16) for spec in outputs}
    head.bind(features, np.zeros(head.map_shape, np.float32), np.zeros(1, np.float32), None)
    cells = [(h * w, c) for _, h, w, c in GRIDS]
    operations = sum(float(n) * n * c for n, c in cells) if name == "selected" else 0.0
    nbytes = sum(2 * n * c for n, c in cells) + 4 * 256 * 256
    return Work(f"GRNR head {name}, 320 px, 512 + 1024 channels", head.launches, nbytes, operations)


def distances(space: Workspace, side: int, channels: int) -> Work:
    """Cosine distance of two feature maps."""
    draw = np.random.default_rng(side)
    first, second = (draw.normal(size=(side * side, channels)).astype(np.float16) for _ in range(2))
    out = space.empty(side * side, np.float32)
    launch = distance_map(space.constant(first), space.constant(second), out, side * side, channels, "cosine")
    peers = {"torch cosine_similarity, FP16": lambda: _torch_cosine(first, second)}
    nbytes = 4 * side * side * channels + 4 * side * side
    return Work(f"distance_map {side} x {side} x {channels}, cosine", [launch], nbytes, 0, peers)


def resized(space: Workspace, shape: tuple[int, int], size: int) -> Work:
    """A colour image to the network's input."""
    height, width = shape
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    down, across = (_up(bands(resize_matrix(extent, size)), space) for extent in shape)
    normal = space.constant(normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    out = space.empty((3, size, size), np.float16)
    launch = preprocess(space.constant(image), 3 * width, 3, (0, 0), down, across, normal, out)
    peers = {"torch interpolate, antialias": lambda: _torch_interpolate(image, size)}
    nbytes = image.nbytes + 6 * size * size
    return Work(f"preprocess {width} x {height} to {size} x {size}", [launch], nbytes, 0, peers)


def _up(found: Bands, space: Workspace) -> Bands:
    return replace(found, first=space.constant(found.first), weights=space.constant(found.weights))


def _cuda(*arrays: Any) -> Any:
    import torch

    return (torch.from_numpy(array).cuda() for array in arrays)


def _torch_product(queries: Any, bank: Any) -> list[float]:
    q, b = _cuda(queries, bank)
    return time_torch(lambda: q @ b.T)


def _torch_topk(queries: Any, bank: Any, k: int) -> list[float]:
    q, b = _cuda(queries, bank)
    half = (b.float() ** 2).sum(1).half() / 2
    return time_torch(lambda: (q @ b.T - half).topk(k, dim=1))


def _torch_cdist(queries: Any, bank: Any, k: int) -> list[float]:
    import torch

    q, b = _cuda(queries.astype(np.float32), bank.astype(np.float32))
    return time_torch(lambda: torch.cdist(q, b).topk(k, dim=1, largest=False))


def _cupy_topk(queries: Any, bank: Any, k: int) -> list[float]:
    import cupy

    q, b = cupy.asarray(queries), cupy.asarray(bank)
    half = (b.astype(cupy.float32) ** 2).sum(1) / 2
    return time_cupy(
        lambda: cupy.argpartition(half - (q @ b.T).astype(cupy.float32), k - 1, axis=1)[:, :k], 10
    )


def _torch_cosine(first: Any, second: Any) -> list[float]:
    import torch

    a, b = _cuda(first, second)
    return time_torch(lambda: 1 - torch.nn.functional.cosine_similarity(a, b, dim=1))


def _torch_interpolate(image: Any, size: int) -> list[float]:
    import torch

    (pixels,) = _cuda(image)
    planes = pixels.permute(2, 0, 1)[None]
    resize = torch.nn.functional.interpolate
    return time_torch(lambda: resize(planes.float(), (size, size), mode="bilinear", antialias=True).half())
