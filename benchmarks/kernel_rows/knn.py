"""Rows of `knn_distance`: the image against itself, and against a bank."""

from __future__ import annotations

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


def _native(given: Search) -> Call:
    if native.library().functions is None:
        raise Absent(native.library().reason)
    return lambda: native.knn_distance(given.queries, given.bank, given.k)


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


_ENTRANTS = (
    Entrant("native", "native", _native, "distances exact, k + 4 measured again"),
    Entrant("reference", "reference", _reference),
    Entrant("faiss-cpu", "peer", _faiss, "IndexFlatL2"),
    Entrant("torch", "peer", _torch, "mm, norms folded in, topk"),
    Entrant("scikit-learn", "peer", _sklearn, "brute, float32, its fused argkmin"),
    Entrant("GEMM, numpy", "limit", _gemm_numpy, "OpenBLAS, all products written out"),
    Entrant("GEMM, torch", "limit", _gemm_torch, "MKL, all products written out"),
)

ROWS = [
    Row(
        work="kNN self, FP32: 4096x128, k=32",
        target="<= 1.25 x MKL's GEMM, >= 2 x faiss",
        make=lambda: _itself(4096, 128),
        entrants=_ENTRANTS,
        compare=recall,
    ),
    Row(
        work="kNN self, FP32: 4096x512, k=32",
        target="<= 1.15 x MKL's GEMM, >= 1.3 x faiss",
        make=lambda: _itself(4096, 512),
        entrants=_ENTRANTS,
        compare=recall,
    ),
    Row(
        work="kNN bank: 102400x384, 1024 queries, k=1",
        target="with AMX >= 8 x faiss, >= 5 x the best peer",
        make=_bank,
        entrants=_ENTRANTS,
        compare=recall,
        note="FP32 throughout.",
    ),
]
