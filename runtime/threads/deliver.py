"""Verdicts on their way to the sinks, in a thread of their own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from ..channel import Channel, Closed
from ..sink import GRACE_S, Sink, View
from ..verdict import Verdict

logger = logging.getLogger(__name__)

FRAMES = 2
"""In the hands of the sinks at once; part of `IN_HAND` in runtime/station.py."""
BACKLOG = 4096
"""Verdicts that may wait for sinks that hold on; more never reach them."""
CLOSE_TIMEOUT_S = 15.0
"""Longer than a sink takes to write what it still has."""
QUIET_S = 1.0
"""A failing sink is reported once in this time."""


@dataclass(slots=True, eq=False)
class _Delivery:
    """A verdict on its way to every sink; whoever delivers it releases the frame."""

    verdict: Verdict
    view: View
    done: threading.Event = field(default_factory=threading.Event)


class Sinks:
    """All sinks of a station, in a thread of their own: none of them concerns the others, nor the line."""

    def __init__(self, sinks: Sequence[Sink], on_failure: Callable[[str], None]) -> None:
        """`on_failure` is told, in the caller's thread, of a failing sink, once in `QUIET_S` per sink."""
        self._sinks, self._on_failure = tuple(sinks), on_failure
        self._quiet_until_s: dict[int, float] = {}
        self._complaints: deque[str] = deque()
        self._deliveries: Channel[_Delivery] = Channel(BACKLOG, "drop_latest")
        self._held: deque[_Delivery] = deque()
        """With frames, oldest first."""
        self._stuck: _Delivery | None = None
        self.failed = False
        """Whether the last verdict did not reach every sink, or not whole."""
        self._thread = threading.Thread(target=self._run, name="sinks", daemon=True)
        if self._sinks:
            self._thread.start()

    def send(self, verdict: Verdict, view: View) -> None:
        """Passes a verdict to every sink, and releases its frame once they have seen it."""
        if not self._sinks or not self._has_room():
            _release(view)
            view = View()
        if not self._sinks:
            return
        delivery = _Delivery(verdict, view)
        if view.frame is not None:
            self._held.append(delivery)
        if self._deliveries.put(delivery, 0) is not None:
            self.failed = True
            _release(view)
            delivery.done.set()
        self.report()

    def _has_room(self) -> bool:
        """Whether one more frame may go to the sinks; waits `GRACE_S` for that, once per hold-up."""
        while self._held and self._held[0].done.is_set():
            self._held.popleft()
        if len(self._held) < FRAMES:
            return True
        oldest = self._held[0]
        if oldest is self._stuck:
            return False
        if oldest.done.wait(GRACE_S):
            return True
        self._stuck, self.failed = oldest, True
        self._complaints.append("a sink holds on: parts pass it without their pictures")
        return False

    def report(self) -> None:
        """Tells of sinks that failed meanwhile."""
        while self._complaints:
            self._on_failure(self._complaints.popleft())

    def close(self) -> bool:
        """Closes every sink; False when one of them holds on and is left behind."""
        self._deliveries.close()
        if self._sinks:
            self._thread.join(CLOSE_TIMEOUT_S)
        self.report()
        return not self._thread.is_alive()

    def _run(self) -> None:
        """Body of the thread."""
        try:
            while (delivery := self._deliveries.get()) is not None:
                self._deliver(delivery)
        except Closed:
            for sink in self._sinks:
                self._guard(sink, sink.close)

    def _deliver(self, delivery: _Delivery) -> None:
        calls = [(sink, partial(sink.send, delivery.verdict, delivery.view)) for sink in self._sinks]
        taken = [self._guard(sink, call) for sink, call in calls]
        taken.append(self._guard(self, partial(_release, delivery.view)))  # a sink may have released it
        self.failed = not all(taken)
        delivery.done.set()

    def _guard(self, sink: object, call: Callable[[], None]) -> bool:
        try:
            call()
        except Exception:  # a sink may be anybody's code; no fault of it may silence the bus
            self._tell(sink)
            return False
        return True

    def _tell(self, sink: object) -> None:
        now_s = time.monotonic()
        if now_s >= self._quiet_until_s.get(id(sink), 0.0):
            self._quiet_until_s[id(sink)] = now_s + QUIET_S
            logger.exception("sink %s failed", type(sink).__name__)
            self._complaints.append(f"sink {type(sink).__name__} failed")


def _release(view: View) -> None:
    if view.frame is not None:
        view.frame.release()
