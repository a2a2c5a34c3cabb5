"""Filled, enlarged and fused maps against the reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import fill_border, finish_matrix
from kernels.cuda import ErrorMap, Judge, bands, finish_map, finish_scratch
from tests.kernels.cuda.case import Case, Mutation, Run, no_barrier
from tests.kernels.cuda.host import poisoned

# Per scale: grid (h, w), ring, cells that could not be solved per side.
Grid = tuple[tuple[int, int], int, int]
Given = tuple[list[Grid], tuple[int, int], tuple[int, int], float, int, Any, Any, str]

ONE: list[Grid] = [((7, 9), 2, 1)]
TWO: list[Grid] = [((20, 23), 3, 1), ((10, 12), 2, 2)]
THREE: list[Grid] = [*TWO, ((6, 6), 0, 0)]

# Scales, working image, map, sigma, crop, fill, fusion, filling.
INPUTS: list[Given] = [
    ([((1, 1), 0, 0)], (1, 1), (1, 1), 0.0, 0, "min", "product", "noise"),
    (ONE, (40, 56), (17, 33), 2.0, 3, "min", "product", "noise"),
    (ONE, (40, 56), (30, 50), 0.0, 0, "edge", "sum", "ramp"),
    (TWO, (80, 92), (64, 76), 3.0, 8, "min", "product", "noise"),
    (TWO, (80, 92), (40, 70), 3.0, 8, "edge", "mean", "constant"),
    (THREE, (48, 64), (48, 64), 1.0, 0, "min", "mean", "noise"),
    (THREE, (48, 64), (20, 20), 1.0, 2, "min", "product", "noise"),
    (TWO, (80, 92), (20, 40), 3.0, 8, "min", "sum", "nan"),
    (TWO, (80, 92), (20, 40), 3.0, 8, "min", "product", "inf"),
]


def check(given: Given, run: Run) -> None:
    grids, image, size, sigma, crop, fill, fusion, filling = given
    scales, expected = [], []
    for i, (grid, ring, skipped) in enumerate(grids):
        errors = _errors((grid[0] - 2 * skipped, grid[1] - 2 * skipped), filling, i)
        down, across = (
            finish_matrix(*lengths, sigma, crop) for lengths in zip(grid, image, size, strict=True)
        )
        rows, columns = errors.shape
        scales.append(ErrorMap(errors, rows, columns, ring - skipped, ring, bands(down), bands(across)))
        if np.isfinite(errors).all():
            filled = fill_border(errors.astype(np.float64), grid, ring, fill)
            expected.append(down.astype(np.float64) @ filled @ across.astype(np.float64).T)
    found = poisoned(size, np.float32)
    score, partials = poisoned(1, np.float32), poisoned(finish_scratch(size), np.float32)
    counter = np.zeros(1, np.uint32)
    mask = np.random.default_rng(9).random(size).astype(np.float32) if fill == "min" else None
    for kind in ("max", "std"):
        found[...] = -1
        run(finish_map(scales, found, Judge(score, partials, counter, mask, kind), fill, fusion))
        judged = found if mask is None else found * mask
        expected_score = judged.max() if kind == "max" else judged.std()
        # A deviation is not known better than the mean that it is taken from.
        np.testing.assert_allclose(score[0], expected_score, rtol=1e-5, atol=1e-6)
        assert counter[0] == 0
    if not expected:
        assert np.isnan(found).all()
        return
    joined = np.prod(expected, axis=0) if fusion == "product" else np.sum(expected, axis=0)
    # Two short sums of terms >= 0 per scale, in FP32.
    np.testing.assert_allclose(found, joined / (len(scales) if fusion == "mean" else 1), rtol=2e-6)


def _errors(shape: tuple[int, int], filling: str, seed: int) -> Any:
    noise = np.random.default_rng(seed).random(shape) + 0.1
    made = {"constant": np.full(shape, 0.7), "ramp": np.arange(noise.size).reshape(shape) + 1.0}
    errors = made.get(filling, noise).astype(np.float32)
    if filling == "noise":
        # The least where a late warp of the block finds it.
        errors.flat[200 % errors.size] = 0.05
    if filling in ("nan", "inf"):
        errors[-1, -1] = float(filling)
    return errors


CASE = Case(
    inputs=tuple(INPUTS),
    check=check,
    mutations=(
        no_barrier("no barrier behind the strip", "strip[i] = sum;\n    }\n    "),
        no_barrier("no barrier behind the least", "found[1][warp] = poison;\n    }\n    "),
        Mutation("least of half a block", "/ 32; ++i) {\n        least", "/ 64; ++i) {\n        least"),
        Mutation("least of one lane", "least = fminf(least, __shfl_xor_sync(WARP, least, step))", "continue"),
        Mutation("NaN not spread", "float sum = poison;", "float sum = 0;"),
        Mutation("ring one cell wider", "max(x, s.ring)", "max(x, s.ring + 1)"),
        Mutation("edge in place of the least", "kept || fill == EDGE", "kept || fill == LEAST"),
        Mutation("grid and errors shifted", "s.columns + u - skipped", "s.columns + u"),
        Mutation("rows for columns", "(v - skipped) * s.columns", "(v - skipped) * s.rows"),
        Mutation("last tap of a row", "t < s.down.taps", "t < s.down.taps - 1"),
        Mutation("weights of another column", "t * width + x)", "t * width + x - x0)"),
        Mutation("reach of one column", "s.across.first[last] +", "s.across.first[x0] +"),
        Mutation("rows beyond the map", "if (y >= height || x", "if (x"),
        Mutation("sum for product", "fused[k] * next[k]", "fused[k] + next[k]"),
        no_barrier("maxima read before they are there", "found[threadIdx.x / 32] = own;\n    "),
        Mutation("NaN less than a number", "a > b || a != a ? a : b", "fmaxf(a, b)"),
        Mutation("mask left out", "mask ? map[at] * mask[at] : map[at]", "map[at]"),
        Mutation("one block's maximum left out", "i < blocks; i +=", "i < blocks - 1; i +="),
        Mutation("maximum by no last block", "_block(counter, blocks)", "_block(counter, blocks / 2 + 1)"),
        Mutation("third scale replaces the others", "if (begun)", "if (begun > 1)"),
    ),
)
