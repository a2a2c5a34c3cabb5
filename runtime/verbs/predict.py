"""`gonogo predict`: images -> scores, and overlays where asked for."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from ..bundle import Bundle, load_bundle
from ..detector import Detector
from ..errors import ConfigError
from ..frame import U8
from ..images.files import list_images, load_image, save_image
from ..images.overlay import outcome_label, overlay
from ..prediction import Prediction
from ..recipe import Recipe, load_recipe
from ..terms import Thresholds
from ..verdict import Judgement, decide
from .engine_arguments import add_engine_arguments, open_chosen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("images", type=Path, nargs="+", help="image files or folders of images")
    parser.add_argument("--recipe", type=Path, help="judge with its threshold, region and mask")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write an overlay PNG per image")
    parser.add_argument("--json", action="store_true", help="one JSON object per image and line")
    add_engine_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints one line per image; every image is judged or the verb fails, none is skipped."""
    bundle = load_bundle(arguments.bundle)
    recipe = None if arguments.recipe is None else load_recipe(arguments.recipe)
    paths = [p for given in arguments.images for p in (list_images(given) if given.is_dir() else [given])]
    save = arguments.save
    names = _overlay_names(paths) if save is not None else {}
    if save is not None:
        _make_folder(save)
    detector = open_chosen(arguments, bundle, recipe)
    for path in paths:
        target = None if save is None else save / names[path]
        _predict(detector, path, _thresholds(bundle, recipe), target, arguments.json)
    detector.close()
    return 0


def _predict(
    detector: Detector, path: Path, thresholds: Thresholds | None, target: Path | None, as_json: bool
) -> None:
    image = load_image(path)
    try:
        prediction = detector.predict(image)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    judgement = None if thresholds is None else decide(prediction.score, thresholds)
    print(_line(path, prediction.score, judgement, as_json))
    if target is not None:
        save_image(target, _picture(image, prediction, thresholds, judgement))


def _picture(
    image: U8, prediction: Prediction, thresholds: Thresholds | None, judgement: Judgement | None
) -> U8:
    if thresholds is None or judgement is None:
        label = f"score  {prediction.score:.4g}"
        return overlay(image, prediction.anomaly_map, prediction.to_image, None, label)
    label = outcome_label(judgement.outcome, judgement.score, thresholds.threshold)
    return overlay(image, prediction.anomaly_map, prediction.to_image, thresholds.threshold, label)


def _line(path: Path, score: float, judgement: Judgement | None, as_json: bool) -> str:
    outcome = None if judgement is None else judgement.outcome.name
    if as_json:
        finite = score if math.isfinite(score) else None
        pred = None if judgement is None else judgement.pred_score
        return json.dumps({"image": str(path), "score": finite, "pred_score": pred, "verdict": outcome})
    return f"{score:<12.6g} {outcome or '-':<8} {path}"


def _thresholds(bundle: Bundle, recipe: Recipe | None) -> Thresholds | None:
    """The recipe's thresholds, else the one suggested at export, else None."""
    if recipe is not None:
        return recipe.thresholds
    suggestion = bundle.manifest.suggestion
    return None if suggestion is None else Thresholds(suggestion.threshold)


def _overlay_names(paths: list[Path]) -> dict[Path, str]:
    """A file name per image: its stem, with the folder's name in front where stems repeat."""
    stems = [path.stem for path in paths]
    return {
        path: f"{path.stem if stems.count(path.stem) == 1 else f'{path.parent.name}_{path.name}'}.png"
        for path in paths
    }


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made: {(error.strerror or '').lower()}") from None
