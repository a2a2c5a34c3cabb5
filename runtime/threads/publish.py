"""The publish thread: owns ledger and sockets, gives every ticket its verdict, and is the last to leave."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from ..bus.control import Control
from ..bus.sockets import Bus
from ..bus.wire import TriggerArgs
from ..health import SILENCE_US
from ..ids import new_ulid
from ..ledger import Counters, Ledger
from ..settings import Settings
from ..sink import Sink, Sinks
from ..state import RUNNING, State
from ..ticket import Ticket, now_us
from .clerk import Clerk
from .notes import CameraBack, CameraLost, Ended, Links, Note, Opened, Request, Result, Started
from .reporter import Reporter

logger = logging.getLogger(__name__)

CAUSE_AT_START = {"capture": "CAMERA_LOST", "detect": "ENGINE_UNAVAILABLE"}
"""Thread that could not open its thing -> why the station is in ERROR."""
CAUSE_LATER = {"capture": "CAMERA_LOST", "detect": "INFER_FAILED"}
"""Thread that a fault ended later -> the same, and the reason of every ticket still open."""


class Publish:
    """One thread around the sockets; also the desk that control talks to."""

    def __init__(
        self, settings: Settings, bus: Bus, links: Links, sinks: Sequence[Sink], on_ready: Callable[[], None]
    ) -> None:
        self._settings, self._bus, self._links, self._on_ready = settings, bus, links, on_ready
        self._ledger = Ledger()
        self._reporter = Reporter(bus, self._ledger, settings.provenance, settings.deadline_us)
        self._sinks = Sinks(sinks, lambda what: self._reporter.event("sink_failed", "error", what))
        self._clerk = Clerk(self._ledger, self._reporter, settings.thresholds, self._sinks)
        self._control = Control(self, settings.provenance.boot_id)
        self._numbers = itertools.count(1)
        self._starting, self._alive = {"capture", "detect"}, {"capture", "detect"}
        self._stop_by_us: int | None = None
        self._hurry_us: int | None = None
        self._next_beat_us = now_us()
        self.counters: Counters = self._ledger.counters
        """Totals; replaced as a whole, so that other threads may read it."""
        self.error: Exception | None = None
        """What ended the run, if a fault did."""

    @property
    def state(self) -> State:
        """State now."""
        return self._reporter.state

    @property
    def hung(self) -> tuple[str, ...]:
        """Threads that have not left, though they had opened their thing."""
        return tuple(sorted(self._alive - self._starting))

    def serve(self) -> None:
        """Runs until everything is answered and the others have left, or `stop_timeout_ms` is over."""
        self._bus.watch(self._links.inbox.fileno())
        while not self._finished():
            try:
                self._turn()
            except Exception as error:  # a bug of ours: every ticket is answered all the same
                self._fail(error, "STOPPING")
        self._leave()

    def _turn(self) -> None:
        """Waits for something to do, and does it."""
        asked = self._bus.wait(self._wait_ms())
        for _ in range(len(self._links.inbox)):
            note = self._links.inbox.get(0)
            assert note is not None
            self._take(note)
        if asked:
            for frames in self._bus.requests():
                self._bus.reply(self._control.answer(frames))
        self._clerk.close_due()
        self._hurry()
        self._beat()
        self.counters = self._ledger.counters

    def _leave(self) -> None:
        """Answers every ticket that is still open, and ends the boot."""
        self._clerk.close_all("STOPPING")
        self.counters = self._ledger.counters
        self._links.inbox.close()
        for note in self._links.inbox.drain():
            self._take(note)
        for thread in self.hung:
            self._reporter.event("thread_hung", "error", f"thread {thread} did not end in time")
        if self.state is not State.ERROR:
            self._move(State.ERROR if self._alive else State.HALTED, "STOPPED")
        self._sinks.close()

    # What the clock brings.

    def _finished(self) -> bool:
        if self._stop_by_us is None:
            return False
        answered = not self._alive and self._ledger.inflight == 0 and len(self._links.inbox) == 0
        return answered or now_us() >= self._stop_by_us

    def _wait_ms(self) -> int:
        """Until the next thing that the clock brings, rounded up so that it is due then."""
        times = (self._next_beat_us, self._ledger.next_deadline_us(), self._hurry_us, self._stop_by_us)
        left_us = min(t for t in times if t is not None) - now_us()
        return max(0, -(-left_us // 1000))

    def _beat(self) -> None:
        now = now_us()
        if now < self._next_beat_us:
            return
        # After a stall one beat goes out, not all that were missed.
        self._next_beat_us = max(self._next_beat_us + 1000 * self._settings.heartbeat_ms, now)
        age_us = self._reporter.frame_age_us(now)
        free = self.state is State.CONTINUOUS_EXECUTION
        self._reporter.health.silent = free and age_us is not None and age_us > SILENCE_US
        self._reporter.health.sink_failed = self._sinks.failed
        self._reporter.heartbeat(len(self._links.frames))

    # What the other threads tell.

    def _take(self, note: Note) -> None:
        if isinstance(note, Result):
            self._clerk.settle(note)
        elif isinstance(note, Opened):
            self._ledger.open(note.ticket)
        elif isinstance(note, Started):
            self._starting.discard(note.thread)
            self._become_ready("STARTED")
        elif isinstance(note, CameraLost):
            self._lose_camera(note.detail)
        elif isinstance(note, CameraBack):
            self._reporter.health.camera_lost = False
            self._reporter.event("camera_back", "info", "the camera is open again")
            self._become_ready("CAMERA_BACK")
        elif isinstance(note, Ended):
            self._part_with(note)
        else:
            self._begin_stop("STOPPING")

    def _become_ready(self, cause: str) -> None:
        if self._starting or self._stop_by_us is not None or self.state is not State.PREOPERATIONAL:
            return
        free = self._settings.trigger == "free_run"
        self._move(State.CONTINUOUS_EXECUTION if free else State.READY, cause)
        if free and cause == "STARTED":
            self._links.requests.put(Request(None), 0)
        self._on_ready()

    def _lose_camera(self, detail: str) -> None:
        self._reporter.health.camera_lost = True
        if self.state in RUNNING:
            self._move(State.PREOPERATIONAL, "CAMERA_LOST")
        self._reporter.event("camera_lost", "error", detail, "CAMERA_LOST")

    def _part_with(self, note: Ended) -> None:
        self._alive.discard(note.thread)
        if note.error is not None:
            causes = CAUSE_AT_START if note.thread in self._starting else CAUSE_LATER
            self._fail(note.error, causes[note.thread])
        elif note.thread == "capture":  # detection only follows it, and says nothing about why
            self._begin_stop("STOPPING" if self._links.requests.closed else "SOURCE_END")
            self._give_up_requests("STOPPING")

    # How it ends.

    def _begin_stop(self, cause: str) -> None:
        """No more triggers; what is in flight is finished."""
        if self._stop_by_us is not None:
            return
        now, half_us = now_us(), 500 * self._settings.stop_timeout_ms
        self._hurry_us, self._stop_by_us = now + half_us, now + 2 * half_us
        if self.state in RUNNING:
            self._move(State.PREOPERATIONAL, cause)
        self._links.requests.close()

    def _hurry(self) -> None:
        """Halfway through the stop, frames still queued are given up, and capture is not kept waiting."""
        if self._hurry_us is not None and now_us() >= self._hurry_us:
            self._hurry_us = None
            self._give_up_frames("STOPPING")

    def _give_up_requests(self, reason: str) -> None:
        """Answers what was accepted and never taken up, capture having left."""
        for request in self._links.requests.drain():
            if request.ticket is not None:
                self._clerk.settle(Result(request.ticket.number, (reason,)))

    def _give_up_frames(self, reason: str) -> None:
        self._links.frames.close()
        for shot in self._links.frames.drain():
            given_up = Result(
                shot.number, (reason,), frame=shot.frame, taken_us=shot.taken_us, ready_us=shot.ready_us
            )
            self._clerk.settle(given_up)

    def _fail(self, error: Exception, cause: str) -> None:
        """A fault that the run does not survive: says so, answers everything, and stops."""
        if self.error is None:
            self.error = error  # `Pipeline.join` raises it: whoever waits there is told, once
        else:
            logger.debug("after the fault that ends the run: %s", error, exc_info=error)
        if self.state is not State.ERROR:
            self._move(State.ERROR, cause)
        self._clerk.close_all(cause)
        self._begin_stop(cause)
        self._links.requests.drain()
        self._give_up_frames(cause)

    def _move(self, state: State, cause: str) -> None:
        logger.info("state %s -> %s: %s", self.state.name, state.name, cause)
        self._reporter.move(state, cause)

    # The desk of control.

    def status(self) -> dict[str, Any]:
        """As in `Desk`."""
        more = {"queue_depth": len(self._links.frames), "trigger": self._settings.trigger}
        return {**self._reporter.status(), **more}

    def accept(self, args: TriggerArgs) -> Ticket | str:
        """As in `Desk`."""
        if self._settings.trigger == "free_run":
            return "WRONG_STATE"
        if self.state is not State.READY:
            return "NOT_READY"
        opened_us = now_us()
        ticket = Ticket(
            number=next(self._numbers),
            opened_us=opened_us,
            deadline_us=opened_us + self._settings.deadline_us,
            result_id=new_ulid(),
            trigger_id=args.trigger_id,
            part_id=args.part_id,
            encoder=args.encoder,
        )
        if self._links.requests.put(Request(ticket), 0) is not None:
            self._ledger.refuse()
            self._reporter.health.pressed(opened_us)
            return "OVERRUN"
        self._ledger.open(ticket)
        return ticket

    def stop(self) -> None:
        """As in `Desk`."""
        self._begin_stop("STOPPING")

    def now_us(self) -> int:
        """As in `Desk`."""
        return now_us()
