"""What a measurement was made on: without it no figure can be compared."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

PACKAGES = ("gonogo", "numpy", "opencv-python-headless", "onnxruntime", "openvino", "pyzmq", "msgspec")
ROOT = Path(__file__).parents[2]


class Machine(msgspec.Struct, frozen=True):
    """Stands at the head of every result file."""

    processor: str
    cpus: int
    """That this process may use."""
    system: str
    versions: dict[str, str]
    """Python and the packages that are installed."""
    commit: str | None
    """Of the checkout, with `+` where files were changed after it; None: not a checkout."""
    load_before: float
    """Processes that wanted a CPU in the minute before: above 0.3 or so, others were at work."""


def this_machine() -> Machine:
    """The facts, now."""
    return Machine(
        processor=processor(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        versions={"python": platform.python_version(), **_packages()},
        commit=commit(),
        load_before=round(os.getloadavg()[0], 2),
    )


def processor() -> str:
    """Name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


TRACKED = ("-uno", "--", ".", ":!benchmarks/results")
"""Results are written while a benchmark runs: they are no change of what is measured."""


def commit(status: Sequence[str] = TRACKED) -> str | None:
    """Hash of the checkout this code lies in, 12 digits; None where there is none, or no git.

    Args:
        status: what `git status` is asked; where it finds a change, `+` stands behind the hash.
    """
    if not (ROOT / ".git").exists():
        return None
    try:
        found = _git("rev-parse", "HEAD")[:12]
        changed = _git("status", "--porcelain", *status)
        return (found + ("+" if changed else "")) or None
    except OSError:
        return None


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
