"""Regression: one target and nearest rows, mirrored borders, two scales, fillings without texture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels import reference
from kernels.cuda import RegressionScale, neighbour_regression
from tests.kernels.cuda.case import Case, Mutation, Run
from tests.kernels.cuda.host import poisoned

F16 = npt.NDArray[np.float16]
F64 = npt.NDArray[np.float64]
Given = tuple[str, int, int, tuple[tuple[int, int, int], ...]]
"""Filling, edge, neighbours (0: one target), sizes."""
BLEND, BANK, OWN = 200 / 201, 5, 7


def filled(how: str, shape: tuple[int, int, int]) -> F64:
    """(h, w, C) of one kind."""
    noise = np.random.default_rng(shape).normal(size=shape)
    y, x, c = np.meshgrid(*map(np.arange, shape), indexing="ij")
    named = {
        "texture": np.abs(2 + np.sin(y + c) * np.cos(x * (1 + c % 3)) + 0.3 * noise),
        "large": 3e4 * np.abs(np.tanh(noise)),
        "constant": np.full(shape, 0.7),
        "ramp": 0.1 * x + 0.01 * c,
        "nan": np.where((y == 1) & (x == 2) & (c == 0), np.nan, noise),
    }
    return np.asarray(named[how], np.float64)


def halves(values: F64) -> tuple[F16, F16]:
    """Each number in FP16, and what that leaves out, times 2048."""
    high = values.astype(np.float16)
    return high, (2048 * (values - high)).astype(np.float16)


def scale_of(how: str, edge: int, count: int, shape: tuple[int, int, int]) -> RegressionScale:
    """Features in two parts; more candidates than are taken."""
    h, w, channels = shape
    rng = np.random.default_rng(shape)
    both = filled(how, shape)
    features, lower = halves(both)
    cells = (h - 2 * edge, w - 2 * edge)
    errors = poisoned(cells, np.float32)
    scale = RegressionScale(features, lower, errors, shape, edge)
    if count == 0:
        target = np.nan_to_num(both).reshape(-1, channels)[::3].mean(axis=0).astype(np.float32)
        return replace(scale, target=target)
    own = rng.permutation(h * w)[:OWN].astype(np.int32)
    bank, bank_lower = halves(filled("texture", (1, BANK, channels))[0])
    kept = min(count + 3, OWN + BANK)
    nearest = np.stack([rng.permutation(OWN + BANK)[:kept] for _ in range(cells[0] * cells[1])])
    rows = nearest.astype(np.int32)
    if edge == 2:
        rows[-1, :2] = -1
    found: dict[str, Any] = {"nearest": rows, "kept": kept, "count": count, "own": own, "own_count": OWN}
    return replace(scale, **found, bank=bank, bank_lower=bank_lower)


def whole_of(high: Any, low: Any) -> Any:
    return high.astype(np.float64) + low.astype(np.float64) / 2048


def expected_of(scale: RegressionScale) -> Any:
    features = whole_of(scale.features, scale.lower)
    channels = features.shape[2]
    cut = scale.edge - 1
    window = np.pad(features, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    window = window[1 + cut : window.shape[0] - 1 - cut, 1 + cut : window.shape[1] - 1 - cut]
    target: Any = scale.target
    if target is None:
        cells = window[1:-1, 1:-1].reshape(-1, channels)
        own = features.reshape(-1, channels)[scale.own]
        rows = np.concatenate([own, whole_of(scale.bank, scale.bank_lower)])
        squares = ((cells[:, None] - rows[scale.nearest]) ** 2).sum(axis=2)
        order = np.argsort(squares, axis=1)[:, : scale.count]
        taken = rows[np.take_along_axis(scale.nearest, order, axis=1)].mean(axis=1)
        taken[(scale.nearest < 0).any(axis=1)] = np.nan
        target = taken.reshape(*scale.errors.shape, channels)
    return reference.neighbour_regression(window, target.astype(np.float64), BLEND)


def check(given: Given, run: Run) -> None:
    how, edge, count, shapes = given
    scales = [scale_of(how, edge, count, shape) for shape in shapes]
    run(neighbour_regression(*scales, blend=BLEND))
    for scale in scales:
        expected, found = expected_of(scale), scale.errors
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        kept = np.isfinite(expected)
        # FP32 rounds each feature by 6e-8 of itself; the ridge keeps the system's condition below about 1e6.
        rounding = 1e-6 * np.nanmax(np.linalg.norm(scale.features.astype(np.float64), axis=2))
        difference = np.abs(found - expected)[kept]
        assert difference.mean() <= 1e-5 * expected[kept].mean() + rounding
        assert difference.max() <= 3e-5 * expected[kept].max() + rounding


CASE = Case(
    inputs=(
        ("texture", 1, 0, ((3, 3, 17),)),
        ("constant", 1, 0, ((4, 5, 26),)),
        ("ramp", 1, 0, ((5, 4, 16),)),
        ("texture", 0, 0, ((4, 6, 26),)),
        ("nan", 1, 0, ((6, 7, 40),)),
        ("large", 1, 3, ((5, 6, 33),)),
        ("texture", 2, 12, ((8, 9, 72), (7, 6, 264))),
        ("texture", 1, 8, ((5, 5, 288),)),
    ),
    check=check,
    mutations=(
        Mutation("fragment halves swapped", "{{upper.x, lower.x, upper.y,", "{{upper.x, upper.y, lower.x,"),
        Mutation("border not mirrored but cut", "i < 0 ? -i :", "i < 0 ? 0 :"),
        Mutation(
            "low part of the target lost", "low[i] = to_halves(rest[0],", "low[i] = to_halves(0 * rest[0],"
        ),
        Mutation("target rows beyond the seventh lost", "part < parts; part += 16", "part < 0; part += 16"),
        Mutation("ridge left out", "row[1] += epsilon", "row[1] += 0 * epsilon"),
        Mutation("a neighbour left out of the residual", "i >= 0; --i", "i > 0; --i"),
        Mutation("a bank row taken from the grid", "return row < scale.own", "return row <= scale.own"),
        Mutation("cells beyond the last", "cell >= rows * columns", "cell > rows * columns"),
        Mutation("low parts left out", "upper.low, lower.low", "upper.high, lower.high"),
        Mutation("candidates as they come", "sum = warp_sum(sum);", "sum = slot;"),
        Mutation("low part of the residual lost", "= high_half(high[i]) +", "= high_half(high[i]) + 2 *"),
        Mutation("a missing row is 0", "constexpr int NAN_WORD = 0x7fff7fff,", "constexpr int NAN_WORD = 0,"),
    ),
)
