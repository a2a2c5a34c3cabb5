"""Makes what `gonogo demo` judges with: the bundle and the recipe in runtime/data/demo.

    python -m benchmarks.make_demo

The threshold is calibrated on good webs that the demo never shows unless asked for: `SEEDS`. A web is one
draw: it comes past the camera again and again, so that a spot of it that looks odd is rejected many times.
Hence a web counts once, with the greatest score of its sections, and the rate that is promised is a rate of
webs: all but `FALSE_REJECT` of them run without a single false reject.

The scores go to results/demo_calibration.json. A test exports again, scores two webs again, and fails when
bundle, scores and recipe no longer fit together.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

# One thread per worker, also for BLAS: set before numpy is imported, here and in the workers.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec
import numpy as np
import onnx
import yaml

from export.bundling import export_bundle
from export.methods import load_method
from runtime.bundle import Bundle, load_bundle
from runtime.images.files import decode_image
from runtime.measure.calibration import Calibration, calibrate
from runtime.opening import open_detector
from runtime.output import write_json, write_text
from runtime.sources.synthetic import SyntheticConfig, SyntheticSource
from runtime.station import load_station

HERE = Path(__file__).parent
CONFIG = HERE.parent / "configs" / "export" / "demo.yaml"
DATA = HERE.parent / "runtime" / "data" / "demo"
RESULTS = HERE / "results" / "demo_calibration.json"

SEEDS = range(1_000_000, 1_000_199)
SECTIONS = 16
"""Scored per web: the roll comes back after 544 sections, but 16 of them show every spot of it 7 times."""
FALSE_REJECT = 0.01
DEADLINE_MS = 250.0
"""7 parts at 30 per second: a laptop with a browser open keeps it."""
WORKERS = 2


class Scores(msgspec.Struct, frozen=True):
    """What the threshold rests on."""

    bundle_sha256: str
    """Of the manifest."""
    web: SyntheticConfig
    """Its seed is replaced by each of `seeds`."""
    seeds: tuple[int, ...]
    sections: int
    greatest: tuple[float, ...]
    """Per web, the greatest score of its sections."""


def main() -> int:
    """Exports the bundle if it changed, scores every web and writes recipe and scores."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = export_fresh(Path(folder) / "bundle")
        changed = differences(fresh, DATA / "bundle")
        print("bundle:", "; ".join(changed) or "unchanged", flush=True)
        if changed:
            shutil.rmtree(DATA / "bundle", ignore_errors=True)
            shutil.copytree(fresh.path, DATA / "bundle")
    bundle = load_bundle(DATA / "bundle")
    scores = _score_all(bundle, good_web())
    found = calibrate(scores.greatest, FALSE_REJECT)
    RESULTS.parent.mkdir(exist_ok=True)
    write_json(RESULTS, scores)
    write_text(DATA / "recipe.yaml", recipe_text(found, scores))
    print(f"threshold {found.threshold:.6g}; greatest scores of webs: median {found.median:.4g}")
    return 0


def export_fresh(out: Path) -> Bundle:
    """Exports the demo's config to a new folder."""
    return export_bundle(load_method(CONFIG), CONFIG.parent, [], out, ("fp32", "fp16"))


def good_web() -> SyntheticConfig:
    """The demo's web without defects."""
    source = load_station(DATA / "station.yaml").source
    assert isinstance(source, SyntheticConfig)
    return msgspec.structs.replace(source, defect_rate=0.0)


def greatest_score(bundle_path: Path, web: SyntheticConfig, seed: int, sections: int = SECTIONS) -> float:
    """The greatest score of the first sections of a good web, through the real path."""
    detector = open_detector(load_bundle(bundle_path))
    source = SyntheticSource(msgspec.structs.replace(web, seed=seed))
    pixels = np.zeros(source.shape, np.uint8)
    greatest = 0.0
    for section in range(sections):
        source.render(section, section, pixels)
        greatest = max(greatest, detector.predict(pixels).score)
    detector.close()
    return greatest


def recipe_text(found: Calibration, scores: Scores) -> str:
    """The demo's recipe; what is known about its threshold stands above it as comments."""
    first, last = scores.seeds[0], scores.seeds[-1]
    comments = [
        "Made by 'python -m benchmarks.make_demo'; the scores: benchmarks/results/demo_calibration.json.",
        f"{found.images} good webs, seeds {first} to {last}, each with the greatest score of its first",
        f"{scores.sections} sections: median {found.median:.4g}, greatest {found.greatest:.4g}.",
        f"Threshold just above score {found.order} of {found.images} in ascending order. Webs with any false",
        f"reject: wanted {found.wanted:.1%}, expected {found.expected:.1%}; the true rate lies between",
        f"{found.low:.2%} and {found.high:.2%} (95 %).",
    ]
    recipe = {
        "id": "demo",
        "version": "1",
        "number": 1,
        "bundle": "bundle",
        "threshold": found.threshold,
        "score_scale": found.score_scale,
        "deadline_ms": DEADLINE_MS,
    }
    return "".join(f"# {line}\n" for line in comments) + yaml.safe_dump(recipe, sort_keys=False)


def differences(fresh: Bundle, path: Path) -> list[str]:
    """In what the bundle at `path` differs from a fresh export; date, versions and rounding do not count."""
    if not path.is_dir():
        return ["there is none"]
    old = load_bundle(path)
    return [what for what, same in CHECKS.items() if not same(old, fresh)]


def _same_manifest(old: Bundle, fresh: Bundle) -> bool:
    """All but date, versions, hashes, what the parity gate measured, and the golden scores, which are
    compared within their tolerance."""
    known = {"created": "", "versions": {}, "files": {}, "precisions": {}, "golden": fresh.manifest.golden}
    parts = [msgspec.structs.replace(b.manifest, **known) for b in (old, fresh)]
    ours, theirs = ([golden.score for golden in b.manifest.golden.images] for b in (old, fresh))
    near = np.allclose(ours, theirs, rtol=fresh.manifest.golden.tolerance)
    return near and parts[0] == parts[1] and set(old.files) == set(fresh.files)


def _same_network(file: str, old: Bundle, fresh: Bundle) -> bool:
    """Node by node, weight by weight: two versions of onnx may write the same graph in other bytes."""
    graphs = [onnx.load_from_string(b.files.get(file, b"")).graph for b in (old, fresh)]
    return bool(graphs[0] == graphs[1])


def _same_arrays(old: Bundle, fresh: Bundle) -> bool:
    ours, theirs = old.arrays(), fresh.arrays()
    # 1e-6: float32 rounding of weights below 1.
    return ours.keys() == theirs.keys() and all(
        ours[name].shape == theirs[name].shape and np.allclose(ours[name], theirs[name], atol=1e-6)
        for name in ours
    )


def _same_golden(old: Bundle, fresh: Bundle) -> bool:
    """Pixel by pixel, within a grey level: interpolation may round otherwise on another CPU."""
    pairs = [
        [decode_image(b.files[golden.file], Path(golden.file)).astype(int) for b in (old, fresh)]
        for golden in fresh.manifest.golden.images
    ]
    return all(a.shape == b.shape and int(abs(a - b).max()) <= 1 for a, b in pairs)


CHECKS: dict[str, Callable[[Bundle, Bundle], bool]] = {
    "manifest": _same_manifest,
    "network.onnx": partial(_same_network, "network.onnx"),
    "network.fp16.onnx": partial(_same_network, "network.fp16.onnx"),
    "head.npz": _same_arrays,
    "golden images": _same_golden,
}


def _score_all(bundle: Bundle, web: SyntheticConfig) -> Scores:
    greatest = tuple(_each_web(bundle.path, web))
    return Scores(bundle.sha256, web, tuple(SEEDS), SECTIONS, greatest)


def _each_web(path: Path, web: SyntheticConfig) -> Iterator[float]:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
        for n, score in enumerate(pool.map(partial(greatest_score, path, web), SEEDS)):
            if n % 20 == 0:
                print(f"{n} of {len(SEEDS)} webs", flush=True)
            yield score


if __name__ == "__main__":
    sys.exit(main())
