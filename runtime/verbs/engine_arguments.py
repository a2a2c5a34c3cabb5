"""What runs a bundle, as every verb that judges images lets the caller choose it."""

from __future__ import annotations

import argparse

from ..bundle import Bundle
from ..detector import HostDetector
from ..head import HEAD_FORMS
from ..networks import NETWORKS
from ..opening import open_detector
from ..recipe import Recipe


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares --backend, --threads and --head."""
    parser.add_argument("--backend", default="onnxruntime", choices=sorted(NETWORKS))
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of network and kernels, 1..64")
    parser.add_argument(
        "--head", choices=HEAD_FORMS, help="kernels around the network (native, where compiled)"
    )


def open_chosen(arguments: argparse.Namespace, bundle: Bundle, recipe: Recipe | None = None) -> HostDetector:
    """The detector that these arguments ask for; see `open_detector` for the errors."""
    return open_detector(bundle, recipe, arguments.backend, arguments.threads, head=arguments.head)
