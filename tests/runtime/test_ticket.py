"""Tickets, settings, and the clock that deadlines are kept on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from runtime.settings import Settings
from runtime.ticket import now_us


def test_the_clock_is_the_same_in_every_process() -> None:
    code = "from runtime.ticket import now_us; print(now_us())"
    before = now_us()
    theirs = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert before < theirs < now_us()


@pytest.mark.parametrize(
    ("deadline_ms", "frame_timeout_ms", "deadline_us", "frame_wait_ms"),
    [(100, None, 100_000, 50), (0.5, None, 500, 1), (100, 70, 100_000, 70), (33.3336, None, 33_334, 17)],
)
def test_a_frame_may_take_half_the_deadline_unless_the_station_says_otherwise(
    settings: Settings,
    deadline_ms: float,
    frame_timeout_ms: int | None,
    deadline_us: int,
    frame_wait_ms: int,
) -> None:
    changed = replace(settings, deadline_ms=deadline_ms, frame_timeout_ms=frame_timeout_ms).terms
    assert (changed.deadline_us, changed.frame_wait_ms) == (deadline_us, frame_wait_ms)
