"""Runs the rows on the GPU and writes what was measured, with the machine that measured it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import quantiles

import msgspec

from kernels.device import Device, probe
from kernels.workspace import Workspace
from runtime.measure.machine import commit
from runtime.output import make_folder, write_json

from .rows import Peer, Work, all_work
from .timing import RUNS, copy_rate, time_launches

QUERY = (
    "name",
    "driver_version",
    "clocks.sm",
    "clocks.mem",
    "clocks.max.sm",
    "power.limit",
    "temperature.gpu",
)
CUBLAS = "cuBLAS"


class Time(msgspec.Struct, frozen=True):
    """Microseconds of one entrant, over the runs."""

    by: str
    p50: float | None = None
    p95: float | None = None
    missing: str = ""
    """Why there is no time."""


class Line(msgspec.Struct, frozen=True):
    """One piece of work."""

    work: str
    launches: int
    bytes: float
    operations: float
    floor_bytes_us: float
    """Bytes over the copy rate measured in this run."""
    floor_operations_us: float | None
    """What cuBLAS took for the same product in this run; None without torch."""
    times: list[Time]
    """Ours first."""


class GpuReport(msgspec.Struct, frozen=True):
    """results/gpu_kernels.json."""

    gpu: dict[str, str]
    """As nvidia-smi names it, clocks in MHz while the benchmark ran."""
    cuda: str
    commit: str
    date: str
    method: str
    copy_gb_per_s: float
    lines: list[Line]


def run(device: Device, only: Sequence[str]) -> GpuReport:
    """Times every row whose work holds one of the texts; all where there are none."""
    rate = copy_rate(Workspace(device))
    lines = []
    for work in all_work(device):
        if only and not any(text.lower() in work.name.lower() for text in only):
            continue
        print(f"{work.name} ...", file=sys.stderr, flush=True)
        lines.append(measured(device, work, rate))
    return GpuReport(
        gpu=_gpu(),
        cuda=".".join(map(str, probe().cuda)),
        commit=commit() or "unknown",
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        method=f"CUDA events around one graph, L2 flushed before each of {RUNS} runs, medians",
        copy_gb_per_s=rate / 1e9,
        lines=lines,
    )


def measured(device: Device, work: Work, rate: float) -> Line:
    """Ours and its peers; `rate` of copies in bytes per second."""
    ours = time_launches(Workspace(device), work.launches)
    times = [_time("gonogo", ours), *(_peer(name, peer) for name, peer in work.peers.items())]
    product = next((time.p50 for time in times if CUBLAS in time.by), None)
    return Line(
        work=work.name,
        launches=len(work.launches),
        bytes=work.nbytes,
        operations=work.operations,
        floor_bytes_us=1e6 * work.nbytes / rate,
        floor_operations_us=product,
        times=times,
    )


def _peer(name: str, peer: Peer) -> Time:
    try:
        return _time(name, peer())
    except (ImportError, RuntimeError, AssertionError) as error:
        return Time(name, missing=str(error).splitlines()[0])


def _time(by: str, ms: list[float]) -> Time:
    cuts = quantiles(ms, n=100, method="inclusive")
    return Time(by, 1e3 * cuts[49], 1e3 * cuts[94])


def _gpu() -> dict[str, str]:
    """What nvidia-smi says; empty where it is missing, as on Jetson."""
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return {}
    return dict(zip(QUERY, (value.strip() for value in found.split(",")), strict=False))


def to_table(report: GpuReport) -> str:
    """Head and rows as text."""
    lines = [f"{report.gpu.get('name', 'GPU')}, CUDA {report.cuda}, commit {report.commit}, {report.date}"]
    lines += [report.method, f"copy: {report.copy_gb_per_s:.0f} GB/s", ""]
    for line in report.lines:
        floors = f"floors: bytes {line.floor_bytes_us:.1f} us"
        if line.floor_operations_us is not None:
            floors += f", product {line.floor_operations_us:.1f} us"
        lines.append(f"{line.work}: {line.launches} launches; {floors}")
        for time in line.times:
            found = time.missing if time.p50 is None else f"p50 {time.p50:.1f} us, p95 {time.p95:.1f} us"
            lines.append(f"    {time.by}: {found}")
    return "\n".join(lines)


def save(report: GpuReport, path: Path) -> None:
    """Writes the report as JSON."""
    make_folder(path.parent)
    write_json(path, report)
