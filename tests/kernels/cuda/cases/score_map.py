"""Scores of a map against the reference, which takes them from a map made of one cell per cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import finish_map
from kernels.cuda import Judge, score_map, score_scratch
from tests.kernels.cuda.case import Case, Mutation, Run, no_barrier
from tests.kernels.cuda.host import poisoned

Given = tuple[tuple[int, int], str, Any, float, bool, bool]

# Map, filling, kind, top, profile, mask.
INPUTS: list[Given] = [
    ((1, 1), "noise", "max", 1.0, False, False),
    ((1, 1), "noise", "mean_top", 1.0, True, True),
    ((9, 13), "noise", "mean_top", 0.05, True, True),
    ((9, 13), "few", "mean_top", 0.2, False, False),
    ((40, 33), "frame", "mean_top", 0.01, True, True),
    ((40, 33), "frame", "max", 0.01, True, False),
    ((24, 50), "noise", "std", 0.01, False, True),
    ((24, 50), "frame", "std", 0.01, True, True),
    ((40, 33), "few", "mean_top", 0.3, True, False),
    ((20, 21), "zero", "mean_top", 0.1, True, True),
    ((20, 21), "constant", "mean_top", 0.1, True, False),
    ((20, 21), "saturated", "mean_top", 0.1, True, False),
    ((16, 16), "nan", "max", 0.1, False, True),
    ((16, 16), "nan", "mean_top", 0.1, True, True),
    ((200, 200), "frame", "mean_top", 0.01, True, False),
]


def check(given: Given, run: Run) -> None:
    shape, filling, kind, top, profile, masked = given
    cells = _cells(shape, filling)
    mask = _mask(shape) if masked else None
    score, medians = poisoned(1, np.float32), poisoned(score_scratch(shape), np.float32)
    counter = np.zeros(1, np.uint32)
    launch = score_map(cells, shape, Judge(score, medians, counter, mask, kind, top, profile))
    run(launch)
    rows, columns = (np.eye(n, dtype=np.float32) for n in shape)
    _, expected = finish_map([cells], [rows], [columns], "product", kind, top, mask, profile)
    # The bound is exact, a factor and a sum of up to thousands of cells are rounded.
    np.testing.assert_allclose(score[0], expected, rtol=3e-6, atol=1e-7)
    if profile and filling != "nan":
        _check_medians(cells, medians, launch.args[7:9])
    before = score.copy()
    assert counter[0] == 0
    run(launch)
    np.testing.assert_array_equal(score, before)


def _check_medians(cells: Any, medians: Any, outer: tuple[int, int]) -> None:
    h, w = cells.shape
    rows, columns = ([*range(k), *range(n - k, n)] for k, n in zip(outer, (h, w), strict=True))
    np.testing.assert_allclose(medians[0], np.median(cells), rtol=1e-6)
    np.testing.assert_allclose(medians[1 : 1 + h][rows], np.median(cells, axis=1)[rows], rtol=1e-6)
    np.testing.assert_allclose(medians[1 + h :][columns], np.median(cells, axis=0)[columns], rtol=1e-6)


def _mask(shape: tuple[int, int]) -> Any:
    mask = np.random.default_rng(5).random(shape).astype(np.float32)
    mask[0] = 0
    return mask


def _cells(shape: tuple[int, int], filling: str) -> Any:
    rng = np.random.default_rng([7, *shape])
    noise = rng.random(shape) + 0.05
    framed = noise.copy()
    framed[:2] *= 3
    framed[:, -3:] *= 2
    holed = noise.copy()
    holed[-1, -1] = np.nan
    named = {
        "noise": noise,
        "frame": framed,
        "few": rng.integers(0, 4, shape) / 4,
        "zero": np.zeros(shape),
        "constant": np.full(shape, 0.3),
        "saturated": np.where(noise > 0.5, 65504.0**2, 1e-30),
        "nan": holed,
    }
    return named[filling].astype(np.float32)


CASE = Case(
    inputs=tuple(INPUTS),
    check=check,
    mutations=(
        no_barrier("counts not cleared before they are used", "counts[i] = 0;\n        "),
        no_barrier("digits read before all have counted", "+ lane], 1);\n        }\n        "),
        no_barrier("totals read before they are there", "totals[digit] = total;\n        }\n        "),
        no_barrier("digit used before it is chosen", "            }\n        }\n        "),
        no_barrier("no barrier behind the profile", "factors + height);\n        "),
        Mutation("a lane's column left out", "i < LANES; ++i) total", "i < LANES - 1; ++i) total"),
        Mutation("no digit above decided", "(own & decided) == key", "(own & decided) <= key"),
        Mutation("prefix sum of neighbours only", "step < LANES; step *= 2", "step < 2; step *= 2"),
        Mutation("keys of negative order", "bits | 0x80000000u;", "~bits;"),
        Mutation("lower middle left out", "joined(lower, greater) +", "value_of(upper.key) +"),
        Mutation("equal middles taken for one", "upper.below < n / 2) r", "upper.below <= n / 2) r"),
        Mutation("columns walked as rows", "step = width, at", "step = 1, at"),
        Mutation("rows at the far end", "height - 2 * outer_rows + line", "height - outer_rows + line"),
        Mutation("not smoothed", "k <= i + SMOOTH", "k <= i"),
        Mutation("ratio below 1", "ratio < 1 ? 1 : ratio", "ratio"),
        Mutation("the smaller factor", "fmaxf(factors[i / width]", "fminf(factors[i / width]"),
        Mutation("mask left out", "mask ? value * mask[i] : value", "value"),
        Mutation("NaN lost", "poison != poison ? poison : result", "result"),
        Mutation("warps not joined", "i < (int)blockDim.x / LANES; ++i) all", "i < 2; ++i) all"),
        Mutation("bound not counted", "rest * value_of(bound.key)", "0 * rest"),
        Mutation("rank of another cell", "n - count);", "n - count / 2);"),
        Mutation("score by no last block", "(counter, gridDim.x)", "(counter, gridDim.x / 2 + 1)"),
        Mutation("root left out", "sqrtf(joined(squares, add)", "(joined(squares, add)"),
    ),
)
