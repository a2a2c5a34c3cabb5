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
from collections.abc import Iterator

# One thread, also for BLAS: set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec

from benchmarks.accuracy_common import add_arguments, weights_file
from benchmarks.fitted_measure import evaluated, exported, fitted_to, measure_missing, sets_with_good
from benchmarks.patchcore_report import PATCHCORE, PatchcoreRow
from export.methods import MethodConfig
from export.methods.patchcore import PatchcoreExport
from runtime.errors import InspectionError

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

    def method_of(row: PatchcoreRow) -> MethodConfig:
        weights = str(weights_file(arguments.weights, row.backbone))
        settings = {"id": "bench", "backbone": row.backbone, "weights": weights, **VARIANTS[row.variant]}
        return msgspec.convert(settings, PatchcoreExport)

    def measured(row: PatchcoreRow, method: MethodConfig) -> PatchcoreRow:
        path = arguments.data / row.set
        fitted, spent = fitted_to(method, path)
        bundle, refusal = exported(method, fitted)
        facts = {"fit_cpu_s": spent, "bank": fitted.arrays["bank"].shape, "refusal": refusal}
        return evaluated(msgspec.structs.replace(row, **facts), bundle, path)

    measure_missing(PATCHCORE, arguments, DECIDES, _wanted(arguments), method_of, measured)
    return 0


def _wanted(arguments: argparse.Namespace) -> Iterator[PatchcoreRow]:
    """Rows to measure, small sets first."""
    found = sets_with_good(arguments)
    for variant in arguments.variants:
        for backbone in arguments.backbones:
            for name, good in found.items():
                yield PatchcoreRow(set=name, backbone=backbone, variant=variant, good_images=good)


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
