"""Rows of `knn_distance`: the image against itself, and against a bank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.contest import Absent, Call, Entrant, Row
from kernels import native, reference
from kernels.arrays import F32

from .compare import recall
from .threads import one_thread_torch

CENTRES = 64
"""Patches of real images lie in clusters; plain noise would make all distances equal."""


@dataclass(frozen=True)
class Search:
    """What is searched for what."""

    queries: F32
    bank: F32
    k: int


def _clustered(draw: np.random.Generator, n: int, channels: int) -> F32:
    centres = draw.normal(0, 1, (CENTRES, channels))
    rows = centres[draw.integers(0, CENTRES, n)] + draw.normal(0, 0.5, (n, channels))
    return np.asarray(rows, np.float32)


def _itself(n: int, channels: int) -> Search:
    rows = _clustered(np.random.default_rng(1), n, channels)
    return Search(rows, rows, 32)


def _bank() -> Search:
    rows = _clustered(np.random.default_rng(2), 103_424, 384)
    return Search(rows[:1024], np.ascontiguousarray(rows[1024:]), 1)


def _reference(given: Search) -> Call:
    return lambda: reference.knn_distance(given.queries, given.bank, given.k)


def _native(scan: native.Scan) -> Callable[[Search], Call]:
    """Packed within the call where the bank is the image, before it where it stays the same."""

    def entrant(given: Search) -> Call:
        if native.library().functions is None:
            raise Absent(native.library().reason)
        if scan not in native.scans():
            raise Absent(f"no {scan} products in {native.library()} here")
        out = (
            np.empty((len(given.queries), given.k), np.float32),
            np.empty((len(given.queries), given.k), np.int64),
        )
        if given.queries is given.bank:
            return lambda: native.knn_distance(given.bank, native.Bank(given.bank, scan), given.k, out=out)
        packed = native.Bank(given.bank, scan)
        return lambda: native.knn_distance(given.queries, packed, given.k, out=out)

    return entrant


def _faiss(given: Search) -> Call:
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatL2(given.bank.shape[1])
    index.add(given.bank)

    def call() -> Any:
        squares, indices = index.search(given.queries, given.k)
        return np.sqrt(squares), indices

    return call


def _torch(given: Search) -> Call:
    torch = one_thread_torch()
    queries, bank = torch.from_numpy(given.queries), torch.from_numpy(given.bank)
    # Ranks need |b|^2 - 2 q b alone; of the survivors alone the distance.
    half = (bank * bank).sum(1) / 2
    own = (queries * queries).sum(1, keepdim=True)

    def call() -> Any:
        score, indices = torch.topk(queries @ bank.T - half, given.k, dim=1)
        return (own - 2 * score).clamp(min=0).sqrt().numpy(), indices.numpy()

    return call


def _torch_half(given: Search) -> Call:
    torch = one_thread_torch()
    bank = torch.from_numpy(given.bank).bfloat16()
    half = (torch.from_numpy(given.bank).square().sum(1) / 2).bfloat16()
    own = torch.from_numpy(given.queries).square().sum(1, keepdim=True)

    def call() -> Any:
        score, indices = torch.topk(
            torch.from_numpy(given.queries).bfloat16() @ bank.T - half, given.k, dim=1
        )
        return (own - 2 * score.float()).clamp(min=0).sqrt().numpy(), indices.numpy()

    return call


def _sklearn(given: Search) -> Call:
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=given.k, algorithm="brute", n_jobs=1).fit(given.bank)
    return lambda: index.kneighbors(given.queries)


def _gemm_numpy(given: Search) -> Call:
    out = np.empty((len(given.queries), len(given.bank)), np.float32)
    return lambda: np.matmul(given.queries, given.bank.T, out=out)


def _gemm_torch(given: Search) -> Call:
    torch = one_thread_torch()
    queries, bank = torch.from_numpy(given.queries), torch.from_numpy(given.bank)
    out = torch.empty(len(queries), len(bank))
    return lambda: torch.mm(queries, bank.T, out=out)


def _gemm_half(given: Search) -> Call:
    torch = one_thread_torch()
    queries, bank = (torch.from_numpy(rows).bfloat16() for rows in (given.queries, given.bank))
    out = torch.empty(len(queries), len(bank), dtype=torch.bfloat16)
    return lambda: torch.mm(queries, bank.T, out=out)


_FULL = Entrant("native", "native", _native("float32"), "exact: bounds of all, the nearest measured")
_HALF = Entrant("native, bf16 scan", "native", _native("bfloat16"), "the same result, bounds in AVX512-BF16")
_PEERS = (
    Entrant("faiss-cpu", "peer", _faiss, "IndexFlatL2"),
    Entrant("torch", "peer", _torch, "mm, norms folded in, topk"),
    Entrant("scikit-learn", "peer", _sklearn, "brute, float32, its fused argkmin"),
)
_PEERS_HALF = (
    Entrant("faiss-cpu", "peer", _faiss, "IndexFlatL2, float32"),
    Entrant("torch, bf16", "peer", _torch_half, "mm in bfloat16, norms folded in, topk"),
)
_LIMITS = (
    Entrant("GEMM, numpy", "limit", _gemm_numpy, "OpenBLAS, all products written out"),
    Entrant("GEMM, torch", "limit", _gemm_torch, "MKL, all products written out"),
)
_LIMIT_HALF = Entrant(
    "GEMM, torch, bf16", "limit", _gemm_half, "oneDNN, all products written out in bfloat16"
)
_REFERENCE = Entrant("reference", "reference", _reference)


def _self(n: int, channels: int, target: str) -> Row:
    return Row(
        work=f"kNN self, FP32: {n}x{channels}, k=32",
        target=target,
        make=lambda: _itself(n, channels),
        entrants=(_FULL, _REFERENCE, *_PEERS, *_LIMITS),
        compare=recall,
        note="An image among itself: packed within the call, half of the products.",
    )


def _self_half(n: int, channels: int, target: str) -> Row:
    return Row(
        work=f"kNN self, bf16 scan: {n}x{channels}, k=32",
        target=target,
        make=lambda: _itself(n, channels),
        entrants=(_HALF, _FULL, *_PEERS_HALF, _LIMIT_HALF),
        compare=recall,
        right=lambda given: _reference(given)(),
        note="The result is exact. AVX512-BF16 is taken where the CPU has it; there is no code for AMX.",
    )


ROWS = [
    _self(4096, 128, "<= 1.25 x MKL's GEMM, >= 2 x faiss"),
    _self(4096, 512, "<= 1.15 x MKL's GEMM, >= 1.3 x faiss"),
    _self_half(4096, 128, "<= 1.3 x oneDNN's GEMM; with AMX, exact, >= 4 x faiss"),
    _self_half(4096, 512, "<= 1.3 x oneDNN's GEMM; with AMX, exact, >= 3 x faiss"),
    _self_half(16384, 128, "<= 1.3 x oneDNN's GEMM"),
    Row(
        work="kNN bank: 102400x384, 1024 queries, k=1",
        target="with AMX >= 8 x faiss, >= 5 x the best peer",
        make=_bank,
        entrants=(_HALF, _FULL, *_PEERS_HALF, _PEERS[1], _LIMITS[1], _LIMIT_HALF),
        compare=recall,
        right=lambda given: _reference(given)(),
        note="Ours is exact, its bank packed before. There is no code for AMX.",
    ),
]
