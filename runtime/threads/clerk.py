"""Answers tickets: what became of a frame -> one verdict on the bus and to the sinks."""

from __future__ import annotations

import logging
from dataclasses import replace

from ..frame import Frame
from ..ledger import Ledger
from ..sink import View
from ..ticket import Ticket, now_us
from ..verdict import FrameFacts, Judgement, Outcome, Verdict, decide, invalid
from .deliver import Sinks
from .notes import Result
from .reporter import Reporter

logger = logging.getLogger(__name__)

UNSENDABLE = (ValueError, TypeError, OverflowError)
"""What wording a verdict raises when something in it is no number that a message can carry."""


class Clerk:
    """The only one who closes tickets and releases judged frames; lives in the publish thread."""

    def __init__(self, ledger: Ledger, reporter: Reporter, sinks: Sinks) -> None:
        self._ledger, self._reporter, self._sinks = ledger, reporter, sinks

    def settle(self, result: Result) -> None:
        """Closes the ticket of a result; its frame is released here, or once the sinks have seen it."""
        verdict = None
        try:
            verdict = self._answer(result)
        finally:
            if verdict is None and result.frame is not None:
                result.frame.release()
        if verdict is not None:
            self._sinks.send(verdict, View(result.frame, result.prediction))

    def close_due(self) -> None:
        """Answers every ticket whose deadline has come."""
        now = now_us()
        for ticket in self._ledger.close_due(now):
            self._send_invalid(ticket, "DEADLINE_MISSED", now)

    def close_all(self, reason: str) -> None:
        """Answers every ticket that is still open."""
        now = now_us()
        for ticket in self._ledger.close_all():
            self._send_invalid(ticket, reason, now)

    def _answer(self, result: Result) -> Verdict | None:
        """The verdict that went out; None when the ticket was closed before, or it went out without frame."""
        try:
            frame = None if result.frame is None else frame_facts(result.frame)
        except UNSENDABLE:
            logger.exception("frame of ticket %d cannot be told of", result.ticket.number)
            frame, result = None, replace(result, reasons=("WRONG_FORMAT",))
        if frame is not None:
            self._reporter.seen(frame)
        judgement = _judge(result)
        now = now_us()
        closing = self._ledger.close(result.ticket.number, judgement.outcome, now)
        if closing is None:
            self._report_late(result, judgement, None)
            return None
        if closing.late:
            self._report_late(result, judgement, closing.ticket)
            judgement = _too_late(judgement)
        if "QUEUE_FULL" in judgement.reasons:
            self._reporter.health.pressed(now)
        spans = _spans(closing.ticket, result, now)
        try:
            return self._reporter.verdict(closing.ticket, judgement, frame, spans, now)
        except UNSENDABLE:
            logger.exception("verdict of ticket %d cannot be sent", result.ticket.number)
            self._ledger.amend(closing, judgement.outcome)
            self._send_invalid(closing.ticket, "INFER_FAILED", now)
            return None

    def _report_late(self, result: Result, judgement: Judgement, ticket: Ticket | None) -> None:
        """What came too late to count is told all the same, if it was a score."""
        if not result.reasons:
            detail = f"ticket {result.ticket.number} would have been {judgement.outcome.name}"
            result_id = None if ticket is None else ticket.result_id
            self._reporter.event(
                "late_result", "warning", detail, "DEADLINE_MISSED", result_id, judgement.score
            )

    def _send_invalid(self, ticket: Ticket, reason: str, now: int) -> None:
        judgement = invalid(reason, ticket.terms.thresholds)
        if now > ticket.deadline_us:
            judgement = _too_late(judgement)
        self._sinks.send(self._reporter.verdict(ticket, judgement, None, {}, now), View())


def frame_facts(frame: Frame) -> FrameFacts:
    """What a verdict keeps of a frame."""
    height, width = frame.pixels.shape[:2]
    return FrameFacts(
        frame_id=int(frame.frame_id),
        width=width,
        height=height,
        channels=1 if frame.pixels.ndim == 2 else frame.pixels.shape[2],
        gap=int(frame.gap),
        t_exposure_us=int(frame.t_exposure_us),
        t_exposure_src=frame.t_exposure_src,
        t_mono_us=int(frame.t_mono_us),
        quality=frame.quality,
    )


def _judge(result: Result) -> Judgement:
    thresholds = result.ticket.terms.thresholds
    if not result.reasons:
        return decide(result.score, thresholds)
    return replace(invalid(result.reasons[0], thresholds), reasons=result.reasons)


def _too_late(judgement: Judgement) -> Judgement:
    """The same, INVALID; a fault that was known before the deadline stays the first reason."""
    known = judgement.reasons if judgement.outcome is Outcome.INVALID else ()
    reasons = (*known, *(() if "DEADLINE_MISSED" in known else ("DEADLINE_MISSED",)))
    return replace(judgement, outcome=Outcome.INVALID, reasons=reasons, pred_score=None)


def _spans(ticket: Ticket, result: Result, now: int) -> dict[str, int]:
    """Durations of the stages that ran, us; never negative, since the moments come from several threads."""
    moments = {
        "wait": (ticket.opened_us, result.taken_us),
        "acquire": (result.taken_us, result.ready_us),
        "queue": (result.ready_us, result.begun_us),
        "publish": (result.done_us, now),
    }
    spans = {k: max(0, b - a) for k, (a, b) in moments.items() if a is not None and b is not None}
    return {**result.stage_us, **spans}
