"""Whether one way to run a bundle decides like another: labels, scores, maps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..detector import Detector
from ..precision import Parity
from .gate import GateImage

F32 = NDArray[np.float32]

ORDER = 0.99
"""Share of good images that the threshold lets pass."""
TOLERANCE = 0.02
"""By which the threshold is raised: as much as golden images may differ between two machines."""


@dataclass(frozen=True)
class Judged:
    """What one detector saw in one image."""

    score: float
    anomaly_map: F32
    """(h, w), a copy."""

    @property
    def finite(self) -> bool:
        """Score and every cell."""
        return math.isfinite(self.score) and bool(np.isfinite(self.anomaly_map).all())


def judge_all(detector: Detector, images: Iterable[GateImage]) -> list[Judged]:
    """Every image of a gate set through a detector."""
    judged = []
    for image in images:
        prediction = detector.predict(image.pixels)
        judged.append(Judged(prediction.score, prediction.anomaly_map.copy()))
    return judged


def compare(images: Sequence[GateImage], before: Sequence[Judged], after: Sequence[Judged]) -> Parity:
    """How far `after` decides like `before`, both of `images` in their order.

    Raises:
        ValueError: no good image.
    """
    good = [j.score for image, j in zip(images, before, strict=True) if image.good]
    threshold = gate_threshold(good)
    spread = float(np.std(good)) or abs(threshold) or 1.0
    shifts = [abs(b.score - a.score) / spread for a, b in zip(before, after, strict=True)]
    finite = [a.finite and b.finite for a, b in zip(before, after, strict=True)]
    flips = [
        (b.score >= threshold) != (a.score >= threshold) or not ok
        for a, b, ok in zip(before, after, finite, strict=True)
    ]
    pairs = [(a.anomaly_map, b.anomaly_map) for a, b, ok in zip(before, after, finite, strict=True) if ok]
    kept = [shift for shift, ok in zip(shifts, finite, strict=True) if ok]
    # Not finite is worse than flipped, flipped worse than moved.
    rank = [(not ok, flip, shift) for ok, flip, shift in zip(finite, flips, shifts, strict=True)]
    return Parity(
        good=len(good),
        planted=len(images) - len(good),
        threshold=threshold,
        flips=sum(flips),
        shift=max(kept, default=0.0),
        correlation=min((_correlation(a, b) for a, b in pairs), default=0.0),
        moved=max((_moved(a, b) for a, b in pairs), default=0),
        non_finite=len(finite) - sum(finite),
        worst=images[max(range(len(images)), key=lambda i: rank[i])].name,
    )


def gate_threshold(good: Sequence[float]) -> float:
    """The 99 % order statistic of the good scores, raised by what two machines may differ.

    On the order statistic itself the image that gives it would change sides at the last bit.

    Raises:
        ValueError: no good score.
    """
    if not good:
        raise ValueError("a gate needs good images")
    return sorted(good)[math.ceil(ORDER * len(good)) - 1] * (1 + TOLERANCE)


def _correlation(a: F32, b: F32) -> float:
    """Pearson's; maps that do not vary have none unless they are the same."""
    if np.array_equal(a, b):
        return 1.0
    x, y = a.ravel().astype(np.float64) - a.mean(), b.ravel().astype(np.float64) - b.mean()
    size = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / size if size > 0 else 0.0


def _moved(a: F32, b: F32) -> int:
    places = [np.unravel_index(int(np.argmax(m)), m.shape) for m in (a, b)]
    return max(abs(int(p) - int(q)) for p, q in zip(*places, strict=True))
