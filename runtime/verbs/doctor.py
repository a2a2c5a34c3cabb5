"""`gonogo doctor`: what is installed, which backends run here, and what exactly is missing."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from rich.console import Console

Level = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    topic: str
    level: Level
    """`fault`: gonogo cannot do its main job here; `note`: something optional is missing."""
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Prints every finding; 1 when one is a fault, else 0."""
    findings = [finding for check in CHECKS for finding in check()]
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        console = Console(highlight=False, soft_wrap=True)
        marks = {"ok": "[green]ok   [/]", "note": "[yellow]note [/]", "fault": "[red]FAULT[/]"}
        for finding in findings:
            console.print(f"{marks[finding.level]} [bold]{finding.topic:<12}[/] ", end="")
            console.print(finding.text, markup=False)
    return int(any(finding.level == "fault" for finding in findings))


def _machine() -> list[Finding]:
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.release()}, {platform.machine()}, {affinity} CPUs"
    python = f"{platform.python_version()} at {sys.executable}"
    old = sys.version_info < (3, 10)
    return [
        Finding("machine", "ok", system),
        Finding("python", "fault" if old else "ok", f"{python}{'; 3.10 or later is needed' if old else ''}"),
    ]


def _packages() -> list[Finding]:
    """Core packages are faults when missing, extras are notes that name the extra."""
    core = (
        "numpy",
        "opencv-python-headless",
        "onnxruntime",
        "pyzmq",
        "msgspec",
        "pyyaml",
        "rich",
        "prometheus-client",
    )
    extras = {"onnx": "export", "openvino": "openvino", "harvesters": "genicam"}
    findings = []
    for name in core:
        found = _version(name) or (_version("opencv-python") if name.startswith("opencv") else None)
        findings.append(Finding(name, "ok" if found else "fault", found or "missing; pip install gonogo"))
    for name, extra in extras.items():
        found = _version(name)
        missing = f"not installed; pip install 'gonogo[{extra}]'"
        findings.append(Finding(name, "ok" if found else "note", found or missing))
    return findings


def _opencv() -> list[Finding]:
    try:
        from ..images.files import jpeg_refusal
    except ImportError as error:
        return [Finding("opencv", "fault", f"cannot be imported: {error}")]
    import cv2

    refusal = jpeg_refusal(cv2.__version__)
    return [Finding("jpeg", "note" if refusal else "ok", refusal or f"OpenCV {cv2.__version__}")]


def _native() -> list[Finding]:
    """Which compiled kernels serve; without them NumPy does, several times slower."""
    try:
        from kernels import native
    except ImportError as error:
        return [Finding("kernels", "fault", f"cannot be imported: {error}")]
    found = native.library()
    if found.functions is None:
        return [Finding("kernels", "note", f"NumPy, slower: {found.reason}")]
    others = ", ".join(str(lib) for lib in native.libraries()[1:])
    return [Finding("kernels", "ok", f"native, {found}{f'; {others} would run too' if others else ''}")]


def _backends() -> list[Finding]:
    """Each backend is opened on the demo's bundle and judges its golden images: a real inference."""
    try:
        from ..bundle import load_bundle
        from ..errors import InspectionError
        from ..networks import NETWORKS
        from ..selftest import require_golden
    except ImportError as error:
        return [Finding("backends", "fault", f"cannot be imported: {error}")]
    findings = []
    for name in NETWORKS:
        worst: Level = "fault" if name == "onnxruntime" else "note"
        try:
            results = require_golden(load_bundle(demo_bundle()), name, 1)
            findings.append(
                Finding(name, "ok", f"demo bundle: {len(results)} golden images judged as exported")
            )
        except (InspectionError, ImportError) as error:
            findings.append(Finding(name, worst, str(error)))
    return findings


def _gpu() -> list[Finding]:
    """What the GPU's kernels would need: a driver with a GPU, a provider, a compiler; one line for each."""
    try:
        from kernels.device import PROVIDERS, probe
    except ImportError as error:
        return [Finding("gpu", "fault", f"cannot be imported: {error}")]
    found = probe()
    if found.reason:
        findings = [Finding("gpu", "note", f"{found.reason}; verdicts come from the CPU")]
    else:
        driver = "driver for CUDA {}.{}".format(*found.cuda)
        findings = [
            Finding("gpu", "ok", f"{found.devices} x {found.arch}, {driver}; head cuda runs GRNR on it")
        ]
    installed = [f"{name} {at}" for name in PROVIDERS if (at := _version(name))]
    extra = f"cuda{found.cuda[0] or 13}"
    missing = f"neither {' nor '.join(PROVIDERS)} is installed; pip install 'gonogo[{extra}]'"
    findings.append(Finding("cuda", "ok" if installed else "note", ", ".join(installed) or missing))
    return [*findings, _cuda_code(found.arch, found.cuda, extra)]


def _cuda_code(arch: str, driver: tuple[int, int], extra: str) -> Finding:
    """What compiles the CUDA kernels: for this GPU, or at all where there is none."""
    from kernels.compile import CompileError, choose, compilers

    if not arch:
        names = ", ".join(map(str, compilers()))
        missing = f"no NVRTC and no nvcc; pip install 'gonogo[{extra}]'"
        return Finding("cuda code", "ok" if names else "note", names or missing)
    try:
        return Finding("cuda code", "ok", f"{choose(arch, driver)} for {arch}")
    except CompileError as error:
        return Finding("cuda code", "note", str(error))


def _cameras() -> list[Finding]:
    nodes = sorted(Path("/dev").glob("video*"))
    if not nodes:
        return [Finding("cameras", "note", "no /dev/video*; folder, video and synthetic sources work")]
    shut = [str(node) for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if shut:
        return [Finding("cameras", "note", f"no right to open {', '.join(shut)}; join group video")]
    return [Finding("cameras", "ok", ", ".join(map(str, nodes)))]


def _clock_and_disk() -> list[Finding]:
    free = shutil.disk_usage(Path.cwd()).free
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    findings = [Finding("disk", "ok" if free > 1 << 30 else "note", f"{free / 1e9:.1f} GB free here")]
    if governor.is_file():
        mode = governor.read_text("ascii").strip()
        hint = "" if mode == "performance" else "; 'performance' gives steadier latency"
        findings.append(Finding("cpu clock", "ok" if not hint else "note", f"governor {mode}{hint}"))
    return findings


def demo_bundle() -> Path:
    """Folder of the bundle that ships with the package."""
    return Path(__file__).parents[1] / "data" / "demo" / "bundle"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


CHECKS: tuple[Callable[[], list[Finding]], ...] = (
    _machine,
    _packages,
    _opencv,
    _native,
    _backends,
    _gpu,
    _cameras,
    _clock_and_disk,
)
"""What the report is made of, in its order."""
