"""The publish thread: owns ledger and sockets, gives every ticket its verdict, and is the last to leave."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

from ..bus.control import Control
from ..bus.sockets import Bus
from ..channel import Channel
from ..health import SILENCE_US
from ..ledger import Counters, Ledger
from ..product import Product, Recipes
from ..settings import Settings
from ..sink import Sink
from ..state import State
from ..store.recorder import Recorder
from ..ticket import now_us
from .clerk import Clerk
from .deliver import Sinks
from .desk import StationDesk
from .helm import Helm
from .lanes import Lanes, StartDetect
from .notes import (
    CameraBack,
    CameraLost,
    Ended,
    Links,
    Note,
    Opened,
    Prepared,
    Request,
    Result,
    Shot,
    Started,
    Turned,
)
from .reporter import Reporter

logger = logging.getLogger(__name__)

REQUESTS_US = 2000
CAUSE_AT_START = {"capture": "CAMERA_LOST", "detect": "ENGINE_UNAVAILABLE"}
"""Thread that could not open its thing -> why the station is in ERROR."""
CAUSE_LATER = {"capture": "CAMERA_LOST", "detect": "INFER_FAILED"}
"""Thread that a fault ended later -> the same, and the reason of every ticket still open."""


class Publish:
    """One thread around the sockets."""

    def __init__(
        self,
        settings: Settings,
        bus: Bus,
        links: Links,
        sinks: Sequence[Sink],
        product: Product,
        recipes: Recipes,
        start_detect: StartDetect,
        on_ready: Callable[[], None],
        recorder: Recorder | None = None,
    ) -> None:
        """`product` is what the station begins with."""
        self._settings, self._bus, self._links = settings, bus, links
        self._ledger = Ledger()
        self._reporter = Reporter(bus, self._ledger, product.terms, recorder)
        self._recorder = recorder
        self._sinks = Sinks(sinks, lambda what: self._reporter.event("sink_failed", "error", what))
        self._clerk = Clerk(self._ledger, self._reporter, self._sinks)
        self._alive, self._start_detect = {"capture"}, start_detect
        simulated = settings.provenance.simulated
        self._lanes = Lanes(links, self._begin_detect, settings.queue, settings.policy, simulated)
        self._helm = Helm(self._reporter, self._lanes, settings.trigger == "free_run", on_ready)
        desk = StationDesk(
            settings, links, self._ledger, self._reporter, self._lanes, recipes, self._shut_down
        )
        self._control = Control(desk, settings.provenance.boot_id)
        self._stop_by_us: int | None = None
        self._hurry_us: int | None = None
        self._next_beat_us = now_us()
        self.counters: Counters = self._ledger.counters
        """Totals; replaced as a whole, so that other threads may read it."""
        self.error: Exception | None = None
        """What ended the run, if a fault did."""
        self._lanes.open(lambda: product)

    @property
    def state(self) -> State:
        """State now."""
        return self._reporter.state

    @property
    def queue_depth(self) -> int:
        """Frames that wait for detection."""
        return self._lanes.depth

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags of health, now."""
        return self._reporter.health.at(now_us()).flags

    @property
    def frame_age_s(self) -> float:
        """How long ago the last frame came, s; NaN before the first."""
        age_us = self._reporter.frame_age_us(now_us())
        return math.nan if age_us is None else age_us / 1e6

    @property
    def hung(self) -> tuple[str, ...]:
        """Threads that have not left, though they had opened their thing."""
        return tuple(sorted(self._alive - self._helm.starting))

    def serve(self) -> None:
        """Runs until everything is answered and the others have left, or `stop_timeout_ms` is over."""
        self._bus.watch(self._links.inbox.fileno())
        try:
            while not self._finished():
                try:
                    self._turn()
                except Exception as error:  # a bug of ours: every ticket is answered all the same
                    self._fail(error, "STOPPING")
            self._leave()
        finally:
            self._lanes.close()

    def _turn(self) -> None:
        """Waits for something to do, and does it."""
        asked = self._bus.wait(self._wait_ms())
        for _ in range(max(1, len(self._links.inbox))):  # once at least: the bell may have rung for nothing
            note = self._links.inbox.get(0)
            if note is not None:
                self._take(note)
        if asked:
            self._answer_requests()
        self._clerk.close_due()
        self._lanes.push()
        if not self._ledger.inflight:
            self._helm.done()
        self._hurry()
        self._beat()
        self.counters = self._ledger.counters

    def _answer_requests(self) -> None:
        """Those that are there, for `REQUESTS_US` at most: a flood of them delays no deadline."""
        until_us = now_us() + REQUESTS_US
        for frames in self._bus.requests():
            self._bus.reply(self._control.answer(frames))
            if now_us() > until_us:
                return

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
            self._reporter.move(State.ERROR if self._alive else State.HALTED, "STOPPED")
        if not self._sinks.close():
            self._alive.add("sinks")
            self._reporter.event("thread_hung", "error", "thread sinks did not end in time")
        if self._recorder is not None:
            self._recorder.close()

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
        self._sinks.report()
        self._reporter.health.sink_failed = self._sinks.failed
        self._reporter.health.storage_failed = self._recorder is not None and self._recorder.failed
        self._reporter.heartbeat(self._lanes.depth)

    # What the other threads tell.

    def _take(self, note: Note) -> None:
        if isinstance(note, Result):
            self._clerk.settle(note)
        elif isinstance(note, Opened):
            self._ledger.open(note.ticket)
        elif isinstance(note, Started):
            self._helm.started(note.thread)
        elif isinstance(note, Prepared):
            self._helm.prepared(note.lane)
        elif isinstance(note, Turned):
            self._helm.turned(note.turn)
        elif isinstance(note, CameraLost):
            self._helm.camera_lost(note.detail)
        elif isinstance(note, CameraBack):
            self._helm.camera_back()
        elif isinstance(note, Ended):
            self._part_with(note)
        else:
            self._shut_down()

    def _part_with(self, note: Ended) -> None:
        if note.thread not in self._alive:  # given up when the stop began
            return
        self._alive.discard(note.thread)
        begun = note.thread not in self._helm.starting
        self._helm.starting.discard(note.thread)
        change = self._lanes.change
        if note.thread == "capture":
            self._lanes.close()
        if change is not None and change.thread == note.thread and note.error is not None:
            self._helm.refused(str(note.error))
        elif note.error is not None:
            kind = "capture" if note.thread == "capture" else "detect"
            self._fail(note.error, (CAUSE_LATER if begun else CAUSE_AT_START)[kind])
        elif note.thread == "capture":  # detection only follows it, and says nothing about why
            self._begin_stop("STOPPING" if self._links.requests.closed else "SOURCE_END")
            self._give_up_requests("STOPPING")
        else:
            self._lanes.forget(note.thread)

    def _begin_detect(self, name: str, load: Callable[[], Product], frames: Channel[Shot]) -> None:
        self._helm.starting.add(name)
        self._alive.add(name)
        self._start_detect(name, load, frames)

    # How it ends.

    def _begin_stop(self, cause: str) -> None:
        """No more triggers; what is in flight is finished."""
        if self._stop_by_us is not None:
            return
        now, half_us = now_us(), 500 * self._settings.stop_timeout_ms
        self._hurry_us, self._stop_by_us = now + half_us, now + 2 * half_us
        self._helm.end(cause)
        self._links.requests.close()
        change = self._lanes.change
        if change is not None:  # nothing can interrupt what it loads, and nobody waits for it
            self._alive.discard(change.thread)
            self._helm.refused("the station is ending")

    def _shut_down(self) -> None:
        self._begin_stop("STOPPING")

    def _hurry(self) -> None:
        """Halfway through the stop, frames still queued are given up, and capture is not kept waiting."""
        if self._hurry_us is not None and now_us() >= self._hurry_us:
            self._hurry_us = None
            self._give_up_frames("STOPPING")

    def _give_up_requests(self, reason: str) -> None:
        """Answers what was accepted and never taken up, capture having left."""
        for request in self._links.requests.drain():
            if isinstance(request, Request):
                self._clerk.settle(Result(request.ticket, (reason,)))

    def _give_up_frames(self, reason: str) -> None:
        for shot in self._lanes.drain():
            self._clerk.settle(shot.answer(reason))

    def _fail(self, error: Exception, cause: str) -> None:
        """A fault that the run does not survive: says so, answers everything, and stops."""
        if self.error is None:
            self.error = error  # `Pipeline.join` raises it: whoever waits there is told, once
        else:
            logger.debug("after the fault that ends the run: %s", error, exc_info=error)
        if self.state is not State.ERROR:
            self._reporter.move(State.ERROR, cause)
        self._clerk.close_all(cause)
        self._begin_stop(cause)
        self._links.requests.drain()
        self._give_up_frames(cause)
