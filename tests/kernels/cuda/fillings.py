"""Feature maps for the checks: ordinary ones, and those that break naive numerics."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

HALF = np.float16
GREATEST = float(np.finfo(HALF).max)


def features(shape: tuple[int, ...], filling: str, dtype: npt.DTypeLike = HALF, seed: int = 0) -> Any:
    """Features of one kind.

    Args:
        filling: noise, constant, ramp, zero, tiny, saturated (the greatest FP16), or nan (one of them).
    """
    noise = np.random.default_rng([seed, *shape]).normal(1, 1, shape)
    places = np.arange(noise.size).reshape(shape)
    made = {
        "noise": noise,
        "constant": np.full(shape, 0.7),
        "ramp": places / noise.size,
        "zero": np.zeros(shape),
        "tiny": 1e-6 * noise,
        "saturated": np.where(noise > 1, GREATEST, -GREATEST),
        "nan": np.where(places == noise.size // 2, np.nan, noise),
    }
    return made[filling].astype(dtype)
