"""Limits of a sound picture, from images of good parts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..images.sample import F32, Sample
from ..quality import INVALID_SIGMAS, Cover, Drift, Grid, QualityLimits

MIN_IMAGES = 10
"""Fewer say too little about how good images differ: then nothing is learnt."""
LEAST_SIGMA = 2.5
"""Grey levels, 1 % of full scale: images taken in one minute do not show a lamp's normal ageing."""
LEAST_FOCUS_SIGMA = 0.1
"""Of the logarithm, 10 %: the same, of a lens in a warm and in a cold hall."""
MEAN_SIGMAS = 12.0
"""A single frame this far off is a lamp that failed, not a part that looks different."""
LEAST_MARGIN = 0.15
"""Of a tile's light over the median: what shadows and registration may add."""
DETAIL = 1.0
"""Variance of the Laplacian below which a tile has no detail that could be missed."""


def learn_limits(samples: Sequence[Sample]) -> QualityLimits:
    """The limits that these good images keep, each with room; without enough of them only the plain ones."""
    if len(samples) < MIN_IMAGES:
        return QualityLimits()
    mean, mean_sigma = _spread([s.mean for s in samples], LEAST_SIGMA)
    logs = [math.log(max(s.focus, 1e-3)) for s in samples]
    focus, focus_sigma = _spread(logs, LEAST_FOCUS_SIGMA)
    low, high = max(0.0, mean - MEAN_SIGMAS * mean_sigma), min(255.0, mean + MEAN_SIGMAS * mean_sigma)
    least = min(math.exp(focus - INVALID_SIGMAS * focus_sigma), 0.9 * min(s.focus for s in samples))
    return QualityLimits(
        dark_frac=_halfway(max(s.dark_frac for s in samples)),
        sat_frac=_halfway(max(s.sat_frac for s in samples)),
        mean=(_short(low), _short(high)),
        focus=_short(least) if least > 0 and math.exp(focus) >= DETAIL else None,
        cover=_cover(samples),
        drift=Drift(
            mean=_short(max(mean, 0.1)),
            mean_sigma=_short(mean_sigma),
            focus=_short(math.exp(focus)),
            focus_sigma=_short(focus_sigma),
        ),
    )


def _cover(samples: Sequence[Sample]) -> Cover:
    light = np.stack([s.tile_light for s in samples])
    low, high = light.min(axis=0), light.max(axis=0)
    # As far again as the good images differ among themselves.
    room = np.maximum(high - low, LEAST_MARGIN)
    least = min(float(s.tile_focus.min()) for s in samples)
    return Cover(
        focus=_short(least / 4) if least >= DETAIL else 0.0, low=_grid(low - room), high=_grid(high + room)
    )


def _spread(values: Sequence[float], least: float) -> tuple[float, float]:
    return float(np.mean(values)), max(float(np.std(values, ddof=1)), least)


def _halfway(greatest: float) -> float:
    """Between what good images show and everything: a dark field stays allowed where it is normal."""
    return _short((1 + greatest) / 2)


def _short(value: float) -> float:
    """Four digits: a recipe is read by people."""
    return float(f"{value:.4g}")


def _grid(values: F32) -> Grid:
    return tuple(tuple(round(float(value), 2) for value in row) for row in values)
