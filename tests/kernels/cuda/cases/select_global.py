"""Selection: ties, NaN, everything, the first cells, two scales."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kernels import reference
from kernels.cuda import SelectScale, select_global
from tests.kernels.cuda.case import Case, Mutation, Run
from tests.kernels.cuda.host import poisoned

Given = tuple[str, tuple[tuple[int, int, int], ...]]


def distances_of(how: str, n: int) -> npt.NDArray[np.float32] | None:
    """(n,) FP32 of one kind; None for the first cells."""
    rng = np.random.default_rng(n)
    named = {
        "noise": rng.uniform(1, 2, n),
        "wide": 10.0 ** rng.uniform(-30, 30, n),
        "ties": rng.integers(0, 3, n),
        "nan": np.where(np.arange(n) % 3 == 0, np.nan, rng.uniform(size=n)),
    }
    return named[how].astype(np.float32) if how in named else None


def check(given: Given, run: Run) -> None:
    how, sizes = given
    scales = []
    for n, channels, count in sizes:
        features = np.random.default_rng(channels).normal(size=(n, channels)).astype(np.float16)
        indices, vector = poisoned(count, np.int32), poisoned(channels, np.float32)
        scales.append(SelectScale(features, distances_of(how, n), indices, vector, n, channels, count))
    run(select_global(*scales))
    for scale in scales:
        features = scale.features.astype(np.float64)
        distances = np.zeros(scale.n) if scale.distances is None else scale.distances
        variant = "demo" if scale.distances is None else "paper"
        expected = reference.select_global(features, distances, scale.count, variant)  # type: ignore[arg-type]
        np.testing.assert_array_equal(scale.indices, expected[0])
        np.testing.assert_allclose(scale.vector, expected[1], rtol=1e-5, atol=1e-6)


CASE = Case(
    inputs=(
        ("noise", ((1, 3, 1),)),
        ("ties", ((300, 8, 130),)),
        ("nan", ((9, 5, 9),)),
        ("first", ((50, 12, 7),)),
        ("wide", ((1100, 20, 40), (400, 33, 40))),
    ),
    check=check,
    mutations=(
        Mutation("NaN comes first", "? 0xffffffffu :", "? 0u :"),
        Mutation("one too few", "before < wanted && wanted <= before", "before <= wanted && wanted < before"),
        Mutation(
            "no barrier behind the histogram",
            "1);\n        }\n        __syncthreads();",
            "1);\n        }\n",
        ),
        Mutation("ranks not by index", "chosen[i] < mine", "chosen[i] >> 32 < mine >> 32"),
        Mutation("a row beyond the last", "j < scale.count; ++j", "j <= scale.count; ++j"),
        Mutation("the second scale takes the first's features", ": Scale{features_1", ": Scale{features_0"),
    ),
)
