"""Rows of the accuracy benchmark, and the file that holds them."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks.accuracy_common import code_digest, data_digest, files_of
from runtime.errors import ConfigError
from runtime.measure.figures import Summary
from runtime.measure.machine import commit, processor
from runtime.output import make_folder, write_json

PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "onnx")
DECIDES = (
    "kernels/*.py",
    "kernels/native/*.cpp",
    "export/networks/*.py",
    "export/bundling.py",
    "export/draft.py",
    "export/fitting.py",
    "export/methods/grnr.py",
    "runtime/detector.py",
    "runtime/opening.py",
    "runtime/heads/grnr.py",
    "runtime/networks/onnxruntime.py",
    "runtime/images/*.py",
    "runtime/measure/evaluation.py",
    "runtime/measure/figures.py",
    "runtime/measure/metrics.py",
    "runtime/measure/pixel_metrics.py",
)
"""Source files whose change makes a row stale."""


class Run(msgspec.Struct, frozen=True):
    """Where and with what the last run was made."""

    commit: str
    """With `+` where files of the code that decides a row were changed after it."""
    code: str
    """SHA-256 over the source files that decide a row."""
    data: str
    """SHA-256 of the data folder's SHA256SUMS."""
    machine: str
    versions: dict[str, str]
    command: str
    kinds: dict[str, str]
    """Set -> texture or object, from sets.json."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One set with one backbone and preset; `summary` or `error`."""

    key: str
    set: str
    backbone: str
    preset: str
    shots: int
    draw: int
    limit: int | None
    variant: str = ""
    """What is changed in the preset; a key of VARIANTS."""
    commit: str
    code: str
    data: str
    summary: Summary | None = None
    cpu_ms: float | None = None
    """Processor time of the detector per image, median."""
    error: str | None = None


class _Set(msgspec.Struct, frozen=True):
    kind: str


class Report(msgspec.Struct, frozen=True):
    """results/accuracy.json."""

    head: Run
    rows: list[Row]


def machine(data: Path, command: str) -> Run:
    """Facts of this run.

    Raises:
        ConfigError: the data folder has no SHA256SUMS or no sets.json.
    """
    try:
        sets = msgspec.json.decode((data / "sets.json").read_bytes(), type=dict[str, _Set])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{data}: {error}; expected sets.json with the kind of every set") from None
    files = files_of(DECIDES)
    return Run(
        commit=commit(["--", *map(str, files)]) or "unknown",
        code=code_digest(files),
        data=data_digest(data),
        machine=f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        command=command,
        kinds={name: entry.kind for name, entry in sets.items()},
    )


def load_rows(path: Path) -> list[Row]:
    """Earlier rows, or none where there is no file.

    Raises:
        ConfigError: the file is no report of this form.
    """
    if not path.exists():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report).rows
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}; move it away to start anew") from None


def save_report(report: Report, path: Path) -> None:
    """Writes run and rows."""
    make_folder(path.parent)
    write_json(path, report)
