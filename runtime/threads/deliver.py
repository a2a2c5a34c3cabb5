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
    error: Exception | None = None
    """A bug that came to light; what a sink raises is no bug of ours."""


class Sinks:
    """All sinks of a station, in a thread of their own: none of them concerns the others, nor the line."""

    def __init__(self, sinks: Sequence[Sink], on_failure: Callable[[str], None]) -> None:
        """`on_failure` is told, in the caller's thread, of a failing sink, once in `QUIET_S` per sink."""
        self._sinks, self._on_failure = tuple(sinks), on_failure
        self._quiet_until_s: dict[int, float] = {}
        self._complaints: deque[str] = deque()
        self._deliveries: Channel[_Delivery] = Channel(BACKLOG, "drop_latest")
        self._last: _Delivery | None = None
        self.failed = False
        """Whether the last verdict did not reach every sink, or only late."""
        self._thread = threading.Thread(target=self._run, name="sinks", daemon=True)
        if self._sinks:
            self._thread.start()

    def send(self, verdict: Verdict, view: View) -> None:
        """Passes a verdict to every sink, and releases its frame once they have seen it.

        Waits for them, `GRACE_S` at most, so that frames in their hands are never more than one.

        Raises:
            ValueError: a sink released the frame, which is not its own.
        """
        if not self._sinks:
            _release(view)
            return
        if self._last is not None and not self._last.done.is_set():
            _release(view)
            self._hand_over(_Delivery(verdict, View()))
            return
        delivery = _Delivery(verdict, view)
        self._hand_over(delivery)
        if not delivery.done.wait(GRACE_S):
            self.failed = True
            self._complaints.append(
                f"a sink holds on for more than {GRACE_S * 1000:.0f} ms: parts pass it without pictures"
            )
        self.report()
        if delivery.error is not None:
            raise delivery.error

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

    def _hand_over(self, delivery: _Delivery) -> None:
        if self._deliveries.put(delivery, 0) is None:
            self._last = delivery
        else:
            self.failed = True

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
        self.failed = not all(taken)
        try:
            _release(delivery.view)
        except ValueError as error:
            delivery.error = error
        delivery.done.set()

    def _guard(self, sink: Sink, call: Callable[[], None]) -> bool:
        try:
            call()
        except Exception:  # a sink may be anybody's code; no fault of it may silence the bus
            self._tell(sink)
            return False
        return True

    def _tell(self, sink: Sink) -> None:
        now_s = time.monotonic()
        if now_s >= self._quiet_until_s.get(id(sink), 0.0):
            self._quiet_until_s[id(sink)] = now_s + QUIET_S
            logger.exception("sink %s failed", type(sink).__name__)
            self._complaints.append(f"sink {type(sink).__name__} failed")


def _release(view: View) -> None:
    if view.frame is not None:
        view.frame.release()
