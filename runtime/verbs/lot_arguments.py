"""How every verb that reads records lets the caller choose the lot."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..store.lot import EVER_US, Selection, parse_time


def add_lot_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares LOT, --since, --until and --part."""
    parser.add_argument("lot", type=Path, metavar="LOT", help="the store's folder of a station")
    parser.add_argument("--since", metavar="TIME", help="from here on, such as 2026-11-25T14:00 (UTC)")
    parser.add_argument("--until", metavar="TIME", help="before here")
    parser.add_argument("--part", metavar="PATTERN", help="only these part ids, such as 'LOT7-*'")


def selection_of(arguments: argparse.Namespace) -> Selection:
    """The lot that was asked for; see `parse_time` for the errors."""
    since_us = parse_time("--since", arguments.since, 0)
    return Selection(since_us, parse_time("--until", arguments.until, EVER_US), arguments.part)
