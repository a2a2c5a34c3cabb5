"""`gonogo run`: the station, until it is told to stop."""

from __future__ import annotations

import argparse
import gc
import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from ..assembly import assemble
from ..ledger import Counters
from ..pipeline import Pipeline

HELP = "the station: frames in, one verdict per trigger out over ZeroMQ"
READY_TIMEOUT_S = 600.0
LOOK_S = 0.2
"""How often the main thread looks for a signal."""
SWITCH_S = 0.0005
"""How long Python lets one thread run before another gets its turn: a deadline must not wait 5 ms."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("station", type=Path, metavar="STATION.yaml")
    parser.add_argument("--seconds", type=float, help="stop after so long; absent: run until stopped")
    parser.add_argument(
        "--json", action="store_true", help="print the counters as one JSON object at the end"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the station; 0 after a clean stop (Ctrl-C, SIGTERM, `stop`, end of the source)."""
    pipeline = assemble(arguments.station)
    signals = Signals()
    sys.setswitchinterval(SWITCH_S)
    pipeline.start()
    try:
        _watch_over(pipeline, signals, arguments.seconds)
        pipeline.stop()
        while not pipeline.join(LOOK_S):
            pass
    finally:
        signals.restore()
        _print_counters(pipeline.counters(), arguments.json)
    return 0


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


def _watch_over(pipeline: Pipeline, signals: Signals, seconds: float | None) -> None:
    """Returns when it is time to stop, or the run has ended by itself."""
    ready = False
    until_s = None
    while not signals.came and not pipeline.join(LOOK_S):
        if not ready and pipeline.wait_ready(0):
            ready = True
            until_s = None if seconds is None else time.monotonic() + seconds
            _settle_memory(pipeline)
        if until_s is not None and time.monotonic() >= until_s:
            return


def _settle_memory(pipeline: Pipeline) -> None:
    """Nothing of what is open now becomes garbage: the collector need not walk through it again."""
    gc.collect()
    gc.freeze()
    print(f"ready: verdicts on {pipeline.endpoints[0]}, control on {pipeline.endpoints[1]}", file=sys.stderr)


def _print_counters(counters: Counters, as_json: bool) -> None:
    values = asdict(counters)
    print(json.dumps(values) if as_json else "  ".join(f"{name} {n}" for name, n in values.items()))
