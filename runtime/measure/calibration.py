"""A threshold from the scores of good parts, for a wanted rate of false rejects.

With n good scores in ascending order x_(1) .. x_(n) and the threshold just above x_(k), the share of future
good parts at or above it is Beta(n + 1 - k, k) distributed, whatever the distribution of the scores, as long
as past and future parts are drawn alike and independently. Its mean is (n + 1 - k) / (n + 1).
Source: Wilks, "Determination of sample sizes for setting tolerance limits", 1941; David and Nagaraja,
"Order Statistics", 2003, section 2.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..errors import ConfigError


@dataclass(frozen=True)
class Calibration:
    """A threshold and what is known about it."""

    threshold: float
    """Just above x_(k): that image itself is still OK."""
    score_scale: float | None
    """4 x (threshold - median of the good scores): a median good part reads pred_score 0.25, one as far above
    the threshold 0.75. None when all good scores are alike; `decide` then takes 2 x threshold."""
    images: int
    """n."""
    order: int
    """k."""
    rejected: int
    """Good images of these at or above the threshold; fewer than n - k where scores are tied."""
    wanted: float
    """The rate asked for."""
    expected: float
    """Mean rate of false rejects, (n + 1 - k) / (n + 1)."""
    low: float
    """2.5 % quantile of the true rate."""
    high: float
    """97.5 % quantile of the true rate: the figure to plan with."""
    median: float
    """Of the good scores."""
    greatest: float
    """Of the good scores."""


def calibrate(scores: Sequence[float], false_reject: float) -> Calibration:
    """The lowest threshold whose expected rate of false rejects is at most the wanted one.

    Raises:
        ConfigError: the rate is outside 0..1, or needs more images.
        ValueError: a score is negative or not finite.
    """
    if not all(math.isfinite(score) and score >= 0 for score in scores):
        raise ValueError("a good score is negative or not finite")
    needed, n = needed_images(false_reject), len(scores)
    if n < needed:
        can = f"{n} can support a rate of {1 / (n + 1):.3g}" if n else "none were given"
        raise ConfigError(
            f"a false-reject rate of {false_reject:g} needs at least {needed} good images; "
            f"{can}: give more images or a higher --false-reject"
        )
    ordered = sorted(float(score) for score in scores)
    k = math.ceil((n + 1) * (1 - _exact(false_reject)))
    threshold, median = math.nextafter(ordered[k - 1], math.inf), _median(ordered)
    low, high = (beta_quantile(q, n + 1 - k, k) for q in (0.025, 0.975))
    expected = (n + 1 - k) / (n + 1)
    scale = _scale(threshold, median)
    rejected = sum(score >= threshold for score in ordered)
    return Calibration(
        threshold, scale, n, k, rejected, false_reject, expected, low, high, median, ordered[-1]
    )


def needed_images(false_reject: float) -> int:
    """Least number of good images for a wanted rate p: n >= (1 - p) / p.

    Raises:
        ConfigError: the rate is not between 0 and 1.
    """
    if not 0 < false_reject < 1:
        raise ConfigError(f"--false-reject is {false_reject}; expected a rate between 0 and 1, such as 0.01")
    rate = _exact(false_reject)
    return math.ceil((1 - rate) / rate)


def beta_quantile(q: float, a: int, b: int) -> float:
    """The x at which Beta(a, b) has the share q below it, for whole a, b >= 1; to 1e-12."""
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if beta_cdf(middle, a, b) < q else (low, middle)
    return (low + high) / 2


def beta_cdf(x: float, a: int, b: int) -> float:
    """Share of Beta(a, b) below x, for whole a, b >= 1: P(Binomial(a + b - 1, x) >= a), exact sum."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    n = a + b - 1
    whole = math.lgamma(n + 1)
    # The shorter tail: fewer terms, and small ones do not drown.
    upper = range(a, n + 1) if a > n / 2 else range(a)
    logs = (
        whole - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * math.log(x) + (n - i) * math.log1p(-x)
        for i in upper
    )
    tail = math.fsum(math.exp(log) for log in logs)
    return min(1.0, tail if a > n / 2 else 1 - tail)


def _exact(rate: float) -> Fraction:
    """The rate as it was typed: 0.01 is 1/100, so that 99 images are enough and not one more."""
    return Fraction(repr(float(rate)))


def _median(ordered: Sequence[float]) -> float:
    n = len(ordered)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


def _scale(threshold: float, median: float) -> float | None:
    spread = threshold - median
    # Below a millionth of the threshold the spread is float32 rounding.
    return 4 * spread if spread > 1e-6 * threshold else None
