"""On what a part is judged: thresholds and deadline, and the names that its verdict will carry."""

from __future__ import annotations

from dataclasses import dataclass

from .images.sample import Box
from .provenance import Provenance
from .quality import QualityLimits


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The part of a recipe that `decide` needs; all in the bundle's score unit.

    Raises:
        ValueError: a number that is not finite and > 0, or a review band that is none.
    """

    threshold: float
    review_threshold: float | None = None
    score_scale: float | None = None
    """Score units per 1.0 of pred_score; None: 2 x threshold."""

    def __post_init__(self) -> None:
        numbers = (self.threshold, self.review_threshold, self.score_scale)
        in_order = self.review_threshold is None or self.review_threshold < self.threshold
        if not (in_order and all(n is None or 0 < n < float("inf") for n in numbers)):
            raise ValueError(
                f"threshold, review_threshold and score_scale are {numbers}; "
                "expected finite numbers > 0, review_threshold below threshold"
            )

    @property
    def least(self) -> float:
        """Score from which on a part is not OK."""
        return self.threshold if self.review_threshold is None else self.review_threshold


@dataclass(frozen=True, slots=True)
class Terms:
    """Fixed for a ticket when it is opened: a recipe that comes later changes nothing about it."""

    provenance: Provenance
    thresholds: Thresholds
    deadline_us: int
    """From the trigger (or capture, in free run) to the verdict."""
    frame_wait_ms: int
    """How long a trigger waits for its frame."""
    quality: QualityLimits | None = None
    """Limits of a sound picture; None: no frame is looked at before detection."""
    box: Box | None = None
    """What is inspected; None: the whole frame."""
