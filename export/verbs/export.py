"""`gonogo export`: a method's config, with what it was fitted to -> a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.bundle import Bundle
from runtime.errors import ConfigError
from runtime.images.files import list_images
from runtime.output import require_writable

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
    parser.add_argument(
        "--standalone",
        type=Path,
        metavar="FILE",
        help="also write one ONNX with preprocessing, head and score inside, for other servers",
    )
    parser.add_argument("--frame", metavar="WIDTHxHEIGHT", help="size of the frames that it takes, pixels")


def run(arguments: argparse.Namespace) -> int:
    """Writes the bundle and says what it holds."""
    frame = _frame(arguments)
    try:
        from ..report import bundle_lines

        bundle = _export(arguments)
        if frame is not None:
            _write_standalone(bundle, frame, arguments.standalone)
    except ModuleNotFoundError as error:
        raise ConfigError(f"package {error.name} is missing; pip install 'gonogo[export]'") from None
    print(f"{arguments.output}: ", end="")
    for line in bundle_lines(bundle.manifest):
        print(line)
    return 0


def _export(arguments: argparse.Namespace) -> Bundle:
    from ..bundling import export_bundle, export_fitted
    from ..fitted import load_fitted
    from ..fitting import ImageFiles
    from ..methods import load_method

    gate = (arguments.precisions.split(","), arguments.allow_flips)
    good = [] if arguments.good is None else list_images(arguments.good)
    if arguments.checkpoint is not None or arguments.method is not None:
        golden = ImageFiles(good)[0] if good else None
        return export_fitted(_by_checkpoint(arguments), Path(), None, arguments.output, *gate, golden)
    if arguments.config is None:
        raise ConfigError("export: neither a config nor --method and --checkpoint; expected one of them")
    method, base = load_method(arguments.config), arguments.config.resolve().parent
    if arguments.fitted is not None:
        return export_fitted(method, base, load_fitted(arguments.fitted), arguments.output, *gate)
    return export_bundle(method, base, ImageFiles(good), arguments.output, *gate)


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


def _frame(arguments: argparse.Namespace) -> tuple[int, int] | None:
    """(height, width) of the frames of --standalone; None without it."""
    if (arguments.standalone is None) != (arguments.frame is None):
        raise ConfigError("--standalone FILE and --frame WIDTHxHEIGHT belong together; give both or none")
    if arguments.frame is None:
        return None
    width, _, height = arguments.frame.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ConfigError(
            f"--frame is {arguments.frame!r}; expected WIDTHxHEIGHT in pixels, such as 1280x1024"
        )
    require_writable(arguments.standalone)
    return int(height), int(width)


def _write_standalone(bundle: Bundle, frame: tuple[int, int], path: Path) -> None:
    from ..standalone import standalone

    data = standalone(bundle, frame).SerializeToString()
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(
            f"{path}: {(error.strerror or str(error)).lower()}; expected a place to write"
        ) from None
    print(f"{path}: {len(data) / 1e6:.1f} MB, frames of {frame[1]} x {frame[0]}")
