"""`gonogo run`: the station, until it is told to stop."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from ..assembly import assemble
from ..ledger import Counters
from ..pipeline import Pipeline
from ..process import Signals, quicken_threads, settle_memory

HELP = "the station: frames in, one verdict per trigger out over ZeroMQ"
READY_TIMEOUT_S = 600.0
LOOK_S = 0.2
"""How often the main thread looks for a signal."""


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
    quicken_threads()
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


def _watch_over(pipeline: Pipeline, signals: Signals, seconds: float | None) -> None:
    """Returns when it is time to stop, or the run has ended by itself."""
    ready = False
    until_s = None
    while not signals.came and not pipeline.join(LOOK_S):
        if not ready and pipeline.wait_ready(0):
            ready = True
            until_s = None if seconds is None else time.monotonic() + seconds
            settle_memory()
            bus, control = pipeline.endpoints
            print(f"ready: verdicts on {bus}, control on {control}", file=sys.stderr)
        if until_s is not None and time.monotonic() >= until_s:
            return


def _print_counters(counters: Counters, as_json: bool) -> None:
    values = asdict(counters)
    print(json.dumps(values) if as_json else "  ".join(f"{name} {n}" for name, n in values.items()))
