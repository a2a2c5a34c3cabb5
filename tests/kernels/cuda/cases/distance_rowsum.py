"""Row sums of distances: ragged tiles, one and two scales, fillings that cancel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kernels import reference
from kernels.cuda import RowsumScale, distance_rowsum, rowsum_scratch
from tests.kernels.cuda.case import Case, Mutation, Run
from tests.kernels.cuda.host import poisoned

Given = tuple[str, tuple[tuple[int, int], ...]]


def filled(how: str, n: int, channels: int) -> npt.NDArray[np.float16]:
    """(n, C) FP16 of one kind."""
    rng = np.random.default_rng([n, channels])
    noise = rng.normal(size=(n, channels))
    named = {
        "noise": noise,
        # About a point far from 0: without a centre, FP32 has no digits left for the distances.
        "far": 300 + 0.5 * noise,
        "equal": np.full((n, channels), 0.7),
        "nan": np.where(np.arange(n)[:, None] == n // 2, np.nan, noise),
    }
    return named[how].astype(np.float16)


def check(given: Given, run: Run) -> None:
    how, sizes = given
    features = [filled(how, n, channels) for n, channels in sizes]
    scales, counters = [], [np.zeros(1, np.int32) for _ in sizes]
    for cells, counter in zip(features, counters, strict=True):
        n, channels = cells.shape
        mean = np.nan_to_num(cells.astype(np.float32)).mean(axis=0)
        found, scratch = poisoned(n, np.float32), poisoned(rowsum_scratch(n), np.float32)
        scales.append(RowsumScale(cells, mean, found, scratch, counter, n, channels))
    run(distance_rowsum(*scales))
    for cells, scale, counter in zip(features, scales, counters, strict=True):
        expected = reference.distance_rowsum(cells.astype(np.float64))
        # Centred features are rounded to FP16: 2^-11 of each, at random, and far less of a mean distance.
        np.testing.assert_allclose(scale.distances, expected, rtol=2e-4, atol=1e-6)
        assert counter[0] == 0


CASE = Case(
    inputs=(
        ("noise", ((1, 3),)),
        ("equal", ((70, 8),)),
        ("nan", ((65, 26),)),
        ("far", ((64, 40),)),
        ("noise", ((129, 72), (66, 33))),
    ),
    check=check,
    mutations=(
        Mutation("columns of a tile forgotten", "if (down != across) store_sums", "if (down < 0) store_sums"),
        Mutation(
            "no barrier before the sums of warps",
            "add_up(sums, by_row, by_column);\n    __syncthreads();",
            "add_up(sums, by_row, by_column);",
        ),
        Mutation("rows beyond the last", "row < scale.n ?", "row <= scale.n ?"),
        Mutation(
            "fragment rows swapped",
            "sums.at[i][j][d] + sums.at[i][j][d + 1]",
            "sums.at[i][j][d] + sums.at[i][j][d ^ 2]",
        ),
        Mutation(
            "not centred",
            "mean_0, distances_0, partials_0, counter_0, n_0, c_0}\n",
            "nullptr, distances_0, partials_0, counter_0, n_0, c_0}\n",
        ),
        Mutation("the last tile left out", "tile < tiles; ++tile", "tile < tiles - (tiles > 1); ++tile"),
    ),
)
