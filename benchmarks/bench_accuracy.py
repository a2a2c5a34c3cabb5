"""How well GRNR tells good from defective, on every set of a data folder, with each backbone.

    python -m benchmarks.bench_accuracy DATA --weights WEIGHTS

DATA holds sets in MVTec layout and SHA256SUMS; WEIGHTS one <backbone>_*.npz per pretrained backbone.
Every row is the real path: export to a bundle, load it, open the detector, evaluate. Rows go to
results/accuracy.json as they are done, and accuracy.md is written from them: stop and start again at will.
A row is measured again when the data or the code that decides it has changed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# One thread per worker, also for BLAS: set before numpy is imported, here and in the workers.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import numpy as np

from benchmarks.accuracy_report import Head, Report, Row, load_report, machine, save_report
from export.bundling import export_bundle
from export.methods import MethodConfig
from runtime.bundle import load_bundle
from runtime.detector import Detector
from runtime.errors import ConfigError, InspectionError
from runtime.images.dataset import load_dataset, train_good
from runtime.images.files import load_image
from runtime.measure.evaluation import evaluate
from runtime.opening import open_detector
from runtime.verdict import Thresholds

BACKBONES = ("filter_bank", "resnet18", "resnet50v2", "mobilenet_v2")
PRESETS = ("default", "paper")
SHOTS = (5, 10)
TIMED = 20
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Task:
    """What one row is measured with."""

    key: str
    """Name of the row: all that follows but the paths."""
    data: Path
    weights: Path | None
    set: str
    backbone: str
    preset: str
    shots: int
    """Good images given to the export; 0 = zero-shot."""
    draw: int
    """Seed that picked them from train/good."""
    limit: int | None
    margin: float | None
    """Share of the map at each side that does not count for the score; None = the preset's."""


def main() -> int:
    """Measures every row that is missing and writes the report."""
    arguments = _arguments()
    head = machine(arguments.data, _words(arguments), arguments.workers)
    results, page = arguments.output / "results" / "accuracy.json", arguments.output / "accuracy.md"
    report = load_report(results)
    rows = {row.key: row for row in report.rows}
    fresh = {key for key, row in rows.items() if (row.data, row.code) == (head.data, head.code)}
    tasks = [task for task in _tasks(arguments) if task.key not in fresh]
    print(f"{len(fresh)} rows kept, {len(tasks)} to measure with {arguments.workers} workers", flush=True)
    for row in _measure_all(tasks, head, arguments.workers):
        rows[row.key] = row
        save_report(Report(head, sorted(rows.values(), key=lambda r: r.key)), results, page)
        print(f"{row.key}: {row.error or _short(row)}", flush=True)
    save_report(Report(head, sorted(rows.values(), key=lambda r: r.key)), results, page)
    return 0


def measure(task: Task, head: Head) -> Row:
    """Exports, evaluates and sums up; an export or image that fails is a row that says so."""
    facts = {field: getattr(task, field) for field in ("set", "backbone", "preset", "shots", "draw")}
    row = Row(key=task.key, **facts, limit=task.limit, margin=task.margin, commit=head.commit, code=head.code)
    row = msgspec.structs.replace(row, data=head.data, workers=head.workers)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _figures(task, row, Path(folder) / "bundle")
    except InspectionError as error:
        return msgspec.structs.replace(row, error=str(error))


def _figures(task: Task, row: Row, out: Path) -> Row:
    config: MethodConfig = msgspec.convert(
        {"method": "grnr", "id": task.set, "backbone": task.backbone, "preset": task.preset}
        | ({} if task.weights is None else {"weights": str(task.weights.resolve())})
        | ({} if task.margin is None else {"margin": task.margin}),
        MethodConfig,
    )
    good = [load_image(path) for path in _drawn(task)]
    export_bundle(config, Path(), good, out)
    bundle = load_bundle(out)
    suggestion = bundle.manifest.suggestion
    thresholds = None if suggestion is None else Thresholds(suggestion.threshold)
    detector = open_detector(bundle)
    dataset = load_dataset(task.data / task.set, task.limit)
    summary = evaluate(detector, dataset.samples, thresholds).summary()
    spent = _cpu_ms(detector, [sample.path for sample in dataset.samples])
    detector.close()
    return msgspec.structs.replace(row, summary=summary, cpu_ms=spent)


def _cpu_ms(detector: Detector, paths: list[Path]) -> float:
    """Median processor time of the detector on TIMED images, evenly picked, ms."""
    times = []
    for i in np.linspace(0, len(paths) - 1, min(len(paths), TIMED)).astype(int):
        image = load_image(paths[i])
        start = time.process_time()
        detector.predict(image)
        times.append((time.process_time() - start) * 1000)
    return float(np.median(times))


def _drawn(task: Task) -> list[Path]:
    """The good images of this draw."""
    if task.shots == 0:
        return []
    found = train_good(task.data / task.set)
    picked = np.random.default_rng(task.draw).choice(len(found), task.shots, replace=False)
    return [found[i] for i in sorted(picked)]


def _measure_all(tasks: list[Task], head: Head, workers: int) -> Iterator[Row]:
    if not tasks:
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        pending = [pool.submit(measure, task, head) for task in tasks]
        try:
            for done in concurrent.futures.as_completed(pending):
                yield done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _tasks(arguments: argparse.Namespace) -> Iterator[Task]:
    """Zero-shot rows of every set first, then those with good images."""
    found = sorted(path.name for path in arguments.data.iterdir() if (path / "test").is_dir())
    sets = arguments.sets or found
    for name in set(sets) - set(found):
        raise ConfigError(f"{arguments.data}: no set {name!r}; expected one of {', '.join(found)}")
    for shots in (0, *arguments.shots):
        for name in sets:
            if shots and not _can_draw(arguments.data / name, shots):
                continue
            for backbone in arguments.backbones:
                for preset in arguments.presets if shots == 0 else ("default",):
                    for draw in range(arguments.draws if shots else 1):
                        yield _task(arguments, name, backbone, preset, shots, draw)


def _task(
    arguments: argparse.Namespace, name: str, backbone: str, preset: str, shots: int, draw: int
) -> Task:
    limit = arguments.limit
    # The paper's preset has no margin of its own: its map leaves the border out.
    margin = arguments.margin if preset == "default" else None
    key = f"{name}/{backbone}/{preset}/{shots} good/draw {draw}"
    key += "" if limit is None else f"/limit {limit}"
    key += "" if margin is None else f"/margin {margin:g}"
    weights = None if backbone == "filter_bank" else _weights(arguments.weights, backbone)
    return Task(key, arguments.data, weights, name, backbone, preset, shots, draw, limit, margin)


def _weights(folder: Path | None, backbone: str) -> Path:
    found = [] if folder is None else sorted(folder.glob(f"{backbone}_*.npz"))
    if not found:
        raise ConfigError(f"{folder}: no {backbone}_*.npz; give --weights, or leave it out of --backbones")
    return found[0]


def _can_draw(path: Path, shots: int) -> bool:
    good = path / "train" / "good"
    return good.is_dir() and len(train_good(path)) >= shots


def _words(arguments: argparse.Namespace) -> list[str]:
    """The command line with its folders by role: where they lay on this machine helps nobody."""
    words = sys.argv[1:]
    roles = {"DATA": arguments.data, "WEIGHTS": arguments.weights, "OUTPUT": arguments.output}
    for role, folder in roles.items():
        words = [word if folder is None else word.replace(str(folder), role) for word in words]
    return words


def _short(row: Row) -> str:
    assert row.summary is not None
    names = ("image_auroc", "pixel_auroc", "aupro", "f1_max")
    estimates = {name: getattr(row.summary, name) for name in names}
    return ", ".join(f"{name} {e.value:.3f}" for name, e in estimates.items() if e is not None)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, metavar="DIR")
    parser.add_argument("--sets", nargs="+", metavar="SET")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=BACKBONES)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS)
    parser.add_argument(
        "--shots", nargs="*", type=int, default=SHOTS, help="good images; none: zero-shot only"
    )
    parser.add_argument("--draws", type=int, default=3, help="seeded draws of good images")
    parser.add_argument("--limit", type=int, help="images per kind, for a quick look")
    parser.add_argument("--margin", type=float, help="margin of the score instead of the preset's")
    parser.add_argument("--workers", type=int, choices=(1, 2), default=2)
    parser.add_argument("--output", type=Path, default=HERE, help="folder of accuracy.md and results/")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InspectionError as problem:
        sys.exit(str(problem))
