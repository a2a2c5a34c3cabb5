"""How `knn_distance.cu` is launched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .launch import Launch, blocks
from .pairs import centre_bytes, paired

MOST_NEIGHBOURS = 64
"""Largest k: a list of candidates stands in the registers of a warp."""

_SPARE = 4
"""Candidates beyond k that are measured again, where distances are wanted."""
_NARROW, _WIDE = 64, 128
"""Rows of a tile, on either side."""
_FULL = 264
"""Blocks that keep a large GPU busy: two for each of 132 multiprocessors."""
_WIDE_SHARED, _MOST_SHARED = 45312, 48 << 10
"""Shared memory of a block of wide tiles before the centre, and what any GPU gives a block, bytes."""


@dataclass(frozen=True)
class KnnScale:
    """One scale of an image on the GPU: queries, and the rows among which their neighbours are."""

    features: Any
    """(.., C) FP16."""
    indices: Any
    """(n, k) int32, written: rows of [the features' rows `own`, then `bank`]; -1 where there are no k."""
    n: int
    channels: int
    k: int
    cells: Any = None
    """(n,) int32: rows of features that are the queries; None: the first n."""
    own: Any = None
    """(own_count,) int32: rows of features that are neighbours."""
    own_count: int = 0
    bank: Any = None
    """(bank_count, C) FP16."""
    bank_count: int = 0
    exclude: Any = None
    """(n,) int32: the row that a query may not find, or -1."""
    centre: Any = None
    """(C,) FP32 near the middle of the rows; None: 0, for rows that are about it already."""
    distances: Any = None
    """(n, k) FP32, written: ascending; None: only the indices are wanted, in the order of their scores."""
    list_scores: Any = None
    """Scratch: FP32 numbers, see `knn_scratch`."""
    list_rows: Any = None
    """Scratch: as many 32-bit integers."""
    counters: Any = None
    """Scratch: 32-bit integers, 0 before the first launch, and again after each."""

    @property
    def rows(self) -> int:
        """M, all rows that a query is compared with."""
        return self.own_count + self.bank_count

    @property
    def keep(self) -> int:
        """Length of the lists."""
        spare = _SPARE if self.distances is not None else 0
        return min(self.k + spare, MOST_NEIGHBOURS, self.rows)

    @property
    def slots(self) -> int:
        """Room of a list, for whole warps."""
        return 32 * blocks(self.keep, 32)


def knn_scratch(*scales: KnnScale, wide: bool | None = None) -> list[tuple[int, int]]:
    """Per scale the numbers in each of `list_scores` and `list_rows`, and the counters; `wide` as there."""
    tile, splits = _plan(scales, wide)
    return [(scale.n * splits * scale.slots, blocks(scale.n, tile)) for scale in scales]


def knn_distance(*scales: KnnScale, wide: bool | None = None) -> Launch:
    """As `kernels.knn_distance`, for one or two scales of an image at once.

    Args:
        wide: tiles of 128 instead of 64 rows; None: as the sizes suggest. Results do not depend on it.

    Raises:
        ValueError: k outside 1..M (M - 1 where a row may be excluded), or above MOST_NEIGHBOURS.
    """
    for s in scales:
        most = min(s.rows - (s.exclude is not None), MOST_NEIGHBOURS)
        if not 1 <= s.k <= most:
            raise ValueError(f"knn_distance: k is {s.k}, expected 1..{most} for {s.rows} rows")
    tile, splits = _plan(scales, wide)
    args = paired([_arguments(scale) for scale in scales])
    grid = (max(blocks(scale.n, tile) for scale in scales), splits, len(scales))
    shared = max(centre_bytes(scale.channels) for scale in scales)
    entry, threads = ("knn_distance_wide", 256) if tile == _WIDE else ("knn_distance", 128)
    return Launch("knn_distance", entry, grid, (threads, 1, 1), args, shared)


def _plan(scales: tuple[KnnScale, ...], wide: bool | None) -> tuple[int, int]:
    """Rows of a tile, and blocks that share the rows: small tiles while large ones would leave a GPU idle."""
    pairs = max(blocks(scale.n, _WIDE) * blocks(scale.rows, _WIDE) for scale in scales)
    fits = max(centre_bytes(scale.channels) for scale in scales) <= _MOST_SHARED - _WIDE_SHARED
    tile = _WIDE if fits and (pairs >= _FULL if wide is None else wide) else _NARROW
    queries = sum(blocks(scale.n, tile) for scale in scales)
    return tile, max(1, min(max(blocks(scale.rows, tile) for scale in scales), _FULL // queries))


def _arguments(s: KnnScale) -> tuple[Any, ...]:
    given = (s.features, s.cells, s.own, s.bank, s.exclude, s.centre)
    memory = (s.distances, s.indices, s.list_scores, s.list_rows, s.counters)
    return (*given, *memory, s.n, s.rows, s.channels, s.own_count, s.k, s.keep, s.slots)
