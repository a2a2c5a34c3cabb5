"""What else receives verdicts: the interface, and the sink that keeps them in memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from .frame import Frame
from .prediction import Prediction
from .verdict import Verdict

logger = logging.getLogger(__name__)

QUIET_S = 1.0
"""A failing sink is reported once in this time."""


@dataclass(frozen=True, slots=True)
class View:
    """The pixels behind a verdict; valid only while `send` runs: whoever needs them longer copies them."""

    frame: Frame | None = None
    """None when the verdict had to go out before its frame came back from detection, or without one."""
    prediction: Prediction | None = None
    """With its map for NG and REVIEW; for OK only when a sink `wants_maps`."""


class Sink(Protocol):
    """Takes verdicts one by one, from the publish thread, after the bus has them.

    `send` returns within a millisecond or two, since the next deadline waits for it: slow work, such as
    writing an image, copies what it needs and goes on in a thread of the sink's own.
    """

    wants_maps: bool
    """Whether it needs the anomaly map of every frame, not only of NG and REVIEW."""

    def send(self, verdict: Verdict, view: View) -> None:
        """Takes one verdict. What it raises is logged and reported; the next verdict comes all the same."""

    def close(self) -> None:
        """Called once, after the last verdict."""


class CollectSink:
    """Keeps verdicts in a list; for tests, benchmarks and short runs."""

    wants_maps = False

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []

    def send(self, verdict: Verdict, view: View) -> None:
        """As in `Sink`."""
        self.verdicts.append(verdict)

    def close(self) -> None:
        """As in `Sink`."""


class Sinks:
    """All sinks of a station; what one of them raises concerns neither the others nor the line."""

    def __init__(self, sinks: Sequence[Sink], on_failure: Callable[[str], None]) -> None:
        """`on_failure` is told of a failing sink, once in `QUIET_S` per sink."""
        self._sinks, self._on_failure = tuple(sinks), on_failure
        self._quiet_until_s: dict[int, float] = {}
        self.failed = False
        """Whether the last verdict did not reach every sink."""

    def send(self, verdict: Verdict, view: View) -> None:
        """Passes a verdict to every sink."""
        taken = [self._guard(sink, partial(sink.send, verdict, view)) for sink in self._sinks]
        self.failed = not all(taken)

    def close(self) -> None:
        """Closes every sink."""
        for sink in self._sinks:
            self._guard(sink, sink.close)

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
            self._on_failure(f"sink {type(sink).__name__} failed")
