"""The one answer owed for every ticket, and the decision that gives it."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from .reasons import REASONS


class Outcome(enum.Enum):
    """What the line does with the part; only OK lets it pass."""

    OK = 1
    NG = 2
    INVALID = 3
    """Could not decide: a fault, never a property of the part."""
    REVIEW = 4
    """Between the two thresholds of a review band."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Outcome of one part with its score, before it meets ticket, sequence and clock."""

    outcome: Outcome
    reasons: tuple[str, ...]
    """Names from `REASONS`; empty only for OK."""
    score: float | None
    """Finite and >= 0 in the bundle's unit; None when there is none."""
    threshold: float
    """Threshold in force, same unit."""
    pred_score: float | None
    """Normalised score, 0..1, 0.5 = threshold."""

    def __post_init__(self) -> None:
        if (self.outcome is Outcome.OK) == bool(self.reasons):
            raise ValueError(
                f"{self.outcome.name} with reasons {self.reasons}: reasons are empty only for OK"
            )
        unknown = [name for name in self.reasons if name not in REASONS]
        numbers = (self.score, self.threshold, self.pred_score)
        if unknown or not all(n is None or math.isfinite(n) for n in numbers):
            raise ValueError(f"reasons {unknown} unknown, or a number of {numbers} not finite")
        if self.outcome is not Outcome.INVALID and self.score is None:
            raise ValueError(f"{self.outcome.name} without a score")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The part of a recipe that `decide` needs; all in the bundle's score unit."""

    threshold: float
    review_threshold: float | None = None
    score_scale: float | None = None
    """Score units per 1.0 of pred_score; None: 2 x threshold."""


def decide(score: float, thresholds: Thresholds) -> Judgement:
    """Judges a score: NG at and above the threshold, REVIEW inside the band, else OK; INVALID if not finite.

    The comparisons are written so that NaN cannot pass as OK.
    """
    if not (math.isfinite(score) and score >= 0):
        return invalid("NON_FINITE_SCORE", thresholds)
    review = thresholds.review_threshold
    normal = score < thresholds.threshold
    clear = normal and (review is None or score < review)
    outcome = Outcome.OK if clear else Outcome.REVIEW if normal else Outcome.NG
    reasons = () if clear else ("SCORE_OVER_THRESHOLD",)
    scale = thresholds.score_scale or 2 * thresholds.threshold
    pred_score = min(1.0, max(0.0, 0.5 + (score - thresholds.threshold) / scale))
    return Judgement(outcome, reasons, score, thresholds.threshold, pred_score)


def invalid(reason: str, thresholds: Thresholds, score: float | None = None) -> Judgement:
    """A judgement that says why none could be made; `reason` is a name from `REASONS`."""
    return Judgement(Outcome.INVALID, (reason,), score, thresholds.threshold, None)
