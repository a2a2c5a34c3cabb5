"""Health of the station, beside its state: is what it says to be trusted, and what is about to fail."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Level = Literal["ok", "degraded", "fault"]

FLAGS: dict[str, Level] = {
    "SIMULATED": "ok",
    "QUEUE_PRESSURE": "degraded",
    "NO_FRAMES": "degraded",
    "CLOCK": "degraded",
    "CAMERA_QUALITY": "degraded",
    "PARITY_LOOSENED": "degraded",
    "SINK": "degraded",
    "STORAGE": "degraded",
    "CAMERA_LOST": "fault",
    "INVALID_STREAK": "fault",
}
"""Flag -> the level it lifts health to, at least."""

STREAK = 5
"""INVALID verdicts in a row that are a fault: better the line stops than that a shift is scrapped."""
PRESSURE_US = 1_000_000
"""How long a dropped or refused part leaves its mark."""
SILENCE_US = 1_000_000
"""A free-running camera without a frame for so long is reported."""


@dataclass(frozen=True, slots=True)
class Health:
    """As it stands in every message."""

    level: Level
    flags: tuple[str, ...]
    """Keys of `FLAGS`."""


class HealthWatch:
    """Turns what happens into flags; pure, the clock is passed in."""

    def __init__(self, simulated: bool) -> None:
        self.simulated = simulated
        self._streak = 0
        self._pressed_us: int | None = None
        self.camera_lost = False
        self.sink_failed = False
        self.storage_failed = False
        """The disk refuses records of verdicts: they wait, and may be lost."""
        self.clock_ok = True
        self.drifting = False
        """Light or focus move away from those of the good images."""
        self.loosened = False
        """The bundle's parity gate was loosened for what judges here."""
        self.silent = False
        """A free-running camera gives no frames."""

    def judged(self, invalid: bool) -> None:
        """Notes a verdict."""
        self._streak = self._streak + 1 if invalid else 0

    def confirm(self) -> None:
        """Somebody has looked: what only another verdict would end is over."""
        self._streak = 0

    def pressed(self, now_us: int) -> None:
        """Notes a part that was dropped or refused because a queue was full."""
        self._pressed_us = now_us

    def at(self, now_us: int) -> Health:
        """Health now."""
        pressed = self._pressed_us is not None and now_us - self._pressed_us < PRESSURE_US
        return _health(
            self.simulated,
            pressed,
            self.silent,
            not self.clock_ok,
            self.drifting,
            self.loosened,
            self.sink_failed,
            self.storage_failed,
            self.camera_lost,
            self._streak >= STREAK,
        )


@lru_cache  # it stands in every message, and hardly ever changes
def _health(*on: bool) -> Health:
    """The health with these of `FLAGS`, in their order."""
    flags = tuple(flag for flag, is_on in zip(FLAGS, on, strict=True) if is_on)
    order: tuple[Level, ...] = ("ok", "degraded", "fault")
    return Health(max((FLAGS[flag] for flag in flags), key=order.index, default="ok"), flags)
