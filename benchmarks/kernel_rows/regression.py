"""Rows of the ridge solves: many small systems at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.contest import Call, Entrant, Row
from kernels import native, reference
from kernels.arrays import F32

from .compare import relative_map
from .ours import native_call
from .threads import one_thread_torch

RIDGE = 1e-5
"""Of the mean diagonal of each Gram matrix."""


@dataclass(frozen=True)
class Systems:
    """Each row of `wanted` to be rebuilt from its own `basis`."""

    basis: F32
    """(n, k, D)"""
    wanted: F32
    """(n, D)"""


def _free() -> Systems:
    draw = np.random.default_rng(3)
    basis = draw.normal(0, 1, (4096, 32, 512)).astype(np.float32)
    return Systems(basis, draw.normal(0, 1, (4096, 512)).astype(np.float32))


def _numpy(given: Systems) -> Call:
    diagonal = np.arange(given.basis.shape[1])

    def call() -> Any:
        gram = given.basis @ given.basis.transpose(0, 2, 1)
        gram[:, diagonal, diagonal] += RIDGE * np.einsum("nii->n", gram)[:, None] / len(diagonal)
        weights = np.linalg.solve(gram, given.basis @ given.wanted[:, :, None])
        return np.linalg.norm(given.wanted - (weights.transpose(0, 2, 1) @ given.basis)[:, 0], axis=1)

    return call


def _torch(given: Systems) -> Call:
    torch = one_thread_torch()
    basis, wanted = torch.from_numpy(given.basis), torch.from_numpy(given.wanted)

    def call() -> Any:
        gram = torch.bmm(basis, basis.transpose(1, 2))
        diagonal = gram.diagonal(dim1=1, dim2=2)
        diagonal += RIDGE * diagonal.mean(1, keepdim=True)
        right = torch.bmm(basis, wanted[:, :, None])
        weights = torch.cholesky_solve(right, torch.linalg.cholesky(gram))
        return (wanted - torch.bmm(weights.transpose(1, 2), basis)[:, 0]).norm(dim=1).numpy()

    return call


def _error(rows: Any, wanted: Any, cell: Any) -> Any:
    """|cell - y rows| for the weights y that rebuild `wanted` from the rows; written for numba."""
    k = len(rows)
    gram = rows @ rows.T
    right = rows @ wanted
    ridge = np.float32(RIDGE) * np.trace(gram) / np.float32(k)
    for i in range(k):
        gram[i, i] += ridge
    for j in range(k):
        for i in range(j):
            for m in range(j, k):
                gram[m, j] -= gram[m, i] * gram[j, i]
        root = np.sqrt(gram[j, j])
        for m in range(j, k):
            gram[m, j] /= root
    for j in range(k):
        for i in range(j):
            right[j] -= gram[j, i] * right[i]
        right[j] /= gram[j, j]
    for j in range(k - 1, -1, -1):
        for i in range(j + 1, k):
            right[j] -= gram[i, j] * right[i]
        right[j] /= gram[j, j]
    rest = cell - right @ rows
    return np.sqrt(rest @ rest)


def _numba(given: Systems) -> Call:
    import numba

    error = numba.njit(fastmath=True)(_error)

    def solve(basis: Any, wanted: Any, out: Any) -> None:
        for p in range(len(basis)):
            out[p] = error(basis[p], wanted[p], wanted[p])

    compiled = numba.njit(fastmath=True)(solve)
    out = np.empty(len(given.basis), np.float32)

    def call() -> Any:
        compiled(given.basis, given.wanted, out)
        return out

    return call


@dataclass(frozen=True)
class Window:
    """A feature grid whose inner cells are rebuilt from their 8 neighbours."""

    features: F32
    target: F32
    blend: float = 200 / 201


def _window() -> Window:
    draw = np.random.default_rng(5)
    features = draw.normal(0, 1, (66, 66, 512)).astype(np.float32)
    return Window(features, features.reshape(-1, 512)[:40].mean(axis=0))


def _window_reference(given: Window) -> Call:
    return lambda: reference.neighbour_regression(given.features, given.target, given.blend, RIDGE)


def _window_native(given: Window) -> Call:
    return native_call(lambda: native.neighbour_regression(given.features, given.target, given.blend, RIDGE))


def _gathered(given: Window, module: Any, features: Any) -> Any:
    """(n, 8, C) neighbours of every inner cell, in raster order."""
    h, w, channels = features.shape
    steps = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    parts = [features[y : h - 2 + y, x : w - 2 + x].reshape(-1, channels) for y, x in steps]
    return module.stack(parts, 1)


def _window_numpy(given: Window) -> Call:
    inner = given.features[1:-1, 1:-1].reshape(-1, given.features.shape[2])
    wanted = (1 - given.blend) * inner + given.blend * given.target

    def call() -> Any:
        basis = _gathered(given, np, given.features)
        gram = basis @ basis.transpose(0, 2, 1)
        mean = np.einsum("nii->n", gram) / 8
        gram += (RIDGE * mean)[:, None, None] * np.eye(8, dtype=np.float32)
        weights = np.linalg.solve(gram, basis @ wanted[:, :, None])
        rest = inner - (weights.transpose(0, 2, 1) @ basis)[:, 0]
        return np.sqrt(np.einsum("nc,nc->n", rest, rest))

    return call


def _window_torch(given: Window) -> Call:
    torch = one_thread_torch()
    features = torch.from_numpy(given.features)
    inner = features[1:-1, 1:-1].reshape(-1, features.shape[2])
    wanted = (1 - given.blend) * inner + given.blend * torch.from_numpy(given.target)

    def call() -> Any:
        basis = _gathered(given, torch, features)
        gram = torch.bmm(basis, basis.transpose(1, 2))
        diagonal = gram.diagonal(dim1=1, dim2=2)
        diagonal += RIDGE * diagonal.mean(1, keepdim=True)
        right = torch.bmm(basis, wanted[:, :, None])
        weights = torch.cholesky_solve(right, torch.linalg.cholesky(gram))
        return (inner - torch.bmm(weights.transpose(1, 2), basis)[:, 0]).norm(dim=1).numpy()

    return call


def _window_numba(given: Window) -> Call:
    import numba

    error = numba.njit(fastmath=True)(_error)

    def solve(features: Any, pull: Any, own: Any, out: Any) -> None:
        h, w, channels = features.shape
        rows = np.empty((8, channels), np.float32)
        for y in range(1, h - 1):
            for x in range(1, w - 1):
                for i in range(9):
                    if i != 4:
                        rows[i - (i > 4)] = features[y - 1 + i // 3, x - 1 + i % 3]
                cell = features[y, x]
                out[y - 1, x - 1] = error(rows, own * cell + pull, cell)

    compiled = numba.njit(fastmath=True)(solve)
    h, w, _ = given.features.shape
    out = np.empty((h - 2, w - 2), np.float32)
    pull, own = np.float32(given.blend) * given.target, np.float32(1 - given.blend)

    def call() -> Any:
        compiled(given.features, pull, own, out)
        return out

    return call


def _products_alone(given: Systems) -> Call:
    """As many products as half of every Gram matrix takes, in the shape that suits BLAS best: a square."""
    n, k, channels = given.basis.shape
    side = round((n * k * (k / 2) * channels) ** (1 / 3))
    square = np.random.default_rng(7).normal(0, 1, (side, side)).astype(np.float32)
    out = np.empty_like(square)
    return lambda: np.matmul(square, square, out=out)


ROWS = [
    Row(
        work="ridge: 4096 free systems, k=32, D=512",
        target=">= 12 x numpy, >= 4 x numba",
        make=_free,
        entrants=(
            Entrant("numpy", "peer", _numpy, "batched matmul and linalg.solve"),
            Entrant("torch", "peer", _torch, "bmm and Cholesky"),
            Entrant("numba", "peer", _numba, "one loop over the systems, BLAS for the Gram matrix, fastmath"),
            Entrant(
                "sgemm", "limit", _products_alone, "the products of half the Gram matrices, as one square"
            ),
        ),
        compare=relative_map,
        right=lambda given: _numpy(given)(),
        note="Peers only: no head has free neighbours, so there is no kernel of ours for this; the next "
        "row is what the GRNR head solves.",
    ),
    Row(
        work="ridge: 4096 cells, their 8 neighbours, D=512 (neighbour_regression)",
        target=">= 12 x numpy, >= 4 x numba, as for free systems",
        make=_window,
        entrants=(
            Entrant("native", "native", _window_native),
            Entrant("reference", "reference", _window_reference),
            Entrant("numpy", "peer", _window_numpy, "neighbours gathered, batched matmul and linalg.solve"),
            Entrant("torch", "peer", _window_torch, "neighbours gathered, bmm and Cholesky"),
            Entrant("numba", "peer", _window_numba, "one loop over the cells, BLAS for the Gram matrix"),
        ),
        compare=relative_map,
    ),
]
