"""`gonogo selftest`: a bundle's golden images through the real path."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..bundle import load_bundle
from ..selftest import check_golden
from .engine_arguments import add_engine_arguments, open_chosen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    add_engine_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints one row per golden image; 0 when all pass, else 1."""
    bundle = load_bundle(arguments.bundle)
    detector = open_chosen(arguments, bundle)
    results = check_golden(bundle, detector)
    detector.close()
    part = bundle.manifest.golden
    table = Table("image", "label", "expected", "score", "threshold", "result")
    for r in results:
        numbers = [f"{number:.6g}" for number in (r.expected, r.score, part.threshold)]
        table.add_row(r.file, r.label, *numbers, "pass" if r.passed else "FAIL")
    Console().print(table)
    return 0 if all(result.passed for result in results) else 1
