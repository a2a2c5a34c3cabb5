"""`gonogo export`: a method's config -> a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.config import load_yaml
from runtime.errors import ConfigError
from runtime.images.files import list_images, load_image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("config", type=Path, help="export config, such as configs/export/demo.yaml")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="new folder")
    parser.add_argument(
        "--good", type=Path, metavar="DIR", help="a few (5 to 10) images of good parts, kept as memory"
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the bundle and says what it holds."""
    try:
        from ..bundling import export_bundle
        from ..methods import MethodConfig
    except ModuleNotFoundError as error:
        raise ConfigError(f"package {error.name} is missing; pip install 'gonogo[export]'") from None
    config = load_yaml(arguments.config, MethodConfig)
    good = [] if arguments.good is None else [load_image(path) for path in list_images(arguments.good)]
    bundle = export_bundle(config, arguments.config.resolve().parent, good, arguments.output)
    manifest = bundle.manifest
    print(f"{arguments.output}: {manifest.method} ({manifest.preset}) on {manifest.network.backbone}")
    print(f"golden: the planted defect scores {manifest.golden.margin:.2f} x the good image")
    hint = manifest.suggestion
    if hint is None:
        print("threshold: none yet; run 'gonogo calibrate' with images of good parts")
    else:
        print(f"threshold: {hint.threshold:.6g} suggested by {hint.good_images} good images")
        print(f"expected false rejects {hint.false_reject:.0%}; 'gonogo calibrate' with more images for less")
    return 0
