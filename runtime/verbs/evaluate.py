"""`gonogo evaluate`: a folder in MVTec layout -> AUROC, AUPRO, F1-max, per kind of defect."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ..bundle import Bundle, load_bundle
from ..detector import Detector
from ..errors import ConfigError
from ..heads import head_name
from ..images.dataset import Dataset, Sample, load_dataset
from ..images.files import save_image
from ..images.overlay import outcome_label, overlay
from ..measure.evaluation import evaluate, judge_file
from ..measure.figures import Estimate, ImageResult, Summary
from ..measure.metrics import RESAMPLES
from ..output import make_folder, require_writable, write_text
from ..recipe import load_recipe
from ..terms import Thresholds
from ..verdict import decide
from .engine_arguments import add_engine_arguments, open_chosen

METHOD = {
    "interval": f"95 % percentile bootstrap over images, {RESAMPLES} resamples, seed 0, good and defective "
    "resampled separately; images of one part are not independent, which makes it too narrow",
    "pixels": "map brought to image pixels by bilinear interpolation; pixels outside the inspected area "
    "excluded; a recipe's mask and a bundle's margin act on the image score only",
    "aupro": "false-positive rate up to 0.3, regions 8-connected, normalised to 0..1",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("dataset", type=Path, help="folder with test/<kind>/ and ground_truth/<kind>/")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write one row per image")
    parser.add_argument("--overlays", type=Path, metavar="DIR", help="write an overlay PNG per image")
    parser.add_argument("--recipe", type=Path, help="inspect its region, report its threshold's errors")
    parser.add_argument("--limit", type=int, metavar="N", help="N images per kind, evenly spread")
    add_engine_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judges the whole set, prints a table and writes what was asked for."""
    if arguments.limit is not None and arguments.limit < 1:
        raise ConfigError(f"--limit is {arguments.limit}; expected at least 1 image per kind")
    for path in (arguments.json, arguments.csv):
        if path is not None:
            require_writable(path)
    if arguments.overlays is not None:
        make_folder(arguments.overlays)
    bundle, dataset = load_bundle(arguments.bundle), load_dataset(arguments.dataset, arguments.limit)
    recipe = None if arguments.recipe is None else load_recipe(arguments.recipe)
    thresholds = None if recipe is None else recipe.thresholds
    detector = open_chosen(arguments, bundle, recipe)
    try:
        evaluation = evaluate(detector, _bar(dataset.samples, "evaluate"), thresholds)
        summary = evaluation.summary()
        _print(arguments, summary)
        _write(arguments, bundle, dataset, summary, evaluation.results)
        if arguments.overlays is not None:
            shown = thresholds or _overlay_thresholds(bundle, summary, evaluation.results)
            _overlays(detector, dataset, shown, arguments.overlays)
    finally:
        detector.close()
    return 0


def to_csv(results: Sequence[ImageResult]) -> str:
    """One row per image; `pred` is the recipe's outcome, empty without a recipe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "kind", "label", "score", "pixel_auroc", "pred", "ms"])
    for r in results:
        pixel = "" if r.pixel_auroc is None else f"{r.pixel_auroc:.6f}"
        label = "defective" if r.sample.defective else "good"
        row = [r.sample.path, r.sample.kind, label, repr(r.score), pixel, r.outcome or "", f"{r.ms:.3f}"]
        writer.writerow(row)
    return text.getvalue()


def _write(
    arguments: argparse.Namespace,
    bundle: Bundle,
    dataset: Dataset,
    summary: Summary,
    results: Sequence[ImageResult],
) -> None:
    if arguments.csv is not None:
        write_text(arguments.csv, to_csv(results))
    if arguments.json is not None:
        head = {
            "bundle": {"path": str(bundle.path), "id": bundle.manifest.id, "sha256": bundle.sha256},
            "dataset": str(dataset.path),
            "recipe": None if arguments.recipe is None else str(arguments.recipe),
            "backend": arguments.backend,
            "threads": arguments.threads,
            "head": head_name(arguments.head),
            "limit": arguments.limit,
            "method": METHOD,
        }
        text = json.dumps({**head, **msgspec.to_builtins(summary)}, indent=1, allow_nan=False)
        write_text(arguments.json, text + "\n")


def _overlay_thresholds(bundle: Bundle, summary: Summary, results: Sequence[ImageResult]) -> Thresholds:
    """What an overlay is drawn against without a recipe, said on stdout."""
    suggestion = bundle.manifest.suggestion
    if suggestion is not None:
        threshold, source = suggestion.threshold, "suggested at export"
    elif summary.f1_threshold is not None:
        threshold, source = summary.f1_threshold, "of F1-max on this very set"
    else:
        threshold, source = min(r.score for r in results), "the lowest score: every image is drawn as NG"
    print(f"overlays: drawn at threshold {threshold:.6g}, {source}")
    # A score of 0 has no positive threshold below it; any map value is over then.
    return Thresholds(max(threshold, sys.float_info.min))


def _overlays(detector: Detector, dataset: Dataset, thresholds: Thresholds, folder: Path) -> None:
    """DIR/<kind>/<name>.png for every image; each is judged again, so that no map had to be kept."""
    for kind in dataset.counts():
        make_folder(folder / kind)
    for sample in _bar(dataset.samples, "overlays"):
        image, prediction, _ = judge_file(detector, sample.path)
        judgement = decide(prediction.score, thresholds)
        label = outcome_label(judgement.outcome, judgement.score, thresholds.threshold)
        picture = overlay(image, prediction.anomaly_map, prediction.to_image, thresholds.threshold, label)
        save_image(folder / sample.kind / f"{sample.path.name}.png", picture)


def _bar(samples: Sequence[Sample], what: str) -> Iterable[Sample]:
    """The samples, with a progress bar on stderr where that is a terminal."""
    console = Console(stderr=True)
    return track(samples, what, console=console, transient=True, disable=not console.is_terminal)


def _print(arguments: argparse.Namespace, summary: Summary) -> None:
    console = Console(highlight=False, soft_wrap=True)
    counts = ", ".join(f"{count} {kind}" for kind, count in summary.images.items())
    limited = (
        "" if arguments.limit is None else f"; at most {arguments.limit} per kind (--limit), evenly spread"
    )
    console.print(f"{arguments.dataset}: {counts}{limited}", markup=False)
    console.print(_figure_table(summary))
    if summary.kinds:
        console.print(_kind_table(summary))
    for line in [*_facts(summary), *(f"note: {note}" for note in summary.notes)]:
        console.print(line, markup=False)


def _figure_table(summary: Summary) -> Table:
    table = Table("figure", "value", "95 % interval")
    rows = {
        "image AUROC": summary.image_auroc,
        "F1-max": summary.f1_max,
        "pixel AUROC, pooled": summary.pixel_auroc,
        "pixel AUROC, mean per image": summary.pixel_auroc_per_image,
        "AUPRO (FPR <= 0.3)": summary.aupro,
    }
    for name, estimate in rows.items():
        table.add_row(name, *_cells(estimate))
    return table


def _kind_table(summary: Summary) -> Table:
    table = Table(title="against all good images; pixels: mean per image")
    table.add_column("kind", no_wrap=True)
    for name in ("images", "image AUROC", "pixel AUROC", "median score"):
        table.add_column(name)
    for k in summary.kinds:
        image, pixel = _with_interval(k.image_auroc), _with_interval(k.pixel_auroc_per_image)
        table.add_row(k.kind, str(k.images), image, pixel, f"{k.median_score:.4g}")
    return table


def _cells(estimate: Estimate | None) -> tuple[str, str]:
    if estimate is None:
        return "-", "-"
    return f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}"


def _with_interval(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _facts(summary: Summary) -> list[str]:
    lines = [f"detector: {summary.ms_per_image['p50']:.1f} ms per image (median)"]
    good, at = summary.good_scores, summary.at_threshold
    if good is not None:
        spread = f"5 to 95 % {good.p5:.4g} to {good.p95:.4g}"
        lines.append(f"good scores: median {good.median:.4g}, {spread}, max {good.max:.4g}")
    if summary.f1_threshold is not None:
        lines.append(f"F1-max at threshold {summary.f1_threshold:.6g}; for use take 'gonogo calibrate'")
    if at is not None:
        good_count, bad_count = (good.images if good else 0), sum(k.images for k in summary.kinds)
        lines.append(
            f"at the recipe's threshold {at.threshold:.6g}: {at.false_rejects} of {good_count} good "
            f"rejected, {at.escapes} of {bad_count} defective passed, {at.review} for review"
        )
    if summary.excluded_share > 0:
        lines.append(f"excluded: {summary.excluded_share:.1%} of all pixels lie outside the inspected area")
    return lines
