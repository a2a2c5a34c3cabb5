"""What the station costs on this machine: start, cadence, the runtime's own share, memory.

    python -m benchmarks.bench_station [--only start cadence overhead memory] [--minutes 10] [--realtime]

Each part replaces its own section of results/station.json. Other processes spoil every figure here: run it on
an idle machine, or with --realtime, which lets the measured processes go before all others, as a station's
service may. Which of both it was, and the load before, stands in each section.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

# As the front door does, before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.station_parts import GONOGO, first_verdict_s, memory_over, runtime_overhead
from runtime.bundle import load_bundle
from runtime.measure.cadence import Cadence, measure
from runtime.measure.machine import this_machine
from runtime.measure.metronome import camera_images
from runtime.output import write_json
from runtime.process import quicken_threads
from runtime.verbs.doctor import demo_bundle

RESULTS = Path(__file__).parent / "results" / "station.json"
RATES = (30, 45, 60, 75, 90, 120, 150)
WIDTH, HEIGHT = 1280, 1024


def main() -> int:
    """Measures the wanted parts, writes each as it is done, and prints them all."""
    arguments = _arguments()
    if arguments.realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    quicken_threads()
    found = msgspec.json.decode(RESULTS.read_bytes()) if RESULTS.exists() else {}
    for name in arguments.only:
        head = {
            "machine": this_machine(),
            "scheduling": "realtime" if arguments.realtime else "normal",
            "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        print(f"{name} ..", file=sys.stderr, flush=True)
        found[name] = msgspec.to_builtins({**head, **PARTS[name](arguments)})
        write_json(RESULTS, found)
    Console(highlight=False).print(_table(found))
    return 0


def start(arguments: argparse.Namespace) -> dict[str, object]:
    """How long a user waits, s: for the help, and for the demo's first verdict."""
    return {
        "help_s": [_help_s() for _ in range(20)],
        "first_verdict_s": [first_verdict_s() for _ in range(5)],
    }


def cadence(arguments: argparse.Namespace) -> dict[str, object]:
    """The shipped bundle at rising cadences, deadline one period; `gonogo bench` shows the same."""
    bundle, images = load_bundle(demo_bundle()), camera_images(WIDTH, HEIGHT)
    plans = [Cadence(fps, arguments.seconds, 1000 / fps) for fps in RATES for _ in range(arguments.repeats)]
    return {"runs": [measure(bundle, None, "onnxruntime", 1, images, plan) for plan in plans]}


def overhead(arguments: argparse.Namespace) -> dict[str, object]:
    """End to end less preprocess, network and head, at 30 frames/s."""
    bundle, images = load_bundle(demo_bundle()), camera_images(WIDTH, HEIGHT)
    plan = Cadence(30, arguments.overhead_seconds, 1000 / 30)
    return {"runs": [runtime_overhead(bundle, images, plan) for _ in range(arguments.repeats)]}


def memory(arguments: argparse.Namespace) -> dict[str, object]:
    """Resident memory of the demo's station, and what its PLC counted in the same minutes."""
    return {"figures": memory_over(60 * arguments.minutes)}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, object]]] = {
    "start": start,
    "cadence": cadence,
    "overhead": overhead,
    "memory": memory,
}


def _help_s() -> float:
    begun_s = time.perf_counter()
    subprocess.run([*GONOGO, "--help"], capture_output=True, check=True)
    return round(time.perf_counter() - begun_s, 4)


def _table(found: dict[str, Any]) -> Table:
    """One row per question, from the file's own content."""
    table = Table("question", "found", "wanted", "scheduling", "load before")
    for name, part in found.items():
        for row in ROWS[name](part):
            table.add_row(*row, part["scheduling"], f"{part['machine']['load_before']:g}")
    return table


def _start_rows(part: dict[str, Any]) -> list[tuple[str, str, str]]:
    shown, verdict = (statistics.median(part[name]) for name in ("help_s", "first_verdict_s"))
    return [
        ("gonogo --help, median of 20", f"{shown:.2f} s", "< 0.4 s"),
        ("gonogo demo, first verdict, median of 5", f"{verdict:.1f} s", "< 5 s"),
    ]


def _cadence_rows(part: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for fps in sorted({run["fps"] for run in part["runs"]}):
        runs = [run for run in part["runs"] if run["fps"] == fps]
        misses, frames = sum(run["misses"] for run in runs), sum(run["frames"] for run in runs)
        total = [run["stages"]["total"]["p99"] for run in runs]
        p99 = "dropped" if None in total else f"{statistics.median(total):.1f} ms"
        wanted = "0 missed" if fps == 30 else ""
        rows.append(
            (f"{fps:g} frames/s, deadline one period", f"{misses} of {frames} missed, p99 {p99}", wanted)
        )
    return rows


def _overhead_rows(part: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for what, wanted in (("end_to_end", ""), ("runtime", "p99 < 1 ms")):
        found = {
            name.replace("_", "."): [run[what][name] for run in part["runs"]]
            for name in ("p50", "p99", "p99_9")
        }
        # A short run has too few frames for its p99.9.
        text = ", ".join(
            f"{name} {statistics.median(ms):.2f}" for name, ms in found.items() if None not in ms
        )
        rows.append((f"{what.replace('_', ' ')}, median of {len(part['runs'])} runs", f"{text} ms", wanted))
    return rows


def _memory_rows(part: dict[str, Any]) -> list[tuple[str, str, str]]:
    figures = part["figures"]
    slope = (
        f"{figures['slope_kb_per_minute']:+.0f} +- {figures['slope_interval_kb_per_minute']:.0f} kB a minute"
    )
    what = f"resident memory over {figures['minutes']:.0f} minutes"
    return [(what, f"{figures['max_mb']:.0f} MB, {slope}", "< 300 MB, flat")]


ROWS: dict[str, Callable[[dict[str, Any]], list[tuple[str, str, str]]]] = {
    "start": _start_rows,
    "cadence": _cadence_rows,
    "overhead": _overhead_rows,
    "memory": _memory_rows,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=20, help="time at each cadence")
    parser.add_argument("--overhead-seconds", type=float, default=100, help="p99.9 takes 100 at 30 frames/s")
    parser.add_argument("--minutes", type=float, default=10, help="length of the memory run")
    parser.add_argument("--repeats", type=int, default=3, help="runs of cadence and overhead")
    parser.add_argument(
        "--realtime", action="store_true", help="measured processes go before all others (root)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
