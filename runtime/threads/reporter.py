"""Words every message of the station and sends it: numbers verdicts, stamps the time, keeps the totals."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from ..bus.sockets import Bus
from ..bus.wire import EventMessage, Heartbeat, StateMessage, encode, to_message, topic
from ..health import HealthWatch
from ..ledger import Ledger
from ..provenance import Provenance
from ..quality import WARN_SIGMAS
from ..reasons import REASONS
from ..state import State, check_move
from ..ticket import Ticket, now_us
from ..verdict import FrameFacts, Judgement, Latency, Outcome, Verdict

Severity = Literal["info", "warning", "error", "critical"]
EventName = Literal["late_result", "camera_lost", "camera_back", "sink_failed", "thread_hung"]

RECENT = 1000
"""Verdicts that the deadline's headroom is measured on."""
CLOCK_STEP_US = 50_000
CLOCK_MEMORY_US = 60_000_000


class Reporter:
    """Everything that one boot of a station says on the bus."""

    def __init__(self, bus: Bus, ledger: Ledger, provenance: Provenance, deadline_us: int) -> None:
        self.state = State.PREOPERATIONAL
        self.health = HealthWatch(provenance.simulated)
        self.seq = 0
        self._bus, self._ledger, self._provenance = bus, ledger, provenance
        self._deadline_us = deadline_us
        self._started_us = now_us()
        self._recent_us: deque[int] = deque(maxlen=RECENT)
        self._last_frame_us: int | None = None
        self._clock = ClockWatch()
        line, station = provenance.line, provenance.station
        self._topics = {kind: topic(kind, line, station) for kind in ("verdict", "state", "hb", "event")}

    def move(self, after: State, cause: str) -> None:
        """Changes the state and publishes it; `cause` is a reason, or says what went well."""
        check_move(self.state, after)
        before, self.state = self.state, after
        message = StateMessage(
            **self._head(),
            before=int(before),  # type: ignore[arg-type]
            after=int(after),  # type: ignore[arg-type]
            cause=cause,
            code=REASONS.get(cause, 0),
            health=self.health.at(now_us()),
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
        self.seq += 1
        lat_us = Latency(**{name: spans.get(name, 0) for name in SPANS}, total=max(0, now - ticket.opened_us))
        verdict = Verdict(
            seq=self.seq,
            judgement=judgement,
            ticket=ticket,
            frame=frame,
            lat_us=lat_us,
            late=now > ticket.deadline_us,
            t_pub_us=time.time_ns() // 1000,
            clock_ok=self._clock.ok(now),
            health=self.health.at(now),
            provenance=self._provenance,
        )
        self._send("verdict", to_message(verdict, self._ledger.counters))
        self._recent_us.append(lat_us.total)
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
            deadline_headroom_us=self._deadline_us - max(self._recent_us) if self._recent_us else None,
            recipe=self._provenance.recipe,
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
        )
        self._send("event", message)

    def status(self) -> dict[str, Any]:
        """Result of the control verb `status`."""
        source, now = self._provenance, now_us()
        return {
            "line": source.line,
            "station": source.station,
            "state": int(self.state),
            "health": msgspec.to_builtins(self.health.at(now)),
            "head_seq": self.seq,
            "inflight": self._ledger.inflight,
            "counters": msgspec.to_builtins(self._ledger.counters),
            "deadline_us": self._deadline_us,
            "uptime_us": now - self._started_us,
            "recipe": msgspec.to_builtins(source.recipe),
            "engine": msgspec.to_builtins(source.engine),
            "simulated": source.simulated,
        }

    def _head(self) -> dict[str, Any]:
        source = self._provenance
        return {
            "line": source.line,
            "station": source.station,
            "boot_id": source.boot_id,
            "t_pub_us": time.time_ns() // 1000,
        }

    def _send(self, kind: str, message: msgspec.Struct) -> None:
        self._bus.publish(self._topics[kind], encode(message))


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
