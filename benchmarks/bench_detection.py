"""What the demo's detector sees: a ladder of defect size x contrast on webs that tuned nothing.

    python -m benchmarks.bench_detection

Every image goes through the demo's bundle and its recipe's threshold, which rests on other seeds (see
make_demo.py). Rungs: `SIZES_PX` x `CONTRASTS`; on each, one section per web and kind of defect, with one
defect at a place drawn anew. Good sections of the same webs give the false rejects. Writes
results/detection.json, and from it detection.md and docs/detection.jpg.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# One thread per worker, also for BLAS: set before numpy is imported, here and in the workers.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import msgspec
import numpy as np

from benchmarks.detection_report import Ladder, Look, draw, page
from runtime.bundle import load_bundle
from runtime.detector import Detector
from runtime.frame import U8
from runtime.opening import open_detector
from runtime.output import write_text
from runtime.recipe import load_recipe
from runtime.sources.defects import random_defect, stamp_defect
from runtime.sources.synthetic import DEFECTS_OF, SyntheticConfig, SyntheticSource
from runtime.station import load_station

HERE = Path(__file__).parent
DATA = HERE.parent / "runtime" / "data" / "demo"
RESULTS = HERE / "results" / "detection.json"
PAGE = HERE / "detection.md"
PICTURE = HERE.parent / "docs" / "detection.jpg"

Judged = tuple[tuple[Look, ...], tuple[float, ...]]

SEEDS = range(2_000_000, 2_000_020)
"""Webs that neither threshold nor parameters were chosen on."""
SIZES_PX = (10, 20, 40, 80, 120)
CONTRASTS = (0.1, 0.2, 0.3, 0.4, 0.5)
GOOD_SECTIONS = 100
"""Good sections judged per web."""
WORKERS = 2


def main() -> int:
    """Judges every web, then writes results, page and picture."""
    web = _web()
    recipe = load_recipe(DATA / "recipe.yaml")
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(WORKERS, context) as pool:
        looks, good = zip(*_with_progress(pool.map(judge_web, SEEDS)), strict=True)
    every = tuple(look for web_looks in looks for look in web_looks)
    ladder = Ladder(web, tuple(SEEDS), recipe.threshold, load_bundle(DATA / "bundle").sha256, every, good)
    RESULTS.parent.mkdir(exist_ok=True)
    write_text(RESULTS, msgspec.json.encode(ladder).decode() + "\n")
    write_text(PAGE, page(ladder))
    PICTURE.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(PICTURE), draw(ladder, _example), [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(page(ladder))
    return 0


def judge_web(seed: int) -> tuple[tuple[Look, ...], tuple[float, ...]]:
    """Every rung on one web, and the scores of its good sections."""
    detector = open_detector(load_bundle(DATA / "bundle"))
    source = SyntheticSource(msgspec.structs.replace(_web(), seed=seed))
    pixels = np.zeros(source.shape, np.uint8)
    good = []
    for section in range(GOOD_SECTIONS):
        source.render(section, section, pixels)
        good.append(_score(detector, pixels))
    looks = []
    for section, (size, contrast, kind) in enumerate(_rungs(), start=GOOD_SECTIONS):
        _render(source, seed, section, size, contrast, kind, pixels)
        looks.append(Look(seed, kind, size, contrast, _score(detector, pixels)))
    detector.close()
    return tuple(looks), tuple(good)


def _score(detector: Detector, pixels: U8) -> float:
    """As the file keeps it: six digits decide as well as sixteen."""
    return float(f"{detector.predict(pixels).score:.6g}")


def _rungs() -> Iterator[tuple[float, float, str]]:
    for size in SIZES_PX:
        for contrast in CONTRASTS:
            for kind in DEFECTS_OF[_web().texture]:
                yield float(size), contrast, kind


def _render(
    source: SyntheticSource, seed: int, section: int, size: float, contrast: float, kind: str, pixels: U8
) -> tuple[int, int]:
    """Draws a section with one defect, and tells its centre, (y, x) px."""
    source.render(section, section, pixels)
    rng = np.random.default_rng([seed, section])
    defect = random_defect(rng, pixels.shape, [kind], (size, size), (contrast, contrast))
    stamp_defect(pixels, defect)
    return round(defect.y_px), round(defect.x_px)


def _example(size: float, contrast: float, side_px: int) -> U8:
    """A stain of one rung on the first web, cut out at the camera's own scale."""
    source = SyntheticSource(msgspec.structs.replace(_web(), seed=SEEDS[0]))
    pixels = np.zeros(source.shape, np.uint8)
    y, x = _render(source, SEEDS[0], GOOD_SECTIONS, size, contrast, "stain", pixels)
    top, left = (
        min(max(at - side_px // 2, 0), extent - side_px)
        for at, extent in zip((y, x), pixels.shape, strict=True)
    )
    cut: U8 = pixels[top : top + side_px, left : left + side_px].copy()
    return cut


def _web() -> SyntheticConfig:
    """The demo's web without defects of its own."""
    source = load_station(DATA / "station.yaml").source
    assert isinstance(source, SyntheticConfig)
    return msgspec.structs.replace(source, defect_rate=0.0)


def _with_progress(webs: Iterator[Judged]) -> Iterator[Judged]:
    for number, web in enumerate(webs, start=1):
        print(f"\r{number} of {len(SEEDS)} webs", end="", file=sys.stderr, flush=True)
        yield web
    print(file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
