"""A network that hangs: what threads survive, and what they do not."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from runtime.bundle import load_bundle
from runtime.bus.witness import Witness
from runtime.config import parse_yaml
from runtime.detector import HostDetector
from runtime.errors import ConfigError
from runtime.networks.stall import Stall
from runtime.opening import open_detector
from runtime.pipeline import Pipeline
from runtime.sources import SyntheticConfig, SyntheticSource
from runtime.state import State
from runtime.station import Station
from runtime.terms import Thresholds

Launch = Callable[..., tuple[Pipeline, Witness]]

HANG_S = 2.0
DEADLINE_MS = 200
WAIT_S = 30.0


@pytest.fixture
def hanging(exported: Path) -> Callable[[Stall], Callable[[], HostDetector]]:
    """What opens a real detector that hangs as told."""
    bundle = load_bundle(exported)
    return lambda stall: partial(open_detector, bundle, stalls=[stall])


def _web() -> SyntheticSource:
    return SyntheticSource(SyntheticConfig(width=320, height=256, rate_hz=None, defect_rate=0.0, buffers=16))


def _finish(pipeline: Pipeline, witness: Witness) -> None:
    pipeline.stop()
    assert pipeline.join(WAIT_S)
    assert witness.hear_end()
    assert pipeline.state is State.HALTED
    assert witness.account(pipeline.counters()) == []


def test_while_the_network_sleeps_every_part_is_answered_and_afterwards_it_is_judged_again(
    launch: Launch, hanging: Callable[[Stall], Callable[[], HostDetector]]
) -> None:
    detector = hanging(Stall(run=0, kind="sleep", seconds=HANG_S))
    pipeline, witness = launch(
        _web, detector, deadline_ms=DEADLINE_MS, thresholds=Thresholds(1e6), stop_timeout_ms=20_000
    )
    assert pipeline.wait_ready(WAIT_S)
    for n in range(1, 4):
        assert witness.trigger(n)["ok"]
    verdicts = witness.hear_verdicts(3)
    assert [v["reasons"] for v in verdicts] == [["DEADLINE_MISSED"]] * 3
    assert not witness.events  # the network has not come back: its result would be an event
    assert max(v["lat_us"]["total"] for v in verdicts) < 1e6 * HANG_S
    assert witness.hear(lambda: bool(witness.events))
    assert (witness.events[0]["event"], witness.events[0]["score"] is not None) == ("late_result", True)
    # On a loaded machine one part may miss such a deadline by itself; not all of them.
    for n in range(4, 24):
        assert witness.trigger(n)["ok"]
        if witness.hear_verdicts(n)[-1]["verdict"] == "OK":
            break
    assert witness.verdicts[-1]["verdict"] == "OK"
    _finish(pipeline, witness)


def test_a_network_that_holds_the_gil_makes_verdicts_late_but_never_ok(
    launch: Launch, hanging: Callable[[Stall], Callable[[], HostDetector]]
) -> None:
    detector = hanging(Stall(run=0, kind="hold_gil", seconds=HANG_S))
    pipeline, witness = launch(_web, detector, deadline_ms=DEADLINE_MS, thresholds=Thresholds(1e6))
    assert pipeline.wait_ready(WAIT_S)
    assert witness.trigger(1)["ok"]
    verdict = witness.hear_verdicts(1)[0]
    # Open: the answer was due after 0.2 s. Only another process can keep that promise.
    assert verdict["lat_us"]["total"] > 1e6 * HANG_S / 2
    assert verdict["late"]
    assert (verdict["verdict"], verdict["reasons"]) == ("INVALID", ["DEADLINE_MISSED"])
    _finish(pipeline, witness)


def test_a_station_file_can_script_the_hangs() -> None:
    text = "line: a\nstation: b\nrecipe: r.yaml\nsource: {kind: synthetic}\n"
    station = parse_yaml(text + "stalls: [{run: 3, kind: hold_gil, seconds: 0.5}]\n", Station, "s.yaml")
    assert station.stalls == (Stall(run=3, kind="hold_gil", seconds=0.5),)
    with pytest.raises(ConfigError, match="seconds"):
        parse_yaml(text + "stalls: [{run: 3, kind: sleep, seconds: 0}]\n", Station, "s.yaml")


@pytest.mark.parametrize(("run", "seconds"), [(-1, 1.0), (0, 0.0), (0, -1.0), (0, math.nan), (0, 1e9)])
def test_a_hang_without_place_or_length_is_refused(run: int, seconds: float) -> None:
    with pytest.raises(ValueError, match="expected run >= 0"):
        Stall(run=run, kind="sleep", seconds=seconds)
