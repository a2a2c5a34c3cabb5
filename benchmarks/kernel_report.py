"""The kernels' benchmark as a table, as JSON and as a page; at its head everything that decides a figure."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import threadpoolctl

from kernels import native
from runtime.measure.machine import commit, processor
from runtime.output import make_folder, write_json, write_text

from .contest import Line, Result
from .timing import LEAST_ROUNDS, SAMPLE_S

PACKAGES = {
    "numpy": "numpy",
    "opencv": "opencv-python-headless",
    "torch": "torch",
    "faiss": "faiss-cpu",
    "numba": "numba",
    "scikit-learn": "scikit-learn",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "Pillow": "pillow",
}
FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")


class Head(msgspec.Struct, frozen=True):
    """Where and with what it was measured."""

    command: str
    commit: str
    machine: str
    instructions: str
    """Vector extensions of the processor that matter here, and the level of the native library."""
    versions: dict[str, str]
    """Of Python and every peer; "not installed" where it is missing."""
    blas: list[str]
    """Each BLAS and OpenMP library in the process: version, the kernels it chose, threads."""
    threads: str
    method: str
    load: str
    """Of the machine, at the end: others at work show here and in each row's `busy`."""


class Report(msgspec.Struct, frozen=True):
    """results/kernels.json."""

    head: Head
    rows: list[Result]


def this_run(budget_s: float) -> Head:
    """The facts; called when all is measured, so that every library is loaded."""
    return Head(
        command=f"python -m benchmarks.bench_kernels {shlex.join(sys.argv[1:])}".strip(),
        commit=commit() or "unknown",
        machine=f"{_model()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        instructions=f"{' '.join(_flags())}; native kernels: {native.library()}",
        versions={"python": platform.python_version(), **{k: _version(v) for k, v in PACKAGES.items()}},
        blas=[_library(info) for info in threadpoolctl.threadpool_info()],
        threads="1, the process bound to one core" if hasattr(os, "sched_setaffinity") else "1",
        method=f"two calls each to warm up; then in turn, samples of at least {SAMPLE_S * 1000:g} ms "
        f"of calls, for {budget_s:g} s and at least {LEAST_ROUNDS} rounds; CPU time, median over the rounds",
        load=" ".join(f"{value:.2f}" for value in os.getloadavg()) + " (1, 5, 15 minutes)",
    )


def to_json(report: Report) -> str:
    """The report as JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1).decode()


def to_table(report: Report) -> str:
    """Head and table as text, columns aligned."""
    cells = [list(COLUMNS), *_cells(report.rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join([*_facts(report.head), "", *(line.rstrip() for line in lines), "", *_notes(report.rows)])


def save_report(report: Report, results: Path, page: Path) -> None:
    """Writes the figures and the page made from them."""
    make_folder(results.parent)
    write_json(results, report)
    write_text(page, to_page(report))


def to_page(report: Report) -> str:
    """Head and table as Markdown."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *_cells(report.rows)]
    return "\n".join(
        [
            "# Kernels on one core",
            "",
            "Written by `benchmarks/bench_kernels.py`; every figure stands in `results/kernels.json`.",
            "`x ours` is the entrant's time over that of our native kernel: above 1 we are faster. A limit",
            "does a part of the work; who is faster does less, as half of the products of a self search.",
            "",
            *(f"- {fact}" for fact in _facts(report.head)),
            "",
            *(f"| {' | '.join(line)} |" for line in lines),
            "",
            *(f"- {note}" for note in _notes(report.rows)),
            "",
        ]
    )


COLUMNS = ("work", "by", "ms", "10..90 %", "x ours", "agreement", "setting")


def _cells(rows: Sequence[Result]) -> Iterable[list[str]]:
    for row in rows:
        for i, line in enumerate(row.lines):
            yield [row.work if i == 0 else "", *_line_cells(line)]


def _line_cells(line: Line) -> list[str]:
    name = {"native": f"ours, {line.name}", "reference": "ours, NumPy"}.get(line.role, line.name)
    name = f"limit: {line.name}" if line.role == "limit" else name
    if line.ms is None or line.ms_low is None or line.ms_high is None:
        return [name, "-", "-", "-", "", line.missing]
    spread = f"{line.ms_low:.3g}..{line.ms_high:.3g}"
    ratio = "-" if line.ratio is None else f"{line.ratio:.2f}"
    return [name, f"{line.ms:.4g}", spread, ratio, line.agreement, line.setting]


def _notes(rows: Sequence[Result]) -> list[str]:
    """Per row: the target, how busy the core was, what must be known."""
    return [
        f"{row.work}: to reach: {row.target}. {row.rounds} rounds, busy {row.busy:.0%}. {row.note}".rstrip()
        for row in rows
    ]


def _facts(head: Head) -> list[str]:
    versions = ", ".join(f"{name} {value}" for name, value in head.versions.items())
    return [
        f"command: {head.command}",
        f"commit: {head.commit}",
        f"machine: {head.machine}",
        f"instructions: {head.instructions}",
        f"versions: {versions}",
        f"BLAS and OpenMP: {'; '.join(head.blas)}",
        f"threads: {head.threads}",
        f"method: {head.method}",
        f"load at the end: {head.load}",
    ]


def _library(info: dict[str, object]) -> str:
    chosen = [str(info[key]) for key in ("internal_api", "version", "architecture") if info.get(key)]
    owner = Path(str(info["filepath"])).parent.name
    return f"{' '.join(chosen)} in {owner}, {info['num_threads']} thread"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _flags() -> list[str]:
    found = _cpuinfo("flags") or _cpuinfo("Features")
    return [flag for flag in FLAGS if flag in found.split()]


def _model() -> str:
    """Family and model: cloud machines name every processor alike."""
    family, model = _cpuinfo("cpu family"), _cpuinfo("model\t")
    return f"{processor()} (family {family}, model {model})" if family else processor()


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")
