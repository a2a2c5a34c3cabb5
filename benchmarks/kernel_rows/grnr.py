"""Rows of the whole GRNR head: feature maps to the anomaly map and its score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.contest import Call, Entrant, Row
from kernels import Kernels, open_kernels
from kernels.arrays import F32, Floats
from kernels.matrices import finish_matrix

from .compare import relative_map
from .ours import native_call
from .threads import one_thread_torch

SHAPES = ((40, 512, 3), (20, 1024, 2))
"""Cells per side, channels and ring of layer2 and layer3 of a WideResNet-50 at 320 px."""
SIDE, SIGMA, CROP = 320, 3.0, 32
COUNT, LAMBDA = 40, 5.0
BLEND = LAMBDA * COUNT / (1 + LAMBDA * COUNT)


@dataclass(frozen=True)
class Scales:
    """Feature maps as the network gives them, channels last."""

    features: list[F32]
    matrices: list[F32]


def _make() -> Scales:
    draw = np.random.default_rng(6)
    features = []
    for n, channels, _ in SHAPES:
        # Patches of a texture: positive, correlated with their neighbours, as after a ReLU.
        coarse = draw.gamma(2.0, 0.5, (n // 4, n // 4, channels)).repeat(4, 0).repeat(4, 1)
        features.append(np.maximum(0, coarse + draw.normal(0, 0.3, (n, n, channels))).astype(np.float32))
    return Scales(features, [finish_matrix(n, SIDE, SIDE - 2 * CROP, SIGMA, CROP) for n, _, _ in SHAPES])


def _head(given: Scales, features: list[Floats], kernels: Kernels) -> Any:
    maps = []
    for (n, _, ring), feature in zip(SHAPES, features, strict=True):
        pooled, _, _ = kernels.pool_norm(feature)
        flat = pooled.reshape(n * n, -1)
        _, target = kernels.select_global(flat, kernels.distance_rowsum(flat), COUNT)
        errors = kernels.neighbour_regression(pooled, target, BLEND)
        maps.append(kernels.fill_border(errors, (n, n), ring, "min"))
    return kernels.finish_map(maps, given.matrices, given.matrices)


def _reference(given: Scales) -> Call:
    kernels = open_kernels("reference")
    return lambda: _head(given, list(given.features), kernels)


def _native(given: Scales) -> Call:
    kernels = open_kernels()
    return native_call(lambda: _head(given, list(given.features), kernels))


def _oracle(given: Scales) -> Any:
    """The same head on float64 features."""
    return _head(given, [feature.astype(np.float64) for feature in given.features], open_kernels("reference"))


def _published(given: Scales) -> Call:
    """The published procedure step by step, from its formulas: every neighbour and global vector in full."""
    torch = one_thread_torch()
    from scipy.ndimage import gaussian_filter

    features = [torch.from_numpy(f).permute(2, 0, 1)[None].contiguous() for f in given.features]

    def scale(feature: Any, ring: int) -> Any:
        pooled = torch.nn.functional.avg_pool2d(feature, 3, 1, 1)
        _, channels, height, width = pooled.shape
        cells = pooled[0].reshape(channels, -1).T.contiguous()
        distances = torch.cdist(cells, cells)
        typical = cells[distances.mean(1).topk(COUNT, largest=False).indices]
        padded = np.pad(pooled[0].numpy(), ((0, 0), (1, 1), (1, 1)), mode="reflect")
        steps = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
        shifted = [padded[:, y : y + height, x : x + width].reshape(channels, -1) for y, x in steps]
        basis = torch.from_numpy(np.stack(shifted).transpose(2, 0, 1).copy())
        pulls = typical[None].repeat(len(cells), 1, 1)
        transposed = basis.transpose(1, 2)
        right = torch.bmm(cells[:, None], transposed)
        for j in range(COUNT):
            right = right + LAMBDA * torch.bmm(pulls[:, j : j + 1], transposed)
        gram = (1 + LAMBDA * COUNT) * torch.bmm(basis, transposed)
        # The ridge stands for the published code's noise: edge cells repeat their neighbours.
        gram.diagonal(dim1=1, dim2=2).mul_(1 + 1e-5)
        weights = torch.bmm(right, torch.linalg.inv(gram))
        errors = (cells - torch.bmm(weights, basis)[:, 0]).norm(dim=1).reshape(height, width)
        filled = torch.full_like(errors, float(errors.min()))
        filled[ring:-ring, ring:-ring] = errors[ring:-ring, ring:-ring]
        large = torch.nn.functional.interpolate(filled[None, None], (SIDE, SIDE), mode="bilinear")
        return gaussian_filter(large[0, 0].numpy(), SIGMA)[CROP:-CROP, CROP:-CROP]

    def call() -> Any:
        rings = [ring for _, _, ring in SHAPES]
        maps = [scale(feature, ring) for feature, ring in zip(features, rings, strict=True)]
        fused = maps[0] * maps[1]
        return fused, float(fused.max())

    return call


def _simplified(given: Scales) -> Call:
    """Our algebra in torch: one mean vector, Cholesky, matrices for all that follows."""
    torch = one_thread_torch()
    features = [torch.from_numpy(f).permute(2, 0, 1)[None] for f in given.features]
    matrices = [torch.from_numpy(m) for m in given.matrices]

    def scale(feature: Any, ring: int) -> Any:
        pooled = torch.nn.functional.avg_pool2d(feature, 3, 1, 1)[0].permute(1, 2, 0)
        height, width, channels = pooled.shape
        cells = pooled.reshape(-1, channels)
        indices = torch.cdist(cells, cells).sum(1).topk(COUNT, largest=False).indices
        inner = pooled[1:-1, 1:-1].reshape(-1, channels)
        wanted = (1 - BLEND) * inner + BLEND * cells[indices].mean(0)
        steps = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
        parts = [pooled[y : height - 2 + y, x : width - 2 + x].reshape(-1, channels) for y, x in steps]
        basis = torch.stack(parts, 1)
        gram = torch.bmm(basis, basis.transpose(1, 2))
        diagonal = gram.diagonal(dim1=1, dim2=2)
        diagonal += 1e-5 * diagonal.mean(1, keepdim=True)
        right = torch.bmm(basis, wanted[:, :, None])
        weights = torch.cholesky_solve(right, torch.linalg.cholesky(gram))
        errors = (inner - torch.bmm(weights.transpose(1, 2), basis)[:, 0]).norm(dim=1)
        errors = errors.reshape(height - 2, width - 2)
        filled = torch.full((height, width), float(errors.min()))
        cut = ring - 1
        filled[ring:-ring, ring:-ring] = errors[cut:-cut, cut:-cut]
        return filled

    def call() -> Any:
        maps = [
            m @ scale(feature, ring) @ m.T
            for feature, m, (_, _, ring) in zip(features, matrices, SHAPES, strict=True)
        ]
        fused = maps[0] * maps[1]
        return fused.numpy(), float(fused.max())

    return call


ROWS = [
    Row(
        work="GRNR head: 320 px, 40^2x512 + 20^2x1024 -> 256^2",
        target=">= 10 x the published procedure with AVX2, >= 30 x with AMX; map within 1e-3 of float64",
        make=_make,
        entrants=(
            Entrant("native", "native", _native),
            Entrant("reference", "reference", _reference),
            Entrant("published, torch", "peer", _published, "from its formulas, cdist, 40 products"),
            Entrant("our algebra, torch", "peer", _simplified, "one mean vector, Cholesky, matrices"),
        ),
        compare=relative_map,
        right=_oracle,
        note="The published procedure takes its minimum over edge cells too, which our ring leaves out.",
    ),
]
