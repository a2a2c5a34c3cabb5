"""Preprocessing against the same matrices multiplied in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import resize_matrix
from kernels.cuda import bands, normalisation, preprocess
from tests.kernels.cuda.case import Case, Mutation, Run, no_barrier
from tests.kernels.cuda.host import poisoned

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Given = tuple[tuple[int, int, int], tuple[int, int, int, int], tuple[int, int], int, type]

# Image (rows, columns, channels), region (x, y, width, height), size, bytes behind each row, result.
INPUTS: list[Given] = [
    ((1, 1, 1), (0, 0, 1, 1), (1, 1), 0, np.float32),
    ((9, 7, 3), (0, 0, 7, 9), (9, 7), 0, np.float32),
    ((9, 7, 3), (0, 0, 7, 9), (20, 33), 3, np.float16),
    ((40, 52, 3), (5, 3, 43, 36), (18, 35), 0, np.float16),
    ((61, 44, 1), (1, 0, 41, 59), (9, 17), 0, np.float32),
    ((75, 83, 3), (2, 1, 80, 70), (11, 13), 3, np.float32),
    ((5, 3000, 3), (0, 0, 3000, 5), (3, 2), 0, np.float32),
]


def check(given: Given, run: Run) -> None:
    (rows, columns, channels), (x, y, width, height), size, padding, dtype = given
    stride = columns * channels + padding
    memory = np.random.default_rng(rows).integers(0, 256, (rows, stride), np.uint8)
    down, across = bands(resize_matrix(height, size[0])), bands(resize_matrix(width, size[1]))
    out = poisoned((3, *size), dtype)
    normal = normalisation(MEAN, STD)
    run(preprocess(memory, stride, channels, (x, y), down, across, normal, out, dtype is np.float16))
    pixels = memory[:, : columns * channels].reshape(rows, columns, channels)
    expected = _expected(pixels[y : y + height, x : x + width], size)
    # One rounding to FP16; in FP32 sums of up to 2000 products one after another.
    np.testing.assert_allclose(out, expected, rtol=2.0**-11 * 1.01 if dtype is np.float16 else 0, atol=5e-6)


def _expected(pixels: Any, size: tuple[int, int]) -> Any:
    """(3, height, width) float64."""
    down, across = (resize_matrix(n, m) for n, m in zip(pixels.shape, size, strict=False))
    planes = [down @ pixels[:, :, c].astype(np.float64) @ across.T for c in range(pixels.shape[2])]
    ordered = planes[::-1] if len(planes) == 3 else 3 * planes
    return np.stack([(p / 255 - m) / s for p, m, s in zip(ordered, MEAN, STD, strict=True)])


CASE = Case(
    inputs=tuple(INPUTS),
    check=check,
    mutations=(
        no_barrier("no barrier between the two filters", "sum;\n    }\n    "),
        Mutation("planes in the camera's order", "plane == 2 - channel", "plane == channel"),
        Mutation("words at odd addresses", "stride % WORD == 0", "true"),
        Mutation("bytes of a word swapped", "bytes >> 8 & 0xff", "bytes >> 16 & 0xff"),
        Mutation("bytes beyond the row", "if (k < count) word", "word"),
        Mutation("region's left side left out", "(left + across.first[x0 + x])", "(across.first[x0 + x])"),
        Mutation("region's top left out", "(top + down.first[y0 + y])", "(down.first[y0 + y])"),
        Mutation("last word of a line left out", "to - from + WORD - 1", "to - from"),
        Mutation("weights of another row", "t * height + y0 + y", "t * height + y"),
        Mutation("weights of another column", "t * width + x0 + x)", "t * width + x)"),
        Mutation("one tap too few", "t < across.taps", "t < across.taps - 1"),
        Mutation("columns beyond the image", "min(tile_w, width - x0)", "tile_w"),
        Mutation("summand of red for all", "normal[3 + plane]", "normal[3]"),
    ),
)
