"""`gonogo inspect`: what a bundle is, after every file was compared with the manifest."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
from rich.console import Console

from ..bundle import Bundle, load_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Verifies the bundle and prints its manifest."""
    bundle = load_bundle(arguments.bundle)
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(bundle.manifest), indent=1).decode())
    else:
        _print(bundle)
    return 0


def _print(bundle: Bundle) -> None:
    manifest = bundle.manifest
    network, golden, hint = manifest.network, manifest.golden, manifest.suggestion
    rows = {
        "bundle": f"{manifest.id}  sha256 {bundle.sha256[:16]}  {manifest.created}",
        "method": f"{manifest.method}, preset {manifest.preset}",
        "network": f"{network.backbone}, image {_shape(network.input.shape)} -> "
        + ", ".join(f"{o.name} {_shape(o.shape)}" for o in network.outputs),
        "precisions": ", ".join(manifest.allowed_precisions),
        "head": msgspec.json.encode(manifest.head).decode(),
        "golden": f"{len(golden.images)} images, NG scores at least {golden.margin:.2f} x the OK ones",
        "threshold": "none suggested; run 'gonogo calibrate'"
        if hint is None
        else f"{hint.threshold:.6g} from {hint.good_images} good images, "
        f"expected false rejects {hint.false_reject:.1%}",
        "written by": ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
        "files": f"{len(bundle.files)}, {sum(map(len, bundle.files.values())) / 1e6:.1f} MB, all hashes fit",
    }
    console = Console(highlight=False, soft_wrap=True)
    for name, value in rows.items():
        console.print(f"{name:<11} {value}", markup=False)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
