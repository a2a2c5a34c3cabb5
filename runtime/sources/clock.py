"""The clock that sources read and wait on, and the pacing of simulated cameras."""

from __future__ import annotations

import math
import time

from ..errors import SourceTimeout

BACKLOG = 4
"""Exposures a late reader still gets, as from the kernel's buffers of a real camera."""


WINDOW_US = 10_000_000
"""How long the quickest way of a frame is remembered, at least."""
JUMP_US = 60_000_000
"""A frame that seems older or newer than this comes from a clock that jumped."""


class Clock:
    """Monotonic and wall clock of this machine."""

    def now_us(self) -> int:
        """Monotonic clock, us; the same clock as `time.perf_counter`."""
        return time.perf_counter_ns() // 1000

    def wall_us(self) -> int:
        """Wall clock, us since the Unix epoch."""
        return time.time_ns() // 1000

    def sleep_us(self, duration_us: int) -> None:
        """Waits."""
        time.sleep(duration_us / 1e6)


class SteppedClock(Clock):
    """A clock that moves only when someone waits on it: paced sources without waiting, for tests."""

    def __init__(self, start_us: int = 0) -> None:
        self._now_us = start_us

    def now_us(self) -> int:
        """Microseconds waited so far."""
        return self._now_us

    def sleep_us(self, duration_us: int) -> None:
        """Moves the clock."""
        self._now_us += duration_us


class DeviceClock:
    """Ages of frames by a clock that is not ours: how much longer than the quickest one they took to come.

    The quickest of the last 10 to 20 s counts, so that two clocks that run apart by 50 ppm matter for 1 ms.
    What it says is the least age: the quickest frame's own way is not known.
    """

    def __init__(self) -> None:
        self._lags: list[float] = [math.inf, math.inf]
        self._turned_us = 0

    def age_us(self, stamp_us: int, now_us: int) -> int:
        """Age of the frame with this stamp of the device, us, >= 0."""
        lag = now_us - stamp_us
        if lag < self._least() - JUMP_US or lag > self._least() + JUMP_US:
            self._lags = [math.inf, math.inf]  # the device's clock was set, or it was restarted
        if now_us - self._turned_us > WINDOW_US:
            self._lags, self._turned_us = [math.inf, self._lags[0]], now_us
        self._lags[0] = min(self._lags[0], lag)
        return int(lag - self._least())

    def _least(self) -> float:
        return min(self._lags)


class Pacer:
    """Says when the next exposure of a simulated camera is due; `rate_hz` None: whenever asked."""

    def __init__(self, rate_hz: float | None, clock: Clock) -> None:
        self._period_us = None if rate_hz is None else 1e6 / rate_hz
        self._clock = clock
        self._due_us: float | None = None

    def wait(self, deadline_us: int) -> int:
        """Waits for the next exposure and returns how many the reader came too late for.

        Raises:
            SourceTimeout: the next exposure is due only after `deadline_us` on the monotonic clock.
        """
        if self._period_us is None:
            return 0
        now_us = self._clock.now_us()
        due_us = now_us if self._due_us is None else self._due_us
        if due_us > deadline_us:
            self._clock.sleep_us(max(0, deadline_us - now_us))
            raise SourceTimeout(
                f"no frame yet: the next one is due in {(due_us - deadline_us) / 1000:.1f} ms"
            )
        self._clock.sleep_us(max(0, round(due_us - now_us)))
        lost = max(0, int((now_us - due_us) / self._period_us) - BACKLOG)
        self._due_us = due_us + (1 + lost) * self._period_us
        return lost
