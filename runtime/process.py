"""How a process that runs a station is set up: thread switching, garbage collector, signals."""

from __future__ import annotations

import gc
import math
import signal
import sys
from types import FrameType

from .errors import ConfigError

SWITCH_S = 0.0005
"""How long Python lets one thread run before another gets its turn: a deadline must not wait 5 ms."""


def quicken_threads() -> None:
    """Lets threads take turns ten times as often as Python does by itself."""
    sys.setswitchinterval(SWITCH_S)


def settle_memory() -> None:
    """To be called once everything is open: none of that is garbage, the collector need not walk it again."""
    gc.collect()
    gc.freeze()


def require_seconds(seconds: float | None) -> None:
    """Raises ConfigError unless `--seconds` is left out or a time that ends."""
    if seconds is not None and not 0 < seconds < math.inf:
        raise ConfigError(f"--seconds is {seconds:g}; expected a number above 0")


class Signals:
    """Notes Ctrl-C and SIGTERM instead of dying of them: the stop must answer every part first."""

    def __init__(self) -> None:
        self.came = False
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._note) for number in numbers}

    def restore(self) -> None:
        """Puts back what was in force before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
