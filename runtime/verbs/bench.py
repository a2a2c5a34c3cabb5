"""`gonogo bench`: latency at the camera's cadence, stage by stage.

An open loop: frames are due at fixed moments, whether the last one is done or not, and latency counts from
that moment. A stall so delays every frame behind it in the figures, as it does on the line.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from ..bundle import load_bundle
from ..errors import ConfigError
from ..heads import head_name
from ..measure.cadence import Cadence, CadenceFigures, measure
from ..measure.latency import QUANTILES, needed_samples
from ..measure.machine import Machine, this_machine
from ..measure.metronome import camera_images
from ..networks import check_threads
from ..output import require_writable, write_json
from ..process import quicken_threads
from ..recipe import load_recipe
from .engine_arguments import add_engine_arguments

LEAST_FRAMES = needed_samples(QUANTILES["p50"])


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """The result file."""

    machine: Machine
    bundle: str
    bundle_sha256: str
    backend: str
    threads: int
    head: str
    """Form of the kernels around the network."""
    frame: tuple[int, ...]
    """(H, W) grey or (H, W, 3)."""
    input: tuple[int, int]
    """(H, W) of the network."""
    idle_s: float
    runs: list[CadenceFigures]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--fps", default="30", metavar="F,F..", help="cadences, frames per second (30)")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="N", help="time at each cadence (10)")
    parser.add_argument("--frame", default="1280x1024", metavar="WxH", help="camera's frames; WxHx3: colour")
    parser.add_argument("--deadline-ms", type=float, metavar="MS", help="absent: one period of the cadence")
    parser.add_argument("--idle", type=float, default=1.0, metavar="S", help="pause before a first frame (1)")
    parser.add_argument("--recipe", type=Path, help="inspect its region and mask")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine and figures to a file")
    add_engine_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measures every cadence; 1 when the detector failed on a frame, else 0, however late it was."""
    cadences, frame = _cadences(arguments), _frame(arguments.frame)
    check_threads(arguments.threads)
    if arguments.json is not None:
        require_writable(arguments.json)
    bundle = load_bundle(arguments.bundle)
    recipe = None if arguments.recipe is None else load_recipe(arguments.recipe)
    machine, images = this_machine(), camera_images(*frame)
    console = Console()
    quicken_threads()
    head = head_name(arguments.head)
    runs = []
    for cadence in cadences:
        print(f"{cadence.fps:g} frames/s for {cadence.seconds:g} s ..", file=sys.stderr, flush=True)
        runs.append(measure(bundle, recipe, arguments.backend, arguments.threads, images, cadence, head))
        _print(console, runs[-1], arguments.idle)
    bench = Bench(
        machine=machine,
        bundle=bundle.manifest.id,
        bundle_sha256=bundle.sha256,
        backend=arguments.backend,
        threads=arguments.threads,
        head=head,
        frame=images[0].shape,
        input=bundle.manifest.preprocessing.size,
        idle_s=arguments.idle,
        runs=runs,
    )
    console.print(_head(bench), style="dim", highlight=False, soft_wrap=True)
    if arguments.json is not None:
        write_json(arguments.json, bench)
    return int(any(figures.failed for figures in runs))


def _cadences(arguments: argparse.Namespace) -> list[Cadence]:
    seconds, deadline_ms = arguments.seconds, arguments.deadline_ms
    if not 0 < seconds <= 86_400:
        raise ConfigError(f"--seconds is {seconds:g}; expected above 0 and at most 86400")
    if not 0 < arguments.idle <= 60:
        raise ConfigError(f"--idle is {arguments.idle:g}; expected above 0 and at most 60 seconds")
    if deadline_ms is not None and not 0 < deadline_ms < math.inf:
        raise ConfigError(f"--deadline-ms is {deadline_ms:g}; expected above 0")
    rates = [_rate(word) for word in arguments.fps.split(",")]
    cadences = [Cadence(fps, seconds, deadline_ms or 1000 / fps, arguments.idle) for fps in rates]
    for cadence in cadences:
        if cadence.frames < LEAST_FRAMES:
            raise ConfigError(
                f"--seconds {seconds:g} at {cadence.fps:g} frames/s is {cadence.frames} frames; "
                f"expected at least {LEAST_FRAMES}, or not even a median can be given"
            )
    return cadences


def _rate(word: str) -> float:
    try:
        fps = float(word)
    except ValueError:
        fps = math.nan
    if not 0 < fps <= 1000:
        raise ConfigError(f"--fps: {word!r}; expected numbers above 0 and at most 1000, such as 30,60")
    return fps


def _frame(text: str) -> tuple[int, int, int]:
    """Width, height, channels."""
    words = text.lower().split("x")
    sizes = [int(word) for word in words if word.isascii() and word.isdigit()]
    if not 2 <= len(sizes) == len(words) <= 3 or not all(16 <= size <= 8192 for size in sizes[:2]):
        raise ConfigError(f"--frame is {text!r}; expected WxH of 16..8192 pixels each, such as 1280x1024")
    channels = sizes[2] if len(sizes) == 3 else 1
    if channels not in (1, 3):
        raise ConfigError(f"--frame is {text!r}; expected 1 channel or 3")
    return sizes[0], sizes[1], channels


def _print(console: Console, figures: CadenceFigures, idle_s: float) -> None:
    table = Table(
        "ms",
        *(name.replace("_", ".") for name in QUANTILES),
        "max",
        title=f"{figures.fps:g} frames/s, deadline {figures.deadline_ms:.4g} ms",
        title_justify="left",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, found in figures.stages.items():
        values = [getattr(found, quantile) for quantile in (*QUANTILES, "max")]
        table.add_row(name, *map(_milliseconds, values), end_section=name == "publish")
    console.print(table)
    for line in (*_summary(figures, idle_s), *figures.notes):
        console.print(line, highlight=False, soft_wrap=True)
    console.print()


def _summary(figures: CadenceFigures, idle_s: float) -> Sequence[str]:
    idle = ", ".join(_milliseconds(value) for value in figures.first_after_idle_ms) or "-"
    share = figures.misses / figures.frames
    return (
        f"{figures.misses} of {figures.frames} frames missed the deadline ({share:.2%}), "
        f"{figures.dropped} were dropped; sustained {_number(figures.sustained_fps)} frames/s",
        f"first after {idle_s:g} s idle: {idle} ms; the detector alone: {_number(figures.capacity_fps)} "
        f"frames/s, headroom {_number(figures.headroom, 2)} x",
    )


def _head(bench: Bench) -> str:
    machine = bench.machine
    height, width = bench.frame[:2]
    versions = ", ".join(f"{name} {value}" for name, value in machine.versions.items())
    return (
        f"{bench.bundle}, {width}x{height} -> {bench.input[1]}x{bench.input[0]}, {bench.backend}, "
        f"threads {bench.threads}, head {bench.head}\n{machine.processor}, {machine.cpus} CPUs, "
        f"{machine.system}, load before {machine.load_before:g}\n"
        f"{versions}, commit {machine.commit or 'unknown'}"
    )


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else "dropped" if math.isinf(value) else f"{value:.2f}"


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
