"""Words every message of the station and sends it: numbers verdicts, stamps the time, keeps the totals."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, get_args

import msgspec

from ..bus.ring import Ring
from ..bus.sockets import Bus
from ..bus.wire import (
    EventMessage,
    EventName,
    Heartbeat,
    Kind,
    StateMessage,
    VerdictMessage,
    encode,
    to_message,
    topic,
)
from ..health import HealthWatch
from ..ledger import Ledger
from ..quality import WARN_SIGMAS
from ..reasons import REASONS
from ..state import State, check_move
from ..store.recorder import Recorder
from ..terms import Terms
from ..ticket import Ticket, now_us
from ..verdict import FrameFacts, Judgement, Latency, Outcome, Verdict

logger = logging.getLogger(__name__)

Severity = Literal["info", "warning", "error", "critical"]

RECENT = 1000
"""Verdicts that the deadline's headroom is measured on."""
CLOCK_STEP_US = 50_000
CLOCK_MEMORY_US = 60_000_000


class Reporter:
    """Everything that one boot of a station says on the bus."""

    def __init__(self, bus: Bus, ledger: Ledger, terms: Terms, recorder: Recorder | None = None) -> None:
        """`recorder` gets every verdict before it goes out; None: no records are kept."""
        self.state = State.PREOPERATIONAL
        self.health = HealthWatch(terms.provenance.simulated)
        self.health.loosened = terms.provenance.loosened
        self.seq = 0
        self.ring = Ring()
        self.terms = terms
        """Those of the recipe in force, for heartbeat and status; a verdict has those of its ticket."""
        self._bus, self._ledger, self._recorder = bus, ledger, recorder
        self._started_us = now_us()
        self._headrooms_us: deque[int] = deque(maxlen=RECENT)
        self._last_frame_us: int | None = None
        self._clock = ClockWatch()
        line, station = terms.provenance.line, terms.provenance.station
        self._topics = {kind: topic(kind, line, station) for kind in get_args(Kind)}

    def move(self, after: State, cause: str) -> None:
        """Changes the state and publishes it; `cause` is a reason, or says what went well."""
        check_move(self.state, after)
        often = State.SINGLE_EXECUTION in (self.state, after)
        level = logging.DEBUG if often else logging.INFO
        logger.log(level, "state %s -> %s: %s", self.state.name, after.name, cause)
        before, self.state = self.state, after
        message = StateMessage(
            **self._head(),
            before=int(before),  # type: ignore[arg-type]
            after=int(after),  # type: ignore[arg-type]
            cause=cause,
            code=REASONS.get(cause, 0),
            health=self.health.at(now_us()),
            head_seq=self.seq,
        )
        self._send("state", message)

    def verdict(
        self,
        ticket: Ticket,
        judgement: Judgement,
        frame: FrameFacts | None,
        spans: dict[str, int],
        now: int,
    ) -> Verdict:
        """Publishes the verdict of a ticket that the ledger has just closed, at `now`.

        Args:
            spans: the fields of `Latency` but `total`, us; what is missing is 0.
            now: the moment for which the ledger found it late or not, so that both agree.
        """
        self.health.judged(judgement.outcome is Outcome.INVALID)
        lat_us = Latency(**{name: spans.get(name, 0) for name in SPANS}, total=max(0, now - ticket.opened_us))
        verdict = Verdict(
            seq=self.seq + 1,
            judgement=judgement,
            ticket=ticket,
            frame=frame,
            lat_us=lat_us,
            late=now > ticket.deadline_us,
            t_pub_us=time.time_ns() // 1000,
            clock_ok=self._clock.ok(now),
            health=self.health.at(now),
        )
        payload = self._record(to_message(verdict, self._ledger.counters), ticket.deadline_us - now)
        self._bus.publish(self._topics["verdict"], payload)
        self.seq += 1  # a verdict that cannot be encoded leaves no gap
        self.ring.add(self.seq, ticket.result_id, payload)
        self._headrooms_us.append(verdict.deadline_us - lat_us.total)
        return verdict

    def seen(self, frame: FrameFacts) -> None:
        """Notes that a frame came, and whether its picture drifts."""
        self._last_frame_us = frame.t_mono_us
        self.health.drifting = frame.quality is not None and frame.quality.drift >= WARN_SIGMAS

    def frame_age_us(self, now: int) -> int | None:
        """How long ago the last frame came; None before the first."""
        return None if self._last_frame_us is None else max(0, now - self._last_frame_us)

    def heartbeat(self, queue_depth: int) -> None:
        """Publishes a sign of life with what a client needs to find a lost last verdict."""
        now = now_us()
        self.health.clock_ok = self._clock.ok(now)
        message = Heartbeat(
            **self._head(),
            head_seq=self.seq,
            state=int(self.state),  # type: ignore[arg-type]
            health=self.health.at(now),
            uptime_us=now - self._started_us,
            inflight=self._ledger.inflight,
            queue_depth=queue_depth,
            last_frame_age_us=self.frame_age_us(now),
            deadline_headroom_us=min(self._headrooms_us, default=None),
            recipe=self.terms.provenance.recipe,
            counters=self._ledger.counters,
        )
        self._send("hb", message)

    def event(
        self,
        name: EventName,
        severity: Severity,
        detail: str,
        reason: str = "",
        result_id: str | None = None,
        score: float | None = None,
        request_id: str | None = None,
    ) -> None:
        """Publishes something worth a record; `reason` is a name from `REASONS` or empty."""
        message = EventMessage(
            **self._head(),
            event=name,
            severity=severity,
            code=REASONS.get(reason, 0),
            detail=detail,
            result_id=result_id,
            score=score,
            request_id=request_id,
        )
        self._send("event", message)

    def status(self) -> dict[str, Any]:
        """Result of the control verb `status`."""
        source, now = self.terms.provenance, now_us()
        return {
            "line": source.line,
            "station": source.station,
            "state": int(self.state),
            "health": msgspec.to_builtins(self.health.at(now)),
            "head_seq": self.seq,
            "inflight": self._ledger.inflight,
            "counters": msgspec.to_builtins(self._ledger.counters),
            "deadline_us": self.terms.deadline_us,
            "uptime_us": now - self._started_us,
            "recipe": msgspec.to_builtins(source.recipe),
            "engine": msgspec.to_builtins(source.engine),
            "simulated": source.simulated,
        }

    def _head(self) -> dict[str, Any]:
        source = self.terms.provenance
        return {
            "line": source.line,
            "station": source.station,
            "boot_id": source.boot_id,
            "t_pub_us": time.time_ns() // 1000,
        }

    def _record(self, message: VerdictMessage, left_us: int) -> bytes:
        """The verdict as it goes out, its row stored first where that does not take too long."""
        if self._recorder is None:
            return encode(message)
        payload = encode(msgspec.structs.replace(message, stored="yes"))
        stored = self._recorder.save(message, payload, left_us)
        return payload if stored == "yes" else encode(msgspec.structs.replace(message, stored=stored))

    def _send(self, kind: Kind, message: msgspec.Struct) -> bytes:
        payload = encode(message)
        self._bus.publish(self._topics[kind], payload)
        return payload


SPANS = ("wait", "acquire", "queue", "pre", "infer", "post", "publish")


def wall_offset_us() -> int:
    """Wall clock less monotonic clock, us."""
    return time.time_ns() // 1000 - now_us()


class ClockWatch:
    """Sees steps of the wall clock, by its distance to the monotonic one."""

    def __init__(self, offset_us: Callable[[], int] = wall_offset_us) -> None:
        self._read_us = offset_us
        self._offset_us = offset_us()
        self._stepped_us: int | None = None

    def ok(self, now: int) -> bool:
        """False for a minute after a step of more than `CLOCK_STEP_US`; slow corrections are fine."""
        offset_us = self._read_us()
        if abs(offset_us - self._offset_us) > CLOCK_STEP_US:
            self._stepped_us = now
        self._offset_us = offset_us
        return self._stepped_us is None or now - self._stepped_us > CLOCK_MEMORY_US
