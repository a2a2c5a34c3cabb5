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
from collections.abc import Iterator, Sequence
from pathlib import Path

# One thread, also for BLAS: set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec

from benchmarks.accuracy_common import add_arguments, weights_file
from benchmarks.contact_sheet import save_sheet
from benchmarks.fitted_measure import evaluated, exported, fitted_to, measure_missing, sets_with_good
from benchmarks.trained_report import TRAINED, TrainedRow
from benchmarks.work import gmac
from export.methods import METHODS, MethodConfig
from runtime.detector import Detector
from runtime.errors import InspectionError
from runtime.images.dataset import Sample

MEASURED = ("inp_former",)
"""Methods."""
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

    def method_of(row: TrainedRow) -> MethodConfig:
        weights = str(weights_file(arguments.weights, row.backbone))
        settings = {"id": "bench", "backbone": row.backbone, "weights": weights, "seed": row.seed}
        method: MethodConfig = msgspec.convert({**settings, **VARIANTS[row.variant]}, METHODS[row.method])
        return method

    def measured(row: TrainedRow, method: MethodConfig) -> TrainedRow:
        path = arguments.data / row.set
        fitted, spent = fitted_to(method, path)
        bundle, refusal = exported(method, fitted)
        parameters = sum(array.size for array in fitted.arrays.values())
        work = gmac(bundle.files["network.onnx"])
        facts = {"fit_cpu_s": spent, "parameters": parameters, "refusal": refusal, "gmac": work}

        def look(detector: Detector, samples: Sequence[Sample]) -> None:
            if arguments.sheets is not None:
                save_sheet(detector, samples, arguments.sheets / f"{row.key.replace('/', '_')}.png")

        return evaluated(msgspec.structs.replace(row, **facts), bundle, path, look)

    measure_missing(TRAINED, arguments, DECIDES, _wanted(arguments), method_of, measured)
    return 0


def _wanted(arguments: argparse.Namespace) -> Iterator[TrainedRow]:
    """Rows to measure, small sets first."""
    found = sets_with_good(arguments)
    for variant in arguments.variants:
        for seed in arguments.seeds:
            for backbone in arguments.backbones:
                for name, good in found.items():
                    facts = {"set": name, "backbone": backbone, "variant": variant, "seed": seed}
                    for method in MEASURED:
                        yield msgspec.convert({"method": method, "good_images": good, **facts}, TrainedRow)


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
