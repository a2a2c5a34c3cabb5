"""Is the picture sound? What is not becomes INVALID with its code, never NG: the fault is not the part's."""

from __future__ import annotations

import math

import cv2
import numpy as np

from .config import ConfigStruct
from .frame import Frame, Quality
from .images.sample import GRID, Box, Sample, crop, take_sample

WARN_SIGMAS, INVALID_SIGMAS = 3.0, 6.0
"""How far the running mean may drift from the good images before it is reported, and before it is INVALID."""
EWMA_SHARE = 0.05
"""What one frame adds to the running mean: its memory is about 20 frames."""

Grid = tuple[tuple[float, ...], ...]
"""GRID rows of GRID numbers, laid out as in the image."""


class Drift(ConfigStruct, frozen=True):
    """What the good images look like on average; the running mean of the frames is compared with it."""

    mean: float
    """Grey level, 0..255."""
    mean_sigma: float
    focus: float
    """Variance of the Laplacian, > 0."""
    focus_sigma: float
    """Of the natural logarithm of the focus: 0.1 is about 10 %."""

    def __post_init__(self) -> None:
        for what in ("mean", "mean_sigma", "focus", "focus_sigma"):
            value = getattr(self, what)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{what} is {value}; expected a finite number > 0")


class Cover(ConfigStruct, frozen=True):
    """When something stands between camera and part: tiles of the view that no good image shows so."""

    share: float = 0.25
    """Share of the view at and above which it counts as covered, above 0, at most 1."""
    focus: float = 0.0
    """Least variance of the Laplacian in a tile; 0: not checked."""
    low: Grid | None = None
    """Least light of each tile, over the median of all tiles; absent: not checked."""
    high: Grid | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}; expected above 0 and at most 1")
        if not 0 <= self.focus < math.inf:
            raise ValueError(f"focus is {self.focus}; expected a finite number >= 0")
        for what in ("low", "high"):
            grid = getattr(self, what)
            if grid is not None and [len(row) for row in grid] != [GRID] * GRID:
                raise ValueError(
                    f"{what} is no grid of {GRID} x {GRID} numbers; write it anew with calibrate"
                )


class QualityLimits(ConfigStruct, frozen=True):
    """Limits of a sound picture; learnt from good images by `calibrate`. What is absent is not checked."""

    dark_frac: float | None = 0.98
    """Share of pixels darker than grey level 16 at and above which a frame is TOO_DARK."""
    sat_frac: float | None = 0.98
    """Share of pixels at 250 and brighter at and above which a frame is OVEREXPOSED."""
    mean: tuple[float, float] | None = None
    """Grey level: below the first TOO_DARK, above the second OVEREXPOSED."""
    focus: float | None = None
    """Variance of the Laplacian, median over the view: below it OUT_OF_FOCUS."""
    cover: Cover | None = None
    """OCCLUDED."""
    drift: Drift | None = None
    """DRIFT."""

    def __post_init__(self) -> None:
        for what in ("dark_frac", "sat_frac"):
            value = getattr(self, what)
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"{what} is {value}; expected above 0 and at most 1, or null: not checked")
        if self.mean is not None and not 0 <= self.mean[0] < self.mean[1] <= 255:
            raise ValueError(
                f"mean is {list(self.mean)}; expected two grey levels, low < high, within 0..255"
            )
        if self.focus is not None and not 0 <= self.focus < math.inf:
            raise ValueError(f"focus is {self.focus}; expected a finite number >= 0")


class QualityGate:
    """Looks at every frame of one source, in its thread, before detection does."""

    def __init__(self, limits: QualityLimits, box: Box | None = None) -> None:
        """`box` is what is inspected; None: the whole frame."""
        self._limits = limits
        self._box = box
        self._last: Sample | None = None
        self._equal = 1
        drift = limits.drift
        self._means = None if drift is None else (drift.mean, math.log(drift.focus))

    def look(self, frame: Frame, frozen_after: int | None) -> None:
        """Notes the frame's quality, and the reason against it among its flags.

        Args:
            frozen_after: equal frames in a row that prove a frozen source; None: files may repeat.
        """
        sample = take_sample(crop(frame.pixels, self._box))
        motion = self._motion(sample)
        covered = self._covered(sample)
        reason = self._fault(sample, covered, frozen_after)
        if reason is None:
            self._follow(sample)
        drift = self._drift()
        if reason is None and drift >= INVALID_SIGMAS:
            reason = "DRIFT"
        frame.quality = Quality(
            *(round(value, 4) for value in (sample.mean, sample.p99, sample.dark_frac, sample.sat_frac)),
            *(round(value, 4) for value in (sample.focus, motion, covered, drift)),
        )
        if reason is not None:
            frame.flags = (*frame.flags, reason)

    def _motion(self, sample: Sample) -> float:
        """Difference to the last sample; counts samples that are equal to the pixel."""
        last, self._last = self._last, sample
        if last is None or last.pixels.shape != sample.pixels.shape:
            self._equal = 1
            return 0.0
        # A live sensor never repeats its noise; 65,000 equal pixels are a repeated buffer.
        motion = cv2.norm(sample.pixels, last.pixels, cv2.NORM_L1) / sample.pixels.size
        self._equal = self._equal + 1 if motion == 0 else 1
        return motion

    def _fault(self, sample: Sample, covered: float, frozen_after: int | None) -> str | None:
        """The first thing that is wrong, causes before their effects: a black frame is out of focus too."""
        limits = self._limits
        low, high = limits.mean or (0.0, 255.0)
        cover = limits.cover
        faults = {
            "FROZEN_FRAME": frozen_after is not None and self._equal >= frozen_after,
            "TOO_DARK": _reaches(sample.dark_frac, limits.dark_frac),
            "OVEREXPOSED": _reaches(sample.sat_frac, limits.sat_frac),
            "OCCLUDED": cover is not None and covered >= cover.share,
            "OUT_OF_FOCUS": self._blurred(sample),
        }
        # A hand in the view moves the mean as well; a weak lamp takes the detail with it.
        light = "TOO_DARK" if sample.mean < low else "OVEREXPOSED" if sample.mean > high else None
        found = next((reason for reason, is_so in faults.items() if is_so), None)
        return light if light is not None and found in (None, "OUT_OF_FOCUS") else found

    def _blurred(self, sample: Sample) -> bool:
        return self._limits.focus is not None and sample.focus < self._limits.focus

    def _covered(self, sample: Sample) -> float:
        """Share of tiles with a light or, unless the whole view is blurred, a lack of detail not learnt."""
        cover = self._limits.cover
        if cover is None:
            return 0.0
        strange = np.zeros((GRID, GRID), np.bool_)
        light = sample.tile_light
        if cover.low is not None:
            strange |= light < np.asarray(cover.low)
        if cover.high is not None:
            strange |= light > np.asarray(cover.high)
        if not self._blurred(sample):
            strange |= sample.tile_focus < cover.focus
        return float(strange.mean())

    def _follow(self, sample: Sample) -> None:
        """Only sound frames move the running means: one black frame must not spoil the next twenty."""
        if self._means is not None:
            mean, focus = self._means
            log_focus = math.log(max(sample.focus, 1e-3))
            self._means = (mean + EWMA_SHARE * (sample.mean - mean), focus + EWMA_SHARE * (log_focus - focus))

    def _drift(self) -> float:
        drift = self._limits.drift
        if drift is None or self._means is None:
            return 0.0
        light = (self._means[0] - drift.mean) / drift.mean_sigma
        focus = (self._means[1] - math.log(drift.focus)) / drift.focus_sigma
        return max(abs(light), abs(focus))


def _reaches(value: float, limit: float | None) -> bool:
    return limit is not None and value >= limit
