"""The debt of one verdict, and the names by which it is known."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .terms import Terms


@dataclass(frozen=True, slots=True)
class Ticket:
    """Opened for every accepted trigger (or frame, in free run); owed exactly one verdict."""

    number: int
    """Unique per boot, rising from 1."""
    opened_us: int
    """Monotonic clock at acceptance of the trigger, or at capture in free run, us."""
    deadline_us: int
    """Monotonic clock at which the verdict is of no more use, us."""
    result_id: str
    """ULID: the verdict's name for ever."""
    terms: Terms
    trigger_id: int | None = None
    """Echo of the trigger's source, 0..2^32-1; None in free run."""
    part_id: str | None = None
    encoder: int | None = None
    """Position counts at the trigger."""


def now_us() -> int:
    """Monotonic clock, us; on Linux the same in every process."""
    return time.perf_counter_ns() // 1000
