"""The pattern kernel copies."""

from __future__ import annotations

import numpy as np

from kernels.cuda import pattern
from tests.kernels.cuda.case import Case, Mutation, Run
from tests.kernels.cuda.host import poisoned


def check(n: int, run: Run) -> None:
    source = np.random.default_rng(n).normal(size=n).astype(np.float32)
    target = poisoned(n, np.float32)
    run(pattern(source, target, n))
    np.testing.assert_array_equal(target, source)


CASE = Case(
    inputs=(1, 3, 4, 1023, 1024, 2500),
    check=check,
    mutations=(
        Mutation("tail left out", "first; i < n;", "first; i < n - 1;"),
        Mutation("vector over the end", "first + PER_THREAD <= n", "first < n"),
        Mutation("blocks overlap", "blockIdx.x * blockDim.x", "blockIdx.x * 128"),
    ),
)
