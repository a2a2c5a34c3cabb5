"""Pooled features and their mean against the reference; norms as those of the numbers that were stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels import reference
from kernels.cuda import Launch, PoolScale, pool, pool_norm, pool_norm_scratch
from tests.kernels.cuda.case import Case, Mutation, Run, no_barrier
from tests.kernels.cuda.fillings import HALF, features
from tests.kernels.cuda.host import poisoned

SHAPES = [(1, 1, 1), (1, 9, 3), (5, 1, 8), (4, 8, 16), (9, 10, 26), (6, 17, 264), (5, 3, 515)]
FILLINGS = ["constant", "ramp", "zero", "tiny", "saturated", "nan"]
Given = tuple[tuple[int, int, int], str, type]


def check(given: Given, run: Run) -> None:
    shape, filling, dtype = given
    source = features(shape, filling, dtype)
    pooled, centred = poisoned(shape, HALF), poisoned(shape, HALF)
    mean, norms = poisoned(shape[2], np.float32), poisoned(shape[:2], np.float32)
    partials, counters = pool_norm_scratch(shape)
    scratch = poisoned(partials, np.float32), np.zeros(counters, np.uint32)
    launches = pool_norm(source, pooled, mean, norms, centred, *scratch, shape, dtype is np.float16)
    run(launches)
    expected, _, expected_mean = reference.pool_norm(source.astype(np.float64))
    # One rounding to FP16: half a unit in the last place, or half the smallest step.
    np.testing.assert_allclose(pooled.astype(np.float64), expected, rtol=2.0**-11 * 1.001, atol=2.0**-25)
    scale = np.nan_to_num(np.abs(expected)).max()
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-6, atol=1e-6 * scale)
    about = (pooled.astype(np.float32) - mean).astype(HALF)
    np.testing.assert_array_equal(centred, about)
    # C squares, all >= 0, added in another order.
    np.testing.assert_allclose(norms, (about.astype(np.float64) ** 2).sum(axis=2), rtol=1e-5)
    assert not scratch[1].any()
    _repeats(launches, (pooled, mean, norms), run)
    _paired(source, pooled, mean, run)


def _paired(source: npt.NDArray[Any], pooled: npt.NDArray[Any], mean: npt.NDArray[Any], run: Run) -> None:
    """Two scales in one launch have the bits of each alone, whichever is larger."""
    for shapes in ((source.shape, (2, 9, 3)), ((2, 9, 3), source.shape)):
        scales = []
        for h, w, channels in shapes:
            own = source if (h, w, channels) == source.shape else np.ones((h, w, channels), source.dtype)
            partials, counters = pool_norm_scratch((h, w, channels))
            results = poisoned(own.shape, HALF), poisoned(own.shape, HALF), poisoned(channels, np.float32)
            scratch = poisoned(partials, np.float32), np.zeros(counters, np.uint32)
            scales.append(PoolScale(own, *results, *scratch, (h, w, channels)))
        run(pool(*scales, half=source.dtype == HALF))
        for scale in scales:
            if scale.features is source:
                np.testing.assert_array_equal(scale.pooled, pooled)
                expected, _, _ = reference.pool_norm(source.astype(np.float64))
                both = scale.pooled.astype(np.float64) + scale.lower / 2048.0
                np.testing.assert_allclose(both, expected, rtol=1e-6, atol=1e-7)
                np.testing.assert_array_equal(scale.mean, mean)
            else:
                np.testing.assert_array_equal(scale.pooled[0, 1:8], np.float16(6 / 9))


def _repeats(launches: list[Launch], results: Sequence[npt.NDArray[Any]], run: Run) -> None:
    """The same bits again, in another order of blocks or not, and without the centred features."""
    first = [array.copy() for array in results]
    run(launches[:1])
    centre = launches[1]
    run(replace(centre, args=(*centre.args[:2], None, *centre.args[3:])))
    for before, after in zip(first, results, strict=True):
        np.testing.assert_array_equal(before.view(np.uint8), after.view(np.uint8))


CASE = Case(
    inputs=(
        *((shape, "noise", HALF) for shape in SHAPES),
        *((shape, "noise", np.float32) for shape in SHAPES[3:6]),
        *(((6, 11, 24), filling, HALF) for filling in FILLINGS),
    ),
    check=check,
    mutations=(
        Mutation(
            "the second scale in the first's layers", "pool(second, layer - layers,", "pool(second, layer,"
        ),
        no_barrier("no barrier before the block's sums", "bank\n    "),
        Mutation("neighbours over the right edge", "min(x + 1, w - 1)", "x + 1"),
        Mutation("left neighbour left out", "max(x - 1, 0)", "x"),
        Mutation("divided by the cells that are there", "/ 9;", "/ (top == 0 ? 6 : 9);"),
        Mutation("window not moved on", "above[k] = here[k];", "above[k] = below[k];"),
        Mutation("row below the grid", "y >= h) return", "y > h) return"),
        Mutation("sums of the lanes swapped", "own % LANES * EIGHT + own / LANES", "own"),
        Mutation("one row of cells not summed", "r < CELLS; ++r", "r < CELLS - 1; ++r"),
        Mutation("one counter for all chunks", "scale.counters + blockIdx.x", "scale.counters"),
        Mutation("one block of partial sums lost", "b < blocks; ++b", "b < blocks - 1; ++b"),
        Mutation("partial sums of another block", "(long long)block * c", "(long long)layer * c"),
        Mutation("norm before rounding", "to_float(to_half(value[k]))", "value[k]"),
        Mutation("norm of half a warp", "norm = warp_sum(norm);", "norm += __shfl_xor_sync(WARP, norm, 16);"),
        Mutation("tail of the channels", "i < c; i += CHUNK", "i + EIGHT <= c; i += CHUNK"),
    ),
)
