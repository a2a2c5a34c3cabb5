"""The one answer owed for every ticket, and the decision that gives it."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from .frame import EXPOSURE_SOURCES, Quality
from .health import Health
from .provenance import Provenance
from .reasons import REASONS
from .terms import Thresholds
from .ticket import Ticket

SAFE_INTEGER = 2**53
"""Integers below it survive every JSON reader."""


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
        if unknown:
            raise ValueError(f"reasons {unknown} unknown")
        score, pred_score = self.score or 0.0, self.pred_score or 0.0
        if not (0 <= score < math.inf and math.isfinite(self.threshold) and 0 <= pred_score <= 1):
            raise ValueError(
                f"score {self.score}, threshold {self.threshold}, pred_score {self.pred_score}: "
                "expected finite numbers, score >= 0, pred_score 0..1"
            )
        if self.outcome is not Outcome.INVALID and self.score is None:
            raise ValueError(f"{self.outcome.name} without a score")


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


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What a verdict keeps of its frame once the pixels are gone.

    Raises:
        ValueError: a number outside 0..2^53, or an unknown source of the exposure time.
    """

    frame_id: int
    width: int
    height: int
    channels: int
    gap: int
    """Frames lost since the previous inspection."""
    t_exposure_us: int
    """Wall clock, us since the Unix epoch."""
    t_exposure_src: str
    t_mono_us: int
    """Monotonic clock when the frame was dequeued, us."""
    quality: Quality | None = None

    def __post_init__(self) -> None:
        numbers = (self.frame_id, self.width, self.height, self.gap, self.t_exposure_us, self.t_mono_us)
        if self.t_exposure_src not in EXPOSURE_SOURCES or not all(0 <= n < SAFE_INTEGER for n in numbers):
            raise ValueError(
                f"frame {self.frame_id}: expected numbers within 0..2^53, found {numbers}; "
                f"and one of {EXPOSURE_SOURCES}, found {self.t_exposure_src!r}"
            )


@dataclass(frozen=True, slots=True)
class Latency:
    """How long each stage took, us on the monotonic clock; 0 for a stage that never ran."""

    wait: int
    """Ticket opened until capture takes it up."""
    acquire: int
    """Exposure, transfer, and the look at the picture's quality."""
    queue: int
    """Frame ready until detection takes it up."""
    pre: int
    """Crop, resize, normalise."""
    infer: int
    """Network."""
    post: int
    """Head."""
    publish: int
    """Prediction ready until the verdict goes out."""
    total: int
    """Ticket opened until the verdict goes out."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement with everything the line needs to believe it; checked when it is made.

    Raises:
        ValueError: a late verdict that is not INVALID, a number out of range, or an OK without a frame.
    """

    seq: int
    """Rises by exactly one per verdict and boot, from 1."""
    judgement: Judgement
    ticket: Ticket
    frame: FrameFacts | None
    """None when there was no frame to judge."""
    lat_us: Latency
    late: bool
    """It goes out after its deadline; then it is INVALID."""
    t_pub_us: int
    """Wall clock, us since the Unix epoch."""
    clock_ok: bool
    """The wall clock made no step in the last minute."""
    health: Health

    def __post_init__(self) -> None:
        overdue = self.lat_us.total > self.deadline_us
        if (self.late or overdue) and not (self.late and self.outcome is Outcome.INVALID):
            raise ValueError(
                f"{self.outcome.name} after {self.lat_us.total} of {self.deadline_us} us: must be INVALID"
            )
        if self.frame is None and self.outcome is not Outcome.INVALID:
            raise ValueError(f"{self.outcome.name} without a frame")
        spans = tuple(getattr(self.lat_us, name) for name in Latency.__slots__)
        numbers = (self.seq - 1, self.t_pub_us, self.deadline_us, *spans)
        if min(numbers) < 0 or max(numbers) >= SAFE_INTEGER:
            raise ValueError(f"seq, times and durations must be 0..2^53, found {numbers}")

    @property
    def outcome(self) -> Outcome:
        """OK, NG, INVALID or REVIEW."""
        return self.judgement.outcome

    @property
    def reasons(self) -> tuple[str, ...]:
        """Names from `REASONS`; empty only for OK."""
        return self.judgement.reasons

    @property
    def score(self) -> float | None:
        """Raw score in the bundle's unit; None when there is none."""
        return self.judgement.score

    @property
    def provenance(self) -> Provenance:
        """Recipe, engine and camera that it was judged with."""
        return self.ticket.terms.provenance

    @property
    def deadline_us(self) -> int:
        """What was promised: us from the trigger (or capture, in free run) to the verdict."""
        return self.ticket.deadline_us - self.ticket.opened_us
