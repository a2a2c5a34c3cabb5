"""Times of several calls, taken in turn: whatever slows the machine slows all of them.

The time is the CPU time of the whole process. With one thread on an idle core that is wall time; on a busy
one what others take is left out, and a call that runs threads in secret pays for them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SAMPLE_S = 0.01
"""Shorter calls are repeated until they fill this, so that the cache holds the call's own data."""

LEAST_ROUNDS = 5


@dataclass(frozen=True)
class Times:
    """What was measured for each call, by its name."""

    seconds: dict[str, list[float]]
    """Per round, CPU time of one call."""
    busy: float
    """CPU time of this process over wall time: below 1 others held the core and its caches."""


def interleave(calls: Mapping[str, Callable[[], object]], budget_s: float) -> Times:
    """CPU times of all calls, in turn, after two calls each that do not count.

    Args:
        calls: what to time, by name.
        budget_s: rounds are added until this much time has passed, at least LEAST_ROUNDS of them.
    """
    repeats = {name: _repeats(call) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    began, used = time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - began) < budget_s or _rounds(seconds) < LEAST_ROUNDS:
        for name, call in calls.items():
            seconds[name].append(_sample(call, repeats[name]))
    return Times(seconds, (time.process_time() - used) / elapsed if elapsed else 1.0)


def _repeats(call: Callable[[], object]) -> int:
    """Calls in one sample; the second of two calls tells how long one takes."""
    call()
    return max(1, math.ceil(SAMPLE_S / max(1e-7, _sample(call, 1))))


def _sample(call: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def _rounds(seconds: Mapping[str, list[float]]) -> int:
    return min(map(len, seconds.values()), default=LEAST_ROUNDS)
