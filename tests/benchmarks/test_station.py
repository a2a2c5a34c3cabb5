"""The station's benchmark counts what another process sees, and fits the slope that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.station_parts import runtime_overhead, slope_of
from runtime.bundle import load_bundle
from runtime.measure.cadence import Cadence
from runtime.measure.metronome import camera_images


def test_the_runtimes_share_is_what_the_stages_leave_of_end_to_end(exported: Path) -> None:
    plan = Cadence(fps=50, seconds=0.4, deadline_ms=20, idle_s=0.05)
    found = runtime_overhead(load_bundle(exported), camera_images(320, 256), plan)
    judged = plan.frames - found.station.dropped
    assert found.end_to_end.samples == found.runtime.samples == judged
    assert found.end_to_end.max is not None
    assert found.runtime.max is not None
    assert 0 < found.runtime.max < found.end_to_end.max


def test_a_leak_is_found_with_its_interval() -> None:
    minutes = [i / 6 for i in range(60)]
    rate, around = slope_of([(m, 250_000 + 120 * m + (-1) ** i) for i, m in enumerate(minutes)])
    assert rate == pytest.approx(120, abs=around)
    assert 0 < around < 1
