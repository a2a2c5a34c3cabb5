"""Health: each flag when its cause is there, and the level of the worst of them."""

from __future__ import annotations

import pytest

from runtime.health import FLAGS, PRESSURE_US, STREAK, Health, HealthWatch


def test_a_station_without_a_fault_is_ok() -> None:
    assert HealthWatch(simulated=False).at(0) == Health("ok", ())


def test_a_simulated_station_says_so_and_is_ok() -> None:
    assert HealthWatch(simulated=True).at(0) == Health("ok", ("SIMULATED",))


@pytest.mark.parametrize(
    ("attribute", "value", "flag", "level"),
    [
        ("camera_lost", True, "CAMERA_LOST", "fault"),
        ("sink_failed", True, "SINK", "degraded"),
        ("clock_ok", False, "CLOCK", "degraded"),
        ("silent", True, "NO_FRAMES", "degraded"),
        ("loosened", True, "PARITY_LOOSENED", "degraded"),
    ],
)
def test_a_cause_raises_its_flag_while_it_lasts(attribute: str, value: bool, flag: str, level: str) -> None:
    watch = HealthWatch(simulated=False)
    setattr(watch, attribute, value)
    assert watch.at(0) == Health(level, (flag,))  # type: ignore[arg-type]
    setattr(watch, attribute, not value)
    assert watch.at(0) == Health("ok", ())


def test_pressure_leaves_its_mark_for_a_while() -> None:
    watch = HealthWatch(simulated=False)
    watch.pressed(1000)
    assert watch.at(1000) == Health("degraded", ("QUEUE_PRESSURE",))
    assert watch.at(1000 + PRESSURE_US - 1).level == "degraded"
    assert watch.at(1000 + PRESSURE_US).level == "ok"


def test_so_many_invalid_verdicts_in_a_row_are_a_fault_and_one_good_one_ends_it() -> None:
    watch = HealthWatch(simulated=False)
    for _ in range(STREAK - 1):
        watch.judged(invalid=True)
    assert watch.at(0).level == "ok"
    watch.judged(invalid=True)
    assert watch.at(0) == Health("fault", ("INVALID_STREAK",))
    watch.judged(invalid=False)
    assert watch.at(0).level == "ok"
    for _ in range(STREAK - 1):
        watch.judged(invalid=True)
    assert watch.at(0).level == "ok"


def test_the_level_is_that_of_the_worst_flag() -> None:
    watch = HealthWatch(simulated=True)
    watch.silent = watch.camera_lost = True
    health = watch.at(0)
    assert health.level == "fault"
    assert set(health.flags) == {"SIMULATED", "NO_FRAMES", "CAMERA_LOST"}


def test_every_flag_can_be_raised() -> None:
    watch = HealthWatch(simulated=True)
    watch.camera_lost = watch.sink_failed = watch.silent = watch.drifting = watch.loosened = True
    watch.storage_failed = True
    watch.clock_ok = False
    watch.pressed(0)
    for _ in range(STREAK):
        watch.judged(invalid=True)
    assert set(watch.at(0).flags) == set(FLAGS)
