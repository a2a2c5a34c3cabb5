"""Neighbours: a bank, the image itself, both; ties, exclusion, long lists, wide tiles, two scales, NaN."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernels import reference
from kernels.cuda import KnnScale, knn_distance, knn_scratch
from tests.kernels.cuda.case import Case, Mutation, Run
from tests.kernels.cuda.host import poisoned


@dataclass(frozen=True)
class Given:
    """Sizes and filling of one scale."""

    n: int
    channels: int
    k: int
    bank: int = 0
    own: int = 0
    how: str = "noise"
    measured: bool = True
    """Whether distances are wanted."""
    wide: bool = False
    """Tiles of 128."""


def scale_of(given: Given) -> KnnScale:
    """Random rows; among `own`, each query that is there is excluded for itself."""
    rng = np.random.default_rng([given.n, given.channels, given.k])
    grid = given.n + 5
    features, bank = rng.normal(size=(grid, given.channels)), rng.normal(size=(given.bank, given.channels))
    if given.how == "ties":
        features, bank = np.round(features), np.round(bank)
    elif given.how == "far":
        features, bank = 200 + features, 200 + bank
    elif given.how == "nan":
        features[grid // 2] = np.nan
    cells = rng.permutation(grid)[: given.n].astype(np.int32)
    own = np.sort(rng.permutation(grid)[: given.own]).astype(np.int32)
    place = {int(cell): row for row, cell in enumerate(own)}
    exclude = np.array([place.get(int(cell), -1) for cell in cells], np.int32)
    # Whole numbers about 0 have exact scores, so that ties are ties.
    centre = np.full(given.channels, {"far": 200, "ties": 0}.get(given.how, 0.1), np.float32)
    return KnnScale(
        features=features.astype(np.float16),
        indices=poisoned((given.n, given.k), np.int32),
        n=given.n,
        channels=given.channels,
        k=given.k,
        cells=cells,
        own=own if given.own else None,
        own_count=given.own,
        bank=bank.astype(np.float16),
        bank_count=given.bank,
        exclude=exclude if given.own else None,
        centre=centre,
        distances=poisoned((given.n, given.k), np.float32) if given.measured else None,
    )


def check(all_given: tuple[Given, ...], run: Run) -> None:
    scales = [scale_of(given) for given in all_given]
    wide = all_given[0].wide
    sizes = knn_scratch(*scales, wide=wide)
    scales = [
        replace(
            scale,
            list_scores=poisoned(numbers, np.float32),
            list_rows=poisoned(numbers, np.int32),
            counters=np.zeros(counters, np.int32),
        )
        for scale, (numbers, counters) in zip(scales, sizes, strict=True)
    ]
    run(knn_distance(*scales, wide=wide))
    for scale in scales:
        assert_right(scale)
        assert not scale.counters.any()


def assert_right(scale: KnnScale) -> None:
    features, bank = scale.features.astype(np.float64), scale.bank.astype(np.float64)
    queries = features[scale.cells]
    rows = bank if scale.own is None else np.concatenate([features[scale.own], bank])
    lost = np.isnan(queries).any(axis=1)
    assert (scale.indices[lost] == -1).all()
    assert ((scale.indices >= -1) & (scale.indices < scale.rows)).all()
    usable = ~np.isnan(rows).any(axis=1)
    exclude = None if scale.exclude is None else scale.exclude.astype(np.int64)
    squares = ((queries[:, None] - np.where(usable[:, None], rows, np.inf)[None]) ** 2).sum(axis=2)
    if exclude is not None:
        there = np.flatnonzero(exclude >= 0)
        squares[there, exclude[there]] = np.inf
    kept = np.flatnonzero(~lost)
    order = np.argsort(squares[kept], axis=1, kind="stable")[:, : scale.k]
    exact = np.sqrt(np.take_along_axis(squares[kept], order, axis=1))
    found = np.sqrt(np.take_along_axis(squares[kept], scale.indices[kept].astype(np.int64), axis=1))
    # Scores are of features centred and rounded to FP16, and of FP32 sums.
    np.testing.assert_allclose(found, exact, rtol=0 if scale.distances is not None else 2e-3)
    if scale.distances is not None:
        np.testing.assert_array_equal(scale.indices[kept], order)
        np.testing.assert_allclose(scale.distances[kept], exact, rtol=1e-5, atol=1e-6)
        assert np.isnan(scale.distances[lost]).all()
    if not lost.any() and usable.all():
        expected, _ = reference.knn_distance(queries, rows, scale.k, exclude)
        np.testing.assert_allclose(exact, expected, atol=1e-6)


CASE = Case(
    inputs=(
        (Given(1, 3, 1, bank=1),),
        (Given(5, 8, 3, bank=70),),
        (Given(40, 2, 5, own=30, how="ties"),),
        (Given(20, 33, 4, bank=9, own=20, how="nan"),),
        (Given(70, 40, 8, bank=80, how="far"),),
        (Given(10, 16, 64, bank=200),),
        (Given(9, 16, 40, bank=300, measured=False),),
        (Given(150, 24, 2, bank=140, how="far", wide=True),),
        (Given(65, 72, 20, bank=20, own=65, measured=False), Given(30, 26, 6, own=30, measured=False)),
    ),
    check=check,
    mutations=(
        Mutation("own row not excluded", "row != memory.excluded[r]", "row >= 0"),
        Mutation("rows beyond the last", "row < scale.m && row !=", "row != "),
        Mutation("ties by the greater index", "list.score[0] <= candidate", "list.score[0] < candidate"),
        Mutation("no barrier before the scan", "memory);\n        __syncthreads();", "memory);"),
        Mutation(
            "the second half of a list is lost", "if (half == 1 && lane == 0)", "if (half == 1 && lane == 40)"
        ),
        Mutation("lists of one block merged", "split < (int)gridDim.y", "split < 1"),
        Mutation("a row's candidates are overlooked", "promising[row] = 1", "promising[row] = row > 0"),
        Mutation("wide tiles by the narrow ones' warps", "Shape<2, 4, 4, 4>", "Shape<2, 2, 4, 4>"),
        Mutation("query rows not looked up", "scale.cells ? scale.cells[query] : query", "query"),
        Mutation("measured distances not in order", "put(sorted, place, square", "put(sorted, slot, square"),
    ),
)
