"""`gonogo fit`: images of good parts -> a fitted method, which `gonogo export` makes a bundle of."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import ConfigError
from runtime.images.files import list_images

from ..progress import Progress

if TYPE_CHECKING:
    from ..method import Arrays

MOST_LISTED = 6
"""Arrays that are named one by one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument(
        "config", type=Path, help="export config, such as configs/export/patchcore_resnet18.yaml"
    )
    parser.add_argument("good", type=Path, metavar="GOOD_IMAGES", help="folder of images of good parts")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FITTED",
        help="new folder; a training that was stopped goes on from FITTED.checkpoint",
    )


def run(arguments: argparse.Namespace) -> int:
    """Fits the method and says what it keeps."""
    try:
        from ..checkpoint import Checkpoint
        from ..fitted import require_new_folder, save_fitted
        from ..fitting import ImageFiles, fit_method
        from ..methods import EXPERIMENTAL, load_method
    except ModuleNotFoundError as error:
        raise ConfigError(f"package {error.name} is missing; pip install 'gonogo[export]'") from None
    require_new_folder(arguments.output)
    method = load_method(arguments.config)
    images = ImageFiles(list_images(arguments.good))
    checkpoint = Checkpoint(arguments.output.with_name(arguments.output.name + ".checkpoint"))
    with Progress() as progress:
        base = arguments.config.resolve().parent
        fitted = fit_method(method, base, images, progress.report, checkpoint)
    save_fitted(arguments.output, fitted)
    checkpoint.remove()
    print(f"{arguments.output}: {fitted.facts.good_images} good images, kept {_kept(fitted.arrays)}")
    hint = fitted.facts.suggestion
    print(f"threshold: {hint.threshold:.6g} suggested by {hint.good_images} of them, each unknown to it")
    if (name := type(method).__struct_config__.tag) in EXPERIMENTAL:
        print(f"{name} is experimental: {EXPERIMENTAL[name]}")
    return 0


def _kept(arrays: Arrays) -> str:
    """The arrays one by one, or what they are together where they are many."""
    if len(arrays) > MOST_LISTED:
        return f"{sum(array.size for array in arrays.values())} numbers in {len(arrays)} tensors"
    return ", ".join(f"{name} {'x'.join(map(str, a.shape))} {a.dtype}" for name, a in arrays.items())
