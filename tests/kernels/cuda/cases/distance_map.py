"""Distance maps of FP16 and FP32 features against the float64 reference on the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import reference
from kernels.cuda import distance_map
from tests.kernels.cuda.case import Case, Mutation, Run
from tests.kernels.cuda.fillings import features
from tests.kernels.cuda.host import poisoned

SHAPES = [(1, 1), (3, 8), (7, 20), (37, 64), (5, 515), (9, 512), (70, 3)]
FILLINGS = ["constant", "zero", "tiny", "saturated", "nan"]
Given = tuple[tuple[int, int], str, str, type]


def check(given: Given, run: Run) -> None:
    (n, channels), filling, kind, dtype = given
    first, second = (features((n, channels), filling, dtype, seed) for seed in (1, 2))
    found = poisoned(n, np.float32)
    run(distance_map(first, second, found, n, channels, _kind(kind), dtype is np.float16))
    expected = _expected(first, second, kind)
    if filling == "nan":
        assert np.isnan(found).any()
    # Sums of C terms in FP32: far below 1e-5 of the greatest of them. A cosine has no unit: absolute.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-6 if kind == "cosine" else 0)


def _kind(kind: str) -> Any:
    return kind


def _expected(first: Any, second: Any, kind: str) -> Any:
    wide = [array.astype(np.float64)[None] for array in (first, second)]
    return reference.distance_map(wide[0], wide[1], _kind(kind))[0]


CASE = Case(
    inputs=(
        *((shape, "noise", kind, np.float16) for shape in SHAPES for kind in ("cosine", "l2")),
        *((shape, "noise", kind, np.float32) for shape in SHAPES[2:6] for kind in ("cosine", "l2")),
        *(((21, 40), filling, kind, np.float16) for filling in FILLINGS for kind in ("cosine", "l2")),
    ),
    check=check,
    mutations=(
        Mutation("last channels left out", "i < c; i += group", "i + EIGHT <= c; i += group"),
        Mutation("step of one lane", "i += group * EIGHT", "i += EIGHT"),
        Mutation(
            "half of the lanes summed", "int step = group / 2; step > 0", "int step = group / 2; step > 1"
        ),
        Mutation(
            "lanes leave before the sum",
            "    for (int step = group",
            "    if (cell >= n) return;\n    for (int step = group",
        ),
        Mutation("a partial row read as whole", "c % EIGHT == 0", "c >= EIGHT"),
        Mutation("no guard for length 0", "(lengths < LEAST ? LEAST : lengths)", "lengths"),
        Mutation("NaN lost", "result < 0 ? 0 : result", "result > 0 ? result : 0"),
        Mutation("cells beyond the end", "if (cell < n) {", "if (cell <= n) {"),
        Mutation("root left out", "sqrtf(aa) * sqrtf(bb)", "aa * bb"),
    ),
)
