"""How well GRNR tells good from defective, on every set of a data folder, with each backbone.

    python -m benchmarks.bench_accuracy DATA --weights WEIGHTS

DATA holds sets in MVTec layout, sets.json and SHA256SUMS; WEIGHTS one <backbone>_*.npz per pretrained one.
Every row is the real path: export to a bundle, load it, run network and head, evaluate. Rows go to
results/accuracy.json as they are done, and accuracy.md is written from them: stop and start again at will.
A row is measured again when the data or the code that decides it has changed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# One thread per worker, also for BLAS: set before numpy is imported, here and in the workers.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.accuracy_cases import VARIANTS, Case, can_draw, grouped
from benchmarks.accuracy_common import add_arguments, command, in_short
from benchmarks.accuracy_measure import measure
from benchmarks.accuracy_page import to_page
from benchmarks.accuracy_report import Report, Row, Run, load_rows, machine, save_report
from benchmarks.patchcore_report import PATCHCORE
from benchmarks.trained_report import TRAINED
from runtime.errors import ConfigError, InspectionError
from runtime.output import write_text

BACKBONES = ("filter_bank", "resnet18", "resnet50v2", "mobilenet_v2")
FEW_BACKBONES = ("filter_bank", "resnet18")
PRESETS = ("default", "paper")
SHOTS = (5, 10)
RESULTS = Path("results") / "accuracy.json"


def main() -> int:
    """Measures every row that is missing and writes the report."""
    arguments = _arguments()
    run = machine(arguments.data, command("bench_accuracy", arguments))
    rows = {row.key: row for row in load_rows(arguments.output / RESULTS)}
    fresh = {key for key, row in rows.items() if (row.data, row.code) == (run.data, run.code)}
    cases = [case for case in _cases(arguments) if case.key not in fresh]
    print(f"{len(fresh)} rows kept, {len(cases)} to measure with {arguments.workers} workers", flush=True)
    for row in _measure_all(grouped(cases), run, arguments):
        rows[row.key] = row
        _save(run, rows, arguments.output)
        print(f"{row.key}: {in_short(row.summary) if row.summary else row.error}", flush=True)
    _save(run, rows, arguments.output)
    return 0


def _save(run: Run, rows: dict[str, Row], output: Path) -> None:
    report = Report(run, sorted(rows.values(), key=lambda row: row.key))
    save_report(report, output / RESULTS)
    write_text(output / "accuracy.md", to_page(report) + PATCHCORE.text(output) + TRAINED.text(output))


def _measure_all(groups: Sequence[Sequence[Case]], run: Run, arguments: argparse.Namespace) -> Iterator[Row]:
    if not groups:
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(arguments.workers, mp_context=context) as pool:
        pending = [pool.submit(measure, group, arguments.data, arguments.weights, run) for group in groups]
        try:
            for done in concurrent.futures.as_completed(pending):
                yield from done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """Zero-shot rows of every set first, then those with good images, then what was tried."""
    found = sorted(path.name for path in arguments.data.iterdir() if (path / "test").is_dir())
    sets = arguments.sets or found
    for name in set(sets) - set(found):
        raise ConfigError(f"{arguments.data}: no set {name!r}; expected one of {', '.join(found)}")
    for preset in arguments.presets:
        for backbone in arguments.backbones:
            yield from (Case(name, backbone, preset, limit=arguments.limit) for name in sets)
    for name in sets:
        yield from _few(arguments, name)
        if arguments.variants:
            yield from _variants(arguments, name)


def _few(arguments: argparse.Namespace, name: str) -> Iterator[Case]:
    for backbone in set(arguments.backbones) & set(FEW_BACKBONES):
        for shots in arguments.shots:
            if can_draw(arguments.data / name, shots):
                for draw in range(arguments.draws):
                    yield Case(name, backbone, "default", shots, draw, limit=arguments.limit)


def _variants(arguments: argparse.Namespace, name: str) -> Iterator[Case]:
    for variant, change in VARIANTS.items():
        for backbone in set(arguments.backbones) & set(change.backbones):
            yield Case(name, backbone, "default", variant=variant, limit=arguments.limit)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_arguments(parser, BACKBONES)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS)
    parser.add_argument(
        "--shots", nargs="*", type=int, default=SHOTS, help="good images; none: zero-shot only"
    )
    parser.add_argument("--draws", type=int, default=3, help="seeded draws of good images")
    parser.add_argument("--variants", action="store_true", help="also every change that was tried")
    parser.add_argument("--limit", type=int, help="images per kind, for a quick look")
    parser.add_argument("--workers", type=int, choices=(1, 2), default=2)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InspectionError as problem:
        sys.exit(str(problem))
