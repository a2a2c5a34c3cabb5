"""`gonogo demo`: a simulated line on any machine, with a virtual PLC that keeps the score."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.live import Live

from ..assembly import assemble_station
from ..demo.panel import Panel, figures
from ..demo.scorecard import Score
from ..demo.virtual_plc import Plan, Report, Stage, VirtualPlc
from ..errors import ConfigError, PipelineError
from ..output import require_writable, write_text
from ..pipeline import Pipeline
from ..process import Signals, quicken_threads, require_seconds, settle_memory
from ..sink import Sink
from ..sinks.overlay import OverlaySink
from ..sources.synthetic import SyntheticConfig
from ..station import Station, load_station

DATA = Path(__file__).parents[1] / "data" / "demo"
UNWATCHED_S = 20.0
"""How long parts come when nobody sits before it and --seconds is not given."""
LOOK_S = 0.1
"""How often the main thread looks for a signal."""
LINE_S = 5.0
"""How often a line is printed where there is no terminal for a table."""
READY_TIMEOUT_S = 60.0
END_TIMEOUT_S = 15.0
"""How long the PLC may be without a report, or the station without an end: longer than their own waits."""

Show = Callable[[Report], None]


@dataclass(frozen=True, slots=True)
class Demo:
    """What is to be played."""

    station: Station
    web: SyntheticConfig
    """The station's source."""
    rate_hz: float
    """Parts per second."""
    seconds: float | None
    """How long parts come; None: until a signal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="N",
        help=f"how long parts come; absent: until Ctrl-C, {UNWATCHED_S:.0f} without a live table",
    )
    parser.add_argument("--headless", action="store_true", help="no table; one JSON object at the end")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the same object to a file")
    parser.add_argument(
        "--save",
        type=Path,
        metavar="DIR",
        help="write overlays of NG and a few OK parts, and a contact sheet",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="another web with other defects")
    parser.add_argument("--rate", type=float, metavar="HZ", help="parts per second; absent: the station's 30")


def run(arguments: argparse.Namespace) -> int:
    """Plays the line; 0 when every part got one verdict, in time, else 1."""
    console = Console()
    live = console.is_terminal and not console.is_dumb_terminal and not arguments.headless
    demo = load_demo(arguments.seed, arguments.rate, arguments.seconds, live)
    if arguments.json is not None:
        require_writable(arguments.json)
    sinks = [] if arguments.save is None else [OverlaySink(arguments.save)]
    signals = Signals()
    try:
        with _screen(console, demo, live, arguments.headless) as show:
            report = play(demo, sinks, show, signals)
        _print(console, report, arguments.headless)
        if arguments.json is not None:
            write_text(arguments.json, to_json(report.score) + "\n")
    finally:
        signals.restore()
    for sink in sinks:
        sink.tell(sys.stderr)
    return 0 if report.score.kept else 1


def load_demo(seed: int | None, rate_hz: float | None, seconds: float | None, endless: bool) -> Demo:
    """The shipped station with what the command line changes.

    Raises:
        ConfigError: an argument is out of range.
    """
    station = load_station(DATA / "station.yaml")
    web = station.source
    assert isinstance(web, SyntheticConfig)
    if seed is not None and not 0 <= seed < 2**63:
        raise ConfigError(f"--seed is {seed}; expected 0 or a positive whole number")
    rate_hz = web.rate_hz or 30.0 if rate_hz is None else rate_hz
    if not 0 < rate_hz <= 1000:
        raise ConfigError(f"--rate is {rate_hz:g}; expected above 0 and at most 1000 parts per second")
    seconds = UNWATCHED_S if seconds is None and not endless else seconds
    require_seconds(seconds)
    web = web if seed is None else msgspec.structs.replace(web, seed=seed)
    return Demo(msgspec.structs.replace(station, source=web), web, rate_hz, seconds)


def play(demo: Demo, sinks: Sequence[Sink], show: Show, signals: Signals) -> Report:
    """Runs station and virtual PLC to their end, and returns the PLC's last report, which is shown too.

    Raises:
        InspectionError: the station failed, or the PLC's process is gone.
    """
    with VirtualPlc() as plc:  # first, so that it imports while the station opens
        pipeline = assemble_station(demo.station, DATA, sinks)
        quicken_threads()
        pipeline.start()
        try:
            _await_ready(pipeline, signals)
            settle_memory()
            plc.begin(Plan(*pipeline.endpoints, demo.web, demo.rate_hz, demo.seconds))
            _follow(plc, signals, show)
        finally:
            # Where a fault of the station was the cause, it is what is raised.
            pipeline.finish(END_TIMEOUT_S)
        report = _last_report(plc)
    show(report)
    return report


def to_json(score: Score) -> str:
    """The score as one JSON object in one line."""
    return msgspec.json.encode(score).decode()


def _await_ready(pipeline: Pipeline, signals: Signals) -> None:
    """Returns when parts are accepted, when the station failed, or at a signal."""
    until_s = time.monotonic() + READY_TIMEOUT_S
    while not (pipeline.wait_ready(LOOK_S) or signals.came or pipeline.join(0)):
        if time.monotonic() > until_s:
            raise PipelineError(f"the station was not ready within {READY_TIMEOUT_S:.0f} s")


def _follow(plc: VirtualPlc, signals: Signals, show: Show) -> None:
    """Shows every report, until every part has its answer; a signal ends the coming of parts."""
    told = False
    stage: Stage = "running"
    while stage == "running":
        report = plc.report(END_TIMEOUT_S)
        stage = report.stage
        show(report)
        if signals.came and not told:
            plc.stop()
            told = True


def _last_report(plc: VirtualPlc) -> Report:
    while (report := plc.report(END_TIMEOUT_S)).stage != "final":
        pass
    return report


@contextmanager
def _screen(console: Console, demo: Demo, live: bool, headless: bool) -> Iterator[Show]:
    """What shows the reports: a live table, a line now and then, or nothing."""
    if not live:
        yield Lines(math.inf if headless else LINE_S)
        return
    panel = Panel(f"gonogo demo: {demo.web.texture} web, seed {demo.web.seed}, {demo.rate_hz:g} parts/s")
    # Drawn only when a report comes: a thread that redraws the same would take its turns from the station.
    with Live(panel.render(None), console=console, auto_refresh=False) as screen:
        yield lambda report: screen.update(panel.render(report), refresh=True)


class Lines:
    """Prints how it stands, every so often."""

    def __init__(self, every_s: float) -> None:
        self._every_s, self._next_s = every_s, time.monotonic() + every_s

    def __call__(self, report: Report) -> None:
        """Takes a report."""
        if time.monotonic() < self._next_s:
            return
        self._next_s += self._every_s
        score = report.score
        names = ("triggers", "verdicts", "escapes", "false_rejects", "late", "missing", "duplicated")
        print("  ".join(f"{name} {getattr(score, name)}" for name in names), file=sys.stderr, flush=True)


def _print(console: Console, report: Report, headless: bool) -> None:
    if headless:
        print(to_json(report.score))
        return
    if not console.is_terminal:
        console.print(figures(report), highlight=False)
    if report.score.kept:
        console.print("Every part got one verdict, in time.", style="green")
    else:
        console.print("Not every part got one verdict, in time.", style="bold red")
