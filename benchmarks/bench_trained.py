"""How well the methods that train tell good from defective, on every set of a data folder with good images.

    python -m benchmarks.bench_trained DATA --weights WEIGHTS

DATA and WEIGHTS as for bench_accuracy. Every row is the real path: fit to train/good, export to a bundle,
load it, evaluate all test images. Rows go to results/trained.json as they are done and into the page
accuracy.md, beside what PatchCore and zero-shot GRNR reach there. A row is measured again when the data or
the code that decides it has changed. --sheets writes a contact sheet of each row: image, ground truth, map.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# One thread, also for BLAS: set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec

from benchmarks.accuracy_common import (
    add_arguments,
    code_digest,
    command,
    cpu_ms,
    data_digest,
    files_of,
    in_short,
    weights_file,
)
from benchmarks.contact_sheet import save_sheet
from benchmarks.trained_report import TrainedReport, TrainedRow, TrainedRun, load_rows, save_rows
from benchmarks.work import gmac
from export.bundling import export_fitted
from export.draft import draft_bundle
from export.fitted import Fitted
from export.fitting import ImageFiles, fit_method
from export.methods import METHODS, MethodConfig
from runtime.bundle import Bundle, load_bundle
from runtime.errors import ConfigError, InspectionError
from runtime.images.dataset import load_dataset, train_good
from runtime.measure.evaluation import evaluate
from runtime.measure.machine import this_machine
from runtime.opening import open_detector
from runtime.terms import Thresholds

TRAINED = ("inp_former",)
BACKBONES = ("resnet18",)
VARIANTS: dict[str, dict[str, object]] = {
    "edge": {},
    "no coherence loss": {"coherence": 0.0},
    "no soft mining": {"mining": 0.0},
}
"""Name -> what differs from the default settings."""
DECIDES = (
    "kernels/*.py",
    "export/fitting.py",
    "export/networks/*.py",
    "export/training/*.py",
    "export/methods/inp_former.py",
    "runtime/heads/distance_map.py",
    "runtime/images/*.py",
    "runtime/measure/*.py",
)
"""Source files whose change makes a row stale."""


def main() -> int:
    """Measures every row that is missing and writes the report."""
    arguments = _arguments()
    run = _run(arguments)
    rows = {row.key: row for row in load_rows(arguments.output).rows}
    for wanted in _wanted(arguments):
        facts = {"commit": run.machine.commit or "unknown", "code": run.code, "data": run.data}
        row = msgspec.structs.replace(wanted, **facts)
        known = rows.get(row.key)
        if known is None or (known.code, known.data) != (row.code, row.data) or known.error:
            rows[row.key] = _measured(row, arguments)
            print(f"{row.key}: {rows[row.key].error or _short(rows[row.key])}", flush=True)
            save_rows(TrainedReport(run, list(rows.values())), arguments.output)
    save_rows(TrainedReport(run, list(rows.values())), arguments.output)
    return 0


def _run(arguments: argparse.Namespace) -> TrainedRun:
    """Facts of this run."""
    said = command("bench_trained", arguments)
    return TrainedRun(this_machine(), said, code_digest(files_of(DECIDES)), data_digest(arguments.data))


def _wanted(arguments: argparse.Namespace) -> Iterator[TrainedRow]:
    """Rows to measure, small sets first."""
    found = {p.name: len(train_good(p)) for p in arguments.data.iterdir() if (p / "train" / "good").is_dir()}
    for name in set(arguments.sets or found) - set(found):
        raise ConfigError(f"{arguments.data}: no set {name!r} with train/good; expected {', '.join(found)}")
    for variant in arguments.variants:
        for seed in arguments.seeds:
            for backbone in arguments.backbones:
                for name in sorted(arguments.sets or found, key=lambda n: found[n]):
                    facts = {"set": name, "backbone": backbone, "variant": variant, "seed": seed}
                    for method in TRAINED:
                        yield msgspec.convert(
                            {"method": method, "good_images": found[name], **facts}, TrainedRow
                        )


def _measured(row: TrainedRow, arguments: argparse.Namespace) -> TrainedRow:
    """Fits, exports and evaluates; what fails is a row that says so."""
    weights = str(weights_file(arguments.weights, row.backbone))
    settings = {"id": "bench", "backbone": row.backbone, "weights": weights, "seed": row.seed}
    method: MethodConfig = msgspec.convert({**settings, **VARIANTS[row.variant]}, METHODS[row.method])
    path = arguments.data / row.set
    try:
        start = time.process_time()
        fitted = fit_method(method, Path(), ImageFiles(train_good(path)))
        spent = time.process_time() - start
        bundle, refusal = _exported(method, fitted)
        parameters = sum(array.size for array in fitted.arrays.values())
        row = msgspec.structs.replace(row, fit_cpu_s=spent, parameters=parameters, refusal=refusal)
        return _evaluated(row, bundle, path, arguments.sheets)
    except InspectionError as error:
        return msgspec.structs.replace(row, error=str(error))


def _exported(method: MethodConfig, fitted: Fitted) -> tuple[Bundle, str | None]:
    """The bundle; where export refuses it, the one it would have been, and why."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "bundle"
        try:
            export_fitted(method, Path(), fitted, out)
            return load_bundle(out), None
        except ConfigError as error:
            draft = draft_bundle(method, Path(), out).with_memory(fitted.arrays)
            return draft.with_manifest(suggestion=fitted.facts.suggestion).bundle, str(error)


def _evaluated(row: TrainedRow, bundle: Bundle, path: Path, sheets: Path | None) -> TrainedRow:
    suggestion = bundle.manifest.suggestion
    assert suggestion is not None
    detector, samples = open_detector(bundle), load_dataset(path).samples
    summary = evaluate(detector, samples, Thresholds(suggestion.threshold)).summary()
    spent = cpu_ms(detector, [sample.path for sample in samples])
    if sheets is not None:
        save_sheet(detector, samples, sheets / f"{row.key.replace('/', '_')}.png")
    detector.close()
    size, work = sum(map(len, bundle.files.values())) / 1e6, gmac(bundle.files["network.onnx"])
    return msgspec.structs.replace(row, summary=summary, cpu_ms=spent, bundle_mb=size, gmac=work)


def _short(row: TrainedRow) -> str:
    assert row.summary is not None
    return f"{in_short(row.summary)}; fit {row.fit_cpu_s:.0f} s, {row.cpu_ms:.0f} ms an image"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_arguments(parser, BACKBONES)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["edge"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--sheets", type=Path, metavar="DIR", help="folder of the contact sheets")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InspectionError as problem:
        sys.exit(str(problem))
