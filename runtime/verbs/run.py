"""`gonogo run`: the station, until it is told to stop."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path

from ..assembly import assemble
from ..ledger import Counters
from ..pipeline import Pipeline
from ..process import Signals, quicken_threads, require_seconds, settle_memory
from ..settings import TriggerMode
from ..sinks.overlay import OverlaySink

LOOK_S = 0.2
"""How often the main thread looks for a signal."""
END_TIMEOUT_S = 15.0
"""How long the stop may take: longer than the pipeline's own waits."""
TRIGGERED_BY: dict[TriggerMode, str] = {
    "software": "a part per trigger request on control",
    "free_run": "free run: every frame is a part",
}
EXIT_CODES = (
    "Ends at Ctrl-C, SIGTERM, a shutdown on the control socket, the end of its source, or after "
    "--seconds; what is in flight is answered first. Exit code 0: a clean end. 2: misuse, or a fault that "
    "ended the run; every accepted part was answered all the same."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.epilog = EXIT_CODES
    parser.add_argument("station", type=Path, metavar="STATION.yaml")
    parser.add_argument("--seconds", type=float, help="stop after so long; absent: run until stopped")
    parser.add_argument(
        "--json", action="store_true", help="print the counters as one JSON object at the end"
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="DIR",
        help="write overlays of NG and a few OK parts, and a contact sheet",
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the station; 0 after a clean stop (Ctrl-C, SIGTERM, `stop`, end of the source)."""
    require_seconds(arguments.seconds)
    signals = Signals()
    try:
        sinks = [] if arguments.save is None else [OverlaySink(arguments.save)]
        pipeline = assemble(arguments.station, sinks)
        quicken_threads()
        pipeline.start()
        try:
            _watch_over(pipeline, signals, arguments.seconds)
        finally:
            if pipeline.wait_ready(0):
                _print_counters(pipeline.counters(), arguments.json)
    finally:
        signals.restore()
    for sink in sinks:
        sink.tell(sys.stderr)
    return 0


def _watch_over(pipeline: Pipeline, signals: Signals, seconds: float | None) -> None:
    """Returns when the run has ended: by itself, or because it was time."""
    while not (pipeline.wait_ready(LOOK_S) or signals.came or pipeline.join(0)):
        pass
    if pipeline.wait_ready(0):
        settle_memory()
        bus, control = pipeline.endpoints
        who = TRIGGERED_BY[pipeline.trigger]
        print(f"ready: verdicts on {bus}, control on {control}, {who}", file=sys.stderr, flush=True)
    until_s = math.inf if seconds is None else time.monotonic() + seconds
    while not pipeline.join(LOOK_S):
        if signals.came or time.monotonic() >= until_s:
            pipeline.finish(END_TIMEOUT_S)
            return


def _print_counters(counters: Counters, as_json: bool) -> None:
    values = asdict(counters)
    print(json.dumps(values) if as_json else "  ".join(f"{name} {n}" for name, n in values.items()))
