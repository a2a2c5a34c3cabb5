"""How well PatchCore tells good from defective, on every set of a data folder that has good images to fit to.

    python -m benchmarks.bench_patchcore DATA --weights WEIGHTS

DATA and WEIGHTS as for bench_accuracy. Every row is the real path: fit to all of train/good, export to a
bundle, load it, evaluate all test images. Rows go to results/patchcore.json as they are done and into the
page accuracy.md. A row is measured again when the data or the code that decides it has changed.
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
from benchmarks.patchcore_report import PatchcoreReport, PatchcoreRow, PatchcoreRun, load_rows, save_rows
from export.bundling import export_fitted
from export.draft import draft_bundle
from export.fitted import Fitted
from export.fitting import ImageFiles, fit_method
from export.methods.patchcore import PatchcoreExport
from runtime.bundle import Bundle, load_bundle
from runtime.errors import ConfigError, InspectionError
from runtime.images.dataset import load_dataset, train_good
from runtime.measure.evaluation import evaluate
from runtime.measure.machine import this_machine
from runtime.opening import open_detector
from runtime.terms import Thresholds

BACKBONES = ("resnet18", "resnet50v2")
VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "float32 bank": {"bank": "float32"},
    "coreset 1 %": {"coreset": 0.01},
    "no re-weighting": {"support": 1},
    "384 px": {"size": 384},
}
"""Name -> what differs from the default settings."""
DECIDES = (
    "kernels/*.py",
    "export/coreset.py",
    "export/fitting.py",
    "export/networks/*.py",
    "export/methods/patchcore.py",
    "runtime/detector.py",
    "runtime/heads/knn.py",
    "runtime/networks/onnxruntime.py",
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
        row = msgspec.structs.replace(
            wanted, commit=run.machine.commit or "unknown", code=run.code, data=run.data
        )
        known = rows.get(row.key)
        if known is None or (known.code, known.data) != (row.code, row.data) or known.error:
            rows[row.key] = _measured(row, arguments)
            print(f"{row.key}: {rows[row.key].error or _short(rows[row.key])}", flush=True)
            save_rows(PatchcoreReport(run, list(rows.values())), arguments.output)
    save_rows(PatchcoreReport(run, list(rows.values())), arguments.output)
    return 0


def _run(arguments: argparse.Namespace) -> PatchcoreRun:
    """Facts of this run."""
    said = command("bench_patchcore", arguments)
    return PatchcoreRun(this_machine(), said, code_digest(files_of(DECIDES)), data_digest(arguments.data))


def _wanted(arguments: argparse.Namespace) -> Iterator[PatchcoreRow]:
    """Rows to measure, small sets first."""
    found = {p.name: len(train_good(p)) for p in arguments.data.iterdir() if (p / "train" / "good").is_dir()}
    for name in set(arguments.sets or found) - set(found):
        raise ConfigError(f"{arguments.data}: no set {name!r} with train/good; expected {', '.join(found)}")
    for variant in arguments.variants:
        for backbone in arguments.backbones:
            for name in sorted(arguments.sets or found, key=lambda n: found[n]):
                yield PatchcoreRow(set=name, backbone=backbone, variant=variant, good_images=found[name])


def _measured(row: PatchcoreRow, arguments: argparse.Namespace) -> PatchcoreRow:
    """Fits, exports and evaluates; what fails is a row that says so."""
    weights = str(weights_file(arguments.weights, row.backbone))
    settings = {"id": "bench", "backbone": row.backbone, "weights": weights, **VARIANTS[row.variant]}
    method, path = msgspec.convert(settings, PatchcoreExport), arguments.data / row.set
    try:
        start = time.process_time()
        fitted = fit_method(method, Path(), ImageFiles(train_good(path)))
        row = msgspec.structs.replace(row, fit_cpu_s=time.process_time() - start)
        row = msgspec.structs.replace(row, bank=fitted.arrays["bank"].shape)
        bundle, refusal = _exported(method, fitted)
        return _evaluated(msgspec.structs.replace(row, refusal=refusal), bundle, path)
    except InspectionError as error:
        return msgspec.structs.replace(row, error=str(error))


def _exported(method: PatchcoreExport, fitted: Fitted) -> tuple[Bundle, str | None]:
    """The bundle; where export refuses it, the one it would have been, and why."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "bundle"
        try:
            export_fitted(method, Path(), fitted, out)
            return load_bundle(out), None
        except ConfigError as error:
            draft = draft_bundle(method, Path(), out).with_memory(fitted.arrays)
            return draft.with_manifest(suggestion=fitted.facts.suggestion).bundle, str(error)


def _evaluated(row: PatchcoreRow, bundle: Bundle, path: Path) -> PatchcoreRow:
    suggestion = bundle.manifest.suggestion
    assert suggestion is not None
    detector, samples = open_detector(bundle), load_dataset(path).samples
    summary = evaluate(detector, samples, Thresholds(suggestion.threshold)).summary()
    spent = cpu_ms(detector, [sample.path for sample in samples])
    detector.close()
    size = sum(map(len, bundle.files.values())) / 1e6
    return msgspec.structs.replace(row, summary=summary, cpu_ms=spent, bundle_mb=size)


def _short(row: PatchcoreRow) -> str:
    assert row.summary is not None
    return f"{in_short(row.summary)}; fit {row.fit_cpu_s:.0f} s, {row.cpu_ms:.0f} ms an image"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_arguments(parser, BACKBONES)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=["default"])
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InspectionError as problem:
        sys.exit(str(problem))
