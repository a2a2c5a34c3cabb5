"""Regression: one target and nearest rows, mirrored borders, two scales, fillings without texture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kernels import reference
from kernels.cuda import RegressionScale, neighbour_regression
from tests.kernels.cuda.case import Case, Mutation, Run
from tests.kernels.cuda.host import poisoned

Given = tuple[str, int, int, tuple[tuple[int, int, int], ...]]
"""Filling, edge, neighbours (0: one target), sizes."""
BLEND, BANK, OWN = 200 / 201, 5, 7


def filled(how: str, shape: tuple[int, int, int]) -> npt.NDArray[np.float16]:
    """(h, w, C) FP16 of one kind."""
    noise = np.random.default_rng(shape).normal(size=shape)
    y, x, c = np.meshgrid(*map(np.arange, shape), indexing="ij")
    named = {
        "texture": np.abs(2 + np.sin(y + c) * np.cos(x * (1 + c % 3)) + 0.3 * noise),
        "large": 3e4 * np.abs(np.tanh(noise)),
        "constant": np.full(shape, 0.7),
        "ramp": 0.1 * x + 0.01 * c,
        "nan": np.where((y == 1) & (x == 2) & (c == 0), np.nan, noise),
    }
    filling: npt.NDArray[np.float16] = named[how].astype(np.float16)
    return filling


def scale_of(how: str, edge: int, count: int, shape: tuple[int, int, int]) -> RegressionScale:
    h, w, channels = shape
    rng = np.random.default_rng(shape)
    features = filled(how, shape)
    cells = (h - 2 * edge, w - 2 * edge)
    errors = poisoned(cells, np.float32)
    if count == 0:
        target = np.nan_to_num(features.astype(np.float32)).reshape(-1, channels)[::3].mean(axis=0)
        return RegressionScale(features, errors, shape, edge, target)
    own = rng.permutation(h * w)[:OWN].astype(np.int32)
    bank = filled("texture", (1, BANK, channels))[0]
    nearest = np.stack([rng.permutation(OWN + BANK)[:count] for _ in range(cells[0] * cells[1])])
    rows = nearest.astype(np.int32)
    if edge == 2:
        rows[-1, 0] = -1
    return RegressionScale(features, errors, shape, edge, None, rows, count, own, OWN, bank)


def expected_of(scale: RegressionScale) -> Any:
    features = scale.features.astype(np.float64)
    channels = features.shape[2]
    cut = scale.edge - 1
    window = np.pad(features, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    window = window[1 + cut : window.shape[0] - 1 - cut, 1 + cut : window.shape[1] - 1 - cut]
    target: Any = scale.target
    if target is None:
        own = features.reshape(-1, channels)[scale.own]
        rows = np.concatenate([own, scale.bank.astype(np.float64)])
        target = np.where(scale.nearest[..., None] < 0, np.nan, rows[scale.nearest]).mean(axis=1)
        target = target.reshape(*scale.errors.shape, channels)
    return reference.neighbour_regression(window, target.astype(np.float64), BLEND)


def check(given: Given, run: Run) -> None:
    how, edge, count, shapes = given
    scales = [scale_of(how, edge, count, shape) for shape in shapes]
    run(neighbour_regression(*scales, blend=BLEND))
    for scale in scales:
        expected, found = expected_of(scale), scale.errors
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        kept = np.isfinite(expected)
        # Sums in FP32 through a system whose condition the ridge keeps below about 1e6.
        assert np.abs(found - expected)[kept].mean() <= 1e-4 * expected[kept].mean() + 1e-6
        assert np.abs(found - expected)[kept].max() <= 1e-3 * expected[kept].max() + 1e-5


CASE = Case(
    inputs=(
        ("texture", 1, 0, ((3, 3, 1),)),
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
        Mutation(
            "fragment halves swapped",
            "{{upper.x, lower.x, upper.y, lower.y}",
            "{{upper.x, upper.y, lower.x, lower.y}",
        ),
        Mutation("border not mirrored but cut", "i < 0 ? -i :", "i < 0 ? 0 :"),
        Mutation("low part of the target lost", ": values[i] - high", ": 0"),
        Mutation("target rows beyond the seventh lost", "part < parts; part += 16", "part < 0; part += 16"),
        Mutation("ridge left out", "row[group % 2] += epsilon", "row[group % 2] += 0 * epsilon"),
        Mutation(
            "a neighbour left out of the residual",
            "for (int i = 8; i >= 0; --i)",
            "for (int i = 8; i > 0; --i)",
        ),
        Mutation(
            "rows of the bank counted from the grid's", "row < scale.own_count", "row <= scale.own_count"
        ),
        Mutation("cells beyond the last", "cell >= rows * columns", "cell > rows * columns"),
        Mutation(
            "a missing neighbour is 0",
            "make_uint4(NAN_WORD, NAN_WORD, NAN_WORD, NAN_WORD)",
            "make_uint4(0, 0, 0, 0)",
        ),
    ),
)
