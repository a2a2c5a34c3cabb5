"""`gonogo export`: a method's config, with what it was fitted to -> a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import ConfigError
from runtime.images.files import list_images

if TYPE_CHECKING:
    from ..method import Method


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument(
        "config", type=Path, nargs="?", help="export config, such as configs/export/demo.yaml"
    )
    parser.add_argument("--method", help="with --checkpoint: whose weights they are, in place of a config")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="state dict that the method's authors trained; needs torch",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="new folder")
    memory = parser.add_mutually_exclusive_group()
    memory.add_argument("--fitted", type=Path, metavar="FITTED", help="folder that 'gonogo fit' wrote")
    memory.add_argument(
        "--good", type=Path, metavar="DIR", help="images of good parts: fit to them on the way"
    )
    parser.add_argument(
        "--precisions",
        default="fp32,fp16",
        metavar="LIST",
        help="in which a backend may compute: fp32,fp16,bf16 (default: fp32,fp16); each must decide as fp32",
    )
    parser.add_argument(
        "--allow-flips",
        type=int,
        default=0,
        metavar="N",
        help="gate images that may change sides (0); more is written into every verdict",
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the bundle and says what it holds."""
    try:
        from ..bundling import export_bundle, export_fitted
        from ..fitted import load_fitted
        from ..fitting import ImageFiles
        from ..methods import EXPERIMENTAL, load_method
        from ..report import precision_lines
    except ModuleNotFoundError as error:
        raise ConfigError(f"package {error.name} is missing; pip install 'gonogo[export]'") from None
    gate = (arguments.precisions.split(","), arguments.allow_flips)
    method: Method
    if arguments.checkpoint is not None or arguments.method is not None:
        method, base = _by_checkpoint(arguments), Path()
    elif arguments.config is None:
        raise ConfigError("export: neither a config nor --method and --checkpoint; expected one of them")
    else:
        method, base = load_method(arguments.config), arguments.config.resolve().parent
    if arguments.checkpoint is not None:
        good = [] if arguments.good is None else list_images(arguments.good)
        golden = ImageFiles(good)[0] if good else None
        bundle = export_fitted(method, base, None, arguments.output, *gate, golden)
    elif arguments.fitted is not None:
        bundle = export_fitted(method, base, load_fitted(arguments.fitted), arguments.output, *gate)
    else:
        good = [] if arguments.good is None else list_images(arguments.good)
        bundle = export_bundle(method, base, ImageFiles(good), arguments.output, *gate)
    manifest = bundle.manifest
    print(f"{arguments.output}: {manifest.method} ({manifest.preset}) on {manifest.network.backbone}")
    print(f"golden: the planted defect scores {manifest.golden.margin:.2f} x the good image")
    if manifest.method in EXPERIMENTAL:
        print(f"{manifest.method} is experimental: {EXPERIMENTAL[manifest.method]}")
    for line in precision_lines(manifest):
        print(line)
    hint = manifest.suggestion
    if hint is None:
        print("threshold: none yet; run 'gonogo calibrate' with images of good parts")
    else:
        print(f"threshold: {hint.threshold:.6g} suggested by {hint.good_images} good images")
        print(f"expected false rejects {hint.false_reject:.0%}; 'gonogo calibrate' with more images for less")
    return 0


def _by_checkpoint(arguments: argparse.Namespace) -> Method:
    """The authors' form of a method, around their weights."""
    from ..methods import AUTHORS

    if arguments.config is not None or arguments.fitted is not None:
        raise ConfigError(
            "export: --checkpoint stands in place of a config and of --fitted; give one of them"
        )
    if arguments.method not in AUTHORS or arguments.checkpoint is None:
        known = ", ".join(AUTHORS)
        raise ConfigError(
            f"export: --method {arguments.method} --checkpoint {arguments.checkpoint}; "
            f"expected both, and a method out of {known}"
        )
    return AUTHORS[arguments.method](checkpoint=str(arguments.checkpoint))
