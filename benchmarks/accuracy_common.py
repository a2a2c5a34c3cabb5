"""What the accuracy benchmarks of all methods have in common: their inputs, and facts that a row rests on."""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime.detector import Detector
from runtime.errors import ConfigError
from runtime.images.files import load_image
from runtime.measure.figures import Estimate, Summary
from runtime.measure.machine import ROOT

TIMED = 20
"""Images whose processor time is taken."""
HERE = Path(__file__).parent


def add_arguments(parser: argparse.ArgumentParser, backbones: Sequence[str]) -> None:
    """Declares where data and weights lie, what of them is wanted, and where the results go."""
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, metavar="DIR")
    parser.add_argument("--sets", nargs="+", metavar="SET")
    parser.add_argument("--backbones", nargs="+", choices=backbones, default=backbones)
    parser.add_argument("--output", type=Path, default=HERE, help="folder of accuracy.md and results/")


def command(module: str, arguments: argparse.Namespace) -> str:
    """The command line with its folders by role: where they lay on this machine helps nobody."""
    words = sys.argv[1:]
    roles = {"DATA": arguments.data, "WEIGHTS": arguments.weights, "OUTPUT": arguments.output}
    roles["SHEETS"] = getattr(arguments, "sheets", None)
    for role, folder in roles.items():
        words = [word if folder is None else word.replace(str(folder), role) for word in words]
    return f"python -m benchmarks.{module} {shlex.join(words)}"


def weights_file(folder: Path | None, backbone: str) -> Path:
    """The weights of a pretrained backbone.

    Raises:
        ConfigError: they are not there.
    """
    found = [] if folder is None else sorted(folder.glob(f"{backbone}_*.npz"))
    if not found:
        where = "no folder of weights" if folder is None else folder
        raise ConfigError(f"{where}: no {backbone}_*.npz; give --weights, or leave it out of --backbones")
    return found[0].resolve()


def files_of(patterns: Sequence[str]) -> list[Path]:
    """Source files by glob patterns from the top of the checkout, sorted."""
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def code_digest(files: Sequence[Path]) -> str:
    """SHA-256, hex, over names and content of source files."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def data_digest(data: Path) -> str:
    """SHA-256, hex, of the data folder's SHA256SUMS.

    Raises:
        ConfigError: it has none.
    """
    try:
        return hashlib.sha256((data / "SHA256SUMS").read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{data}: {error}; expected SHA256SUMS, make it with sha256sum") from None


def cpu_ms(detector: Detector, paths: Sequence[Path]) -> float:
    """Median processor time of the detector on TIMED images, evenly picked, ms."""
    times = []
    for i in np.linspace(0, len(paths) - 1, min(len(paths), TIMED)).astype(int):
        image = load_image(paths[i])
        start = time.process_time()
        detector.predict(image)
        times.append((time.process_time() - start) * 1000)
    return float(np.median(times))


def interval(estimate: Estimate | None) -> str:
    """`0.912 (0.887 to 0.935)`, or `-`."""
    return "-" if estimate is None else f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def in_short(summary: Summary) -> str:
    """The figures that there are, without their intervals."""
    names = ("image_auroc", "pixel_auroc", "aupro", "f1_max")
    estimates = {name: getattr(summary, name) for name in names}
    return ", ".join(f"{name} {e.value:.3f}" for name, e in estimates.items() if e is not None)
