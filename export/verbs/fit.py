"""`gonogo fit`: images of good parts -> a fitted method, which `gonogo export` makes a bundle of."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from runtime.errors import ConfigError
from runtime.images.files import list_images


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument(
        "config", type=Path, help="export config, such as configs/export/patchcore_resnet18.yaml"
    )
    parser.add_argument("good", type=Path, metavar="GOOD_IMAGES", help="folder of images of good parts")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FITTED", help="new folder")


def run(arguments: argparse.Namespace) -> int:
    """Fits the method and says what it keeps."""
    try:
        from ..fitted import require_new_folder, save_fitted
        from ..fitting import ImageFiles, fit_method
        from ..methods import load_method
    except ModuleNotFoundError as error:
        raise ConfigError(f"package {error.name} is missing; pip install 'gonogo[export]'") from None
    require_new_folder(arguments.output)
    method = load_method(arguments.config)
    images = ImageFiles(list_images(arguments.good))
    with _bar() as bar:
        steps = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in steps:
                steps[step] = bar.add_task(step, total=total)
            bar.update(steps[step], completed=done)

        fitted = fit_method(method, arguments.config.resolve().parent, images, report)
    save_fitted(arguments.output, fitted)
    kept = ", ".join(f"{name} {'x'.join(map(str, a.shape))} {a.dtype}" for name, a in fitted.arrays.items())
    print(f"{arguments.output}: {fitted.facts.good_images} good images, kept {kept}")
    hint = fitted.facts.suggestion
    print(f"threshold: {hint.threshold:.6g} suggested by {hint.good_images} of them, each without itself")
    return 0


def _bar() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
