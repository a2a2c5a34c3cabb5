"""`gonogo calibrate`: good images -> a recipe whose threshold keeps a wanted rate of false rejects.

Images that were given to `gonogo fit` or `export --good` lie in the bundle's memory and score too low; it
does not say which they were. Calibrate with others, or the line rejects more good parts than promised.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import yaml
from rich.console import Console
from rich.progress import track

from ..bundle import Bundle, load_bundle
from ..config import to_plain
from ..errors import ConfigError
from ..images.files import list_images
from ..images.sample import Sample, crop, take_sample
from ..measure.calibration import Calibration, calibrate, needed_images
from ..measure.evaluation import judge_file
from ..measure.good_quality import MIN_IMAGES, learn_limits
from ..output import require_writable, write_text
from ..quality import QualityLimits
from ..recipe import Recipe, load_recipe
from .engine_arguments import add_engine_arguments, open_chosen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument(
        "good_images",
        type=Path,
        nargs="+",
        metavar="GOOD_IMAGES",
        help="files or folders of good parts, not those given to fit or export --good",
    )
    parser.add_argument("--false-reject", type=float, default=0.01, metavar="P", help="wanted rate (0.01)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RECIPE", help="recipe to write")
    parser.add_argument("--recipe", type=Path, help="take region, mask, id and deadline from this recipe")
    parser.add_argument("--force", action="store_true", help="replace an existing recipe")
    add_engine_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Scores every good image and writes the recipe."""
    output = arguments.output
    require_writable(output)
    if output.exists() and not arguments.force:
        raise ConfigError(f"{output}: exists; choose another name, or replace it with --force")
    bundle = load_bundle(arguments.bundle)
    paths = _good_images(arguments.good_images)
    needed = needed_images(arguments.false_reject)
    if len(paths) < needed:
        # The error is the same as after scoring, minutes earlier.
        calibrate([0.0] * len(paths), arguments.false_reject)
    base = None if arguments.recipe is None else load_recipe(arguments.recipe)
    scores, samples = _look(arguments, bundle, base, paths)
    found = calibrate(scores, arguments.false_reject)
    quality = learn_limits(samples) if len(samples) >= MIN_IMAGES else None
    recipe = new_recipe(found, bundle, base, output, quality)
    write_text(output, recipe_text(recipe, found, bundle))
    _print(output, found, base)
    return 0


def new_recipe(
    found: Calibration,
    bundle: Bundle,
    base: Recipe | None,
    output: Path,
    quality: QualityLimits | None = None,
) -> Recipe:
    """The recipe to write: threshold, scale and limits as found, the rest from `base` where there is one.

    A review band is not taken over: it was set against another threshold.
    """
    folder = output.parent.resolve()
    fields = {
        "bundle": os.path.relpath(bundle.path.resolve(), folder),
        "threshold": found.threshold,
        "score_scale": found.score_scale,
        **({} if quality is None else {"quality": quality}),
    }
    if base is None:
        return Recipe(**fields)  # type: ignore[arg-type]
    mask = None if base.mask is None else os.path.relpath(base.mask, folder)
    return msgspec.structs.replace(base, **fields, mask=mask, review_threshold=None)


def recipe_text(recipe: Recipe, found: Calibration, bundle: Bundle) -> str:
    """The recipe as YAML; what is known about the threshold stands above it as comments."""
    day = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    comments = [
        f"Written by 'gonogo calibrate' on {day} for bundle {bundle.manifest.id},",
        f"manifest sha256 {bundle.sha256}.",
        *_facts(found),
        "score_scale = 4 x (threshold - median good score): a median good part reads pred_score 0.25."
        if found.score_scale is not None
        else "All good scores are alike: no score_scale; pred_score is scaled by 2 x threshold.",
    ]
    body = yaml.safe_dump(
        to_plain(recipe), sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )
    return "".join(f"# {line}\n" for line in comments) + body


def _facts(found: Calibration) -> list[str]:
    return [
        f"{found.images} good images; threshold just above score {found.order} of {found.images} in",
        f"ascending order: {found.rejected} of these images would be rejected.",
        f"Good scores: median {found.median:.6g}, greatest {found.greatest:.6g}.",
        f"False rejects: wanted {found.wanted:g}, expected {found.expected:.4g}; the true rate lies between",
        f"{found.low:.3g} and {found.high:.3g} (95 %), if later parts are like these, each image shows",
        "another part, and none of the images was given to fit or export --good.",
    ]


def _good_images(given: Sequence[Path]) -> list[Path]:
    """Every image once; the same file twice would count as two parts."""
    paths = [image for path in given for image in (list_images(path) if path.is_dir() else [path])]
    unique = {path.resolve(): path for path in paths}
    if len(unique) < len(paths):
        raise ConfigError(
            f"{len(paths) - len(unique)} of {len(paths)} images are given twice; name each file once"
        )
    return paths


def _look(
    arguments: argparse.Namespace, bundle: Bundle, recipe: Recipe | None, paths: Sequence[Path]
) -> tuple[list[float], list[Sample]]:
    """Score and quality sample of every image, through the same region and mask as in use."""
    detector = open_chosen(arguments, bundle, recipe)
    scores: list[float] = []
    samples: list[Sample] = []
    console = Console(stderr=True)
    bar = track(paths, "calibrate", console=console, transient=True, disable=not console.is_terminal)
    try:
        for path in bar:
            image, prediction, _ = judge_file(detector, path)
            scores.append(prediction.score)
            samples.append(take_sample(crop(image, None if recipe is None else recipe.box)))
    finally:
        detector.close()
    return scores, samples


def _print(output: Path, found: Calibration, base: Recipe | None) -> None:
    print(f"{output}: threshold {found.threshold:.6g}")
    for line in _facts(found):
        print(line)
    if base is not None and base.review_threshold is not None:
        print(f"review_threshold {base.review_threshold:g} of the old recipe was left out; set it anew")
