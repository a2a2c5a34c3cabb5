"""What the line's own list says of a station: which part got which answer, and was it the right one.

Pure bookkeeping on the consumer's side, with the consumer's clock; it knows nothing of the station but the
verdicts that came out of it.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from ..sources.defects import Defect

GRACE_US = 1_000_000
"""So long after its deadline an answer that has not come is called missing."""
RECENT = 1000
"""Latencies that the running figures are taken from; the final ones are taken from all."""
KEPT = 6
"""Last answers kept for people, of each sort."""


class LatencyFigures(msgspec.Struct, frozen=True):
    """From the trigger's departure to the verdict's arrival at the line, ms; null before the first."""

    p50: float | None
    p99: float | None
    p999: float | None


class Score(msgspec.Struct, frozen=True):
    """How the station did, as `gonogo demo --json` writes it."""

    triggers: int
    """Parts that were there."""
    verdicts: int
    """Parts that got an answer."""
    escapes: int
    """Defective parts that passed."""
    false_rejects: int
    """Good parts that did not pass, whatever the reason; not those that got no answer."""
    late: int
    """Answers that arrived after the deadline."""
    missing: int
    """Parts without an answer."""
    duplicated: int
    """Answers too many: a second one to the same part, or one to no part of the list."""
    fps: float
    """Answered parts per second, by the triggers of the first and the last of them."""
    latency_ms: LatencyFigures

    @property
    def kept(self) -> bool:
        """Whether the promise was kept: one answer to each part, in time."""
        return self.missing == self.duplicated == self.late == 0


@dataclass(frozen=True, slots=True)
class Part:
    """What the line knows of a part before it is judged."""

    trigger_id: int
    """From 1, rising by one."""
    defects: tuple[Defect, ...]
    """The truth."""
    issued_us: int
    """When its trigger left, monotonic us."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A part and its first answer."""

    part: Part
    verdict: dict[str, Any]
    """The message."""
    latency_us: int
    passed: bool
    """OK and in time: the only way past the gate."""

    @property
    def escape(self) -> bool:
        """A defective part passed."""
        return self.passed and bool(self.part.defects)

    @property
    def false_reject(self) -> bool:
        """A good part did not pass."""
        return not self.passed and not self.part.defects


class Scorecard:
    """Takes the parts in order, the verdicts as they come."""

    def __init__(self, deadline_us: int) -> None:
        """`deadline_us`: after its trigger an answer is of no more use."""
        self.deadline_us = deadline_us
        self.defective = 0
        """Parts with a defect so far."""
        self.invalid = 0
        """Answers INVALID so far."""
        self.recent: deque[Answered] = deque(maxlen=KEPT)
        """The last answers."""
        self.notable: deque[Answered] = deque(maxlen=KEPT)
        """The last to a part that had a defect, or did not pass."""
        self._triggers = 0
        self._open: dict[int, Part] = {}
        self._latencies_us = array("q")
        self._escapes = self._false_rejects = self._late = self._surplus = 0
        self._first_us = self._last_us = 0

    def issue(self, part: Part) -> None:
        """Notes a part whose trigger leaves now.

        Raises:
            ValueError: the list has a gap or a repetition.
        """
        if part.trigger_id != self._triggers + 1:
            raise ValueError(f"part {part.trigger_id} after {self._triggers}: numbers rise by one")
        self._triggers += 1
        self._open[part.trigger_id] = part
        self.defective += bool(part.defects)

    def take(self, verdict: dict[str, Any], now_us: int) -> None:
        """Notes a verdict that arrived at `now_us`."""
        part = self._open.pop(verdict["trigger_id"], None)
        if part is None:
            self._surplus += 1
        else:
            self._settle(part, verdict, now_us)

    def _settle(self, part: Part, verdict: dict[str, Any], now_us: int) -> None:
        latency_us = now_us - part.issued_us
        late = latency_us > self.deadline_us
        answered = Answered(part, verdict, latency_us, verdict["verdict"] == "OK" and not late)
        self._first_us = self._first_us or part.issued_us
        self._last_us = max(self._last_us, part.issued_us)
        self._latencies_us.append(latency_us)
        self._late += late
        self._escapes += answered.escape
        self._false_rejects += answered.false_reject
        self.invalid += verdict["verdict"] == "INVALID"
        self.recent.append(answered)
        if part.defects or not answered.passed:
            self.notable.append(answered)

    def waiting(self) -> int:
        """Parts that have no answer yet."""
        return len(self._open)

    def score(self, now_us: int | None = None) -> Score:
        """The score at `now_us`; None: nothing more is to come, and what is open is missing."""
        verdicts = len(self._latencies_us)
        span_us = self._last_us - self._first_us
        latencies = self._latencies_us if now_us is None else self._latencies_us[-RECENT:]
        return Score(
            triggers=self._triggers,
            verdicts=verdicts,
            escapes=self._escapes,
            false_rejects=self._false_rejects,
            late=self._late,
            missing=sum(self._given_up(part, now_us) for part in self._open.values()),
            duplicated=self._surplus,
            fps=round(1e6 * (verdicts - 1) / span_us, 3) if span_us else 0.0,
            latency_ms=_figures(latencies),
        )

    def _given_up(self, part: Part, now_us: int | None) -> bool:
        return now_us is None or now_us - part.issued_us > self.deadline_us + GRACE_US


def _figures(latencies_us: array[int]) -> LatencyFigures:
    """Nearest rank: a latency that was really seen, never one between two."""
    if not latencies_us:
        return LatencyFigures(None, None, None)
    ordered = np.sort(np.array(latencies_us))
    # Whole numbers throughout: 99.9 % of 1000 in floats is a hair above 999.
    ranks = [-(-len(ordered) * per_mille // 1000) for per_mille in (500, 990, 999)]
    return LatencyFigures(*(float(ordered[rank - 1]) / 1000 for rank in ranks))
