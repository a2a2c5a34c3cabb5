"""The front door: a table of verbs. Each stands in a file of its own and is imported only when called."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

__version__ = "0.1.0"

VERBS: dict[str, tuple[str, str]] = {
    "demo": (
        "runtime.verbs.demo",
        "a simulated line on any machine, with a virtual PLC that keeps the score",
    ),
    "doctor": ("runtime.verbs.doctor", "what is installed, which backends run here and why not"),
    "fit": ("export.verbs.fit", "images of good parts -> a fitted method"),
    "export": ("export.verbs.export", "a method's config, fitted or not -> a bundle"),
    "inspect": ("runtime.verbs.inspect", "a bundle's manifest, checked file by file"),
    "selftest": ("runtime.verbs.selftest", "a bundle's golden images through the real path"),
    "build": ("runtime.verbs.build", "a bundle's TensorRT engine for this machine, proved on the gate set"),
    "verify": ("runtime.verbs.verify", "whether a bundle decides alike on every backend of this machine"),
    "predict": ("runtime.verbs.predict", "images -> scores and overlays"),
    "calibrate": (
        "runtime.verbs.calibrate",
        "good images -> a recipe, its threshold for a false-reject rate",
    ),
    "evaluate": ("runtime.verbs.evaluate", "a folder in MVTec layout -> AUROC, AUPRO, F1-max per defect"),
    "bench": ("runtime.verbs.bench", "latency and misses at the camera's cadence, stage by stage"),
    "run": ("runtime.verbs.run", "the station: frames in, one verdict per trigger out over ZeroMQ"),
    "rejudge": (
        "runtime.verbs.rejudge",
        "a recorded lot through another bundle or recipe: what would change",
    ),
    "export-lot": ("runtime.verbs.export_lot", "recorded verdicts -> a CSV file and their images"),
    "watch": ("runtime.verbs.watch", "live verdicts of a station in the terminal"),
}
"""Verb -> (module, one line of help)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit code: 0 done, 1 the verb's check failed, 2 misuse or fault."""
    # One BLAS thread: several spin on the cores that capture and publishing need. Before numpy is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser(words).parse_args(words)
    _log_to_stderr(arguments.log_level)
    from runtime.errors import InspectionError

    try:
        return int(arguments.run(arguments))
    except InspectionError as error:
        print(f"gonogo {arguments.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"gonogo {arguments.verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`): no fault of ours, and nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """A parser that knows every verb's name, and the arguments of the one that was called."""
    parser = argparse.ArgumentParser(prog="gonogo", description="Turns a camera into a go/no-go gauge.")
    parser.add_argument("--version", action="version", version=f"gonogo {__version__}")
    parser.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    called = next((word for word in words if word in VERBS), None)
    for name, (module, line) in VERBS.items():
        verb = verbs.add_parser(name, help=line, description=line)
        if name == called:
            code = importlib.import_module(module)
            code.add_arguments(verb)
            verb.set_defaults(run=code.run)
    return parser


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s"
    )


if __name__ == "__main__":
    sys.exit(main())
