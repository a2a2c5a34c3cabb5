"""Nearest neighbours, compiled."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .. import reference
from ..arrays import F32, Indices
from .library import Call, Kernel, aligned, checked, fitting, library, scratch

MOST_NEIGHBOURS = 64
"""Largest k that is compiled: lists of candidates must stay short."""

Scan = Literal["float32", "bfloat16"]

_PAIRED = Call("knn_bank_paired", "")
_BANK_SIZE = Call("knn_bank_size", "nnn")
_BANK = Kernel("knn_bank", "ppnnn", 1)
_KNN_DISTANCE = Kernel("knn_distance", "ppppppnnnnnn", 6)


def scans() -> tuple[Scan, ...]:
    """What banks can be scanned in on this machine, the fastest first.

    bfloat16 needs AVX512-BF16 (Zen 4, Cooper Lake, Sapphire Rapids); AMX has no code here.
    """
    return ("bfloat16", "float32") if _PAIRED() else ("float32",)


class Bank:
    """Rows packed once, to be searched many times by `knn_distance`, which takes them as it takes rows."""

    def __init__(self, rows: F32, scan: Scan | None = None, threads: int = 1) -> None:
        """Keeps the rows, (M, C) float32, which must not change afterwards, beside a packed copy.

        Args:
            scan: precision of the first look at all rows; the results are the same to the bit, and "bfloat16"
                takes about half the time and memory. None: the fastest of `scans`.

        Raises:
            ValueError: not float32 with two axes, or this machine cannot scan so (see `scans`).
        """
        self.rows = checked("knn_distance", "bank", rows, 2)
        self.scan = scan or scans()[0]
        if self.scan not in scans():
            raise ValueError(f"knn_distance: scan is {scan!r}, expected one of {scans()} on this machine")
        self.library = library().name
        self._memory = aligned(_size(self.rows, self.scan))
        self.packed = _pack(self.rows, self.scan, self._memory.ctypes.data, threads)


def _size(rows: F32, scan: Scan) -> int:
    size = _BANK_SIZE(*rows.shape, scan == "bfloat16")
    if size < 0:
        raise ValueError(f"knn_distance: a bank of shape {rows.shape} is not possible")
    return size


def _pack(rows: F32, scan: Scan, address: int, threads: int) -> int:
    """The address, where the packed rows are now."""
    m, channels = rows.shape
    _BANK((channels,), rows, address, m, channels, scan == "bfloat16", threads=threads)
    return address


def knn_distance(
    queries: F32,
    bank: F32 | Bank,
    k: int,
    exclude: Indices | None = None,
    out: tuple[F32, Indices] | None = None,
    threads: int = 1,
) -> tuple[F32, Indices]:
    """As in `reference`, float32 only; N x M distances are never stored; above k = 64 the reference serves.

    The result is that of measuring every bank row: distances are sums of squared differences, exact to about
    1e-6 of themselves, 0 for equal rows, at any scale of the features; their order is exact, ties by index,
    whatever the bank is scanned in and for any number of threads. Scores of all rows, with every rounding
    bounded, exclude most of them; the others are measured. Where bounds exclude too few, as in a bank full of
    ties, all are measured, which takes a few times as long. Differences below 1e-18 of the bank's largest
    value count as none. A bank with a value that is not finite gives NaN for all queries, a query with NaN
    for itself.

    An array is packed for this call, a `Bank` was before. Queries that are the bank's own rows, the same
    object, take half the time.
    """
    queries = checked("knn_distance", "queries", queries, 2)
    rows = bank.rows if isinstance(bank, Bank) else checked("knn_distance", "bank", bank, 2)
    reference.check_knn(queries, rows, k, exclude)
    if k > MOST_NEIGHBOURS:
        return reference.knn_distance(queries, rows, k, exclude, out)
    if isinstance(bank, Bank):
        if bank.library != library().name:
            raise ValueError("knn_distance: the bank was packed for another instruction set")
        scan, packed = bank.scan, bank.packed
    else:
        scan = "float32"
        packed = _pack(rows, scan, scratch(_size(rows, scan), "bank"), threads)
    own = None if exclude is None else np.ascontiguousarray(exclude, np.int64)
    distances, indices = _results((len(queries), k), out)
    sizes = (len(queries), *rows.shape, k, scan == "bfloat16", queries is rows)
    _KNN_DISTANCE(sizes, queries, rows, packed, own, distances, indices, *sizes, threads=threads)
    return distances, indices


def _results(shape: tuple[int, int], out: tuple[F32, Indices] | None) -> tuple[F32, Indices]:
    if out is None:
        return np.empty(shape, np.float32), np.empty(shape, np.int64)
    return fitting("knn_distance", out[0], shape, np.float32), fitting(
        "knn_distance", out[1], shape, np.int64
    )
