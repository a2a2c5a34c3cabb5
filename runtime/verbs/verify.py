"""`gonogo verify`: whether a bundle decides alike on every backend of this machine."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..bundle import Bundle, load_bundle
from ..errors import EngineError
from ..images.files import list_images, load_image
from ..measure.gate import IMAGES, GateImage, gate_set, spread, with_planted
from ..measure.parity import Judged, compare, judge_all
from ..networks import NETWORKS, offered_precisions, precision_of
from ..opening import open_detector
from ..precision import Parity

REFERENCE = "onnxruntime:fp32"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument(
        "good_images",
        type=Path,
        nargs="*",
        metavar="GOOD_IMAGES",
        help="good parts, in which defects are planted (absent: the bundle's own gate set)",
    )
    parser.add_argument(
        "--backend",
        action="append",
        metavar="NAME[:PRECISION]",
        help="what to verify, may be repeated (absent: all that runs here): " + ", ".join(NETWORKS),
    )
    parser.add_argument("--against", default=REFERENCE, metavar="NAME[:PRECISION]", help=f"({REFERENCE})")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of network and kernels, 1..64")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


@dataclass(frozen=True)
class Result:
    """One backend against the reference."""

    backend: str
    parity: Parity | None
    """None: it does not run here."""
    reason: str
    """Why it did not pass; empty where it did."""


def run(arguments: argparse.Namespace) -> int:
    """Prints one row per backend; 0 when all that run decide alike, else 1."""
    bundle = load_bundle(arguments.bundle)
    images = _images(bundle, arguments.good_images)
    against = f"{arguments.against.partition(':')[0]}:{precision_of(arguments.against, bundle)}"
    before = _judge(bundle, images, against, arguments.threads)
    chosen = arguments.backend
    named = chosen or [name for name in _all_here(bundle) if name != against]
    results = []
    for name in named:
        results.append(_verify(bundle, images, before, name, arguments.threads, bool(chosen)))
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode([asdict(r) for r in results]), indent=1).decode())
    else:
        _print(results, against, images)
    return int(any(result.parity is not None and result.reason for result in results))


def _images(bundle: Bundle, given: list[Path]) -> list[GateImage]:
    paths = [image for path in given for image in (list_images(path) if path.is_dir() else [path])]
    if not paths:
        return gate_set(bundle)
    return with_planted({str(paths[i]): load_image(paths[i]) for i in spread(len(paths), 4 * IMAGES)})


def _all_here(bundle: Bundle) -> Iterator[str]:
    """Every backend with every precision that the bundle allows; one that does not run stands there bare."""
    for name in NETWORKS:
        try:
            offered = offered_precisions(name)
        except EngineError:
            yield name
            continue
        yield from (f"{name}:{p}" for p in offered if p in bundle.manifest.allowed_precisions)


def _verify(
    bundle: Bundle, images: list[GateImage], before: list[Judged], name: str, threads: int, asked: bool
) -> Result:
    try:
        after = _judge(bundle, images, name, threads)
    except EngineError as error:
        if asked:
            raise
        return Result(name, None, str(error))
    parity = compare(images, before, after)
    part = bundle.manifest.precisions.get(precision_of(name, bundle))
    return Result(name, parity, parity.fault(0 if part is None else part.flips_allowed))


def _judge(bundle: Bundle, images: list[GateImage], backend: str, threads: int) -> list[Judged]:
    detector = open_detector(bundle, backend=backend, threads=threads)
    console = Console(stderr=True)
    bar = track(images, backend, console=console, transient=True, disable=not console.is_terminal)
    try:
        return judge_all(detector, bar)
    finally:
        detector.close()


def _print(results: list[Result], against: str, images: list[GateImage]) -> None:
    table = Table("backend", "flips", "shift", "map corr.", "moved", "not finite", "result")
    for result in results:
        table.add_row(result.backend, *_figures(result.parity), _word(result))
    Console(highlight=False).print(table)
    good = sum(image.good for image in images)
    print(f"against {against}: {good} good images and {len(images) - good} with a planted defect;")
    print("shift in standard deviations of the good scores, moved: the map's greatest cell, in cells")
    for result in results:
        if result.reason:
            print(f"{result.backend}: {result.reason}")
        elif result.parity is not None:
            print(f"{result.backend}: the greatest shift is that of {result.parity.worst}")


def _figures(p: Parity | None) -> list[str]:
    if p is None:
        return [""] * 5
    return [str(p.flips), f"{p.shift:.2g}", f"{p.correlation:.5f}", str(p.moved), str(p.non_finite)]


def _word(result: Result) -> str:
    return "not here" if result.parity is None else "FAIL" if result.reason else "pass"
