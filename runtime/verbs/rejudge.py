"""`gonogo rejudge`: a recorded lot through another bundle or recipe -> the verdicts that would change."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from ..bundle import load_bundle
from ..detector import Detector
from ..errors import ConfigError
from ..frame import Frame
from ..images.files import load_image
from ..quality import QualityGate
from ..recipe import Recipe, load_recipe
from ..store.lot import Part, read_lot
from ..verdict import Judgement, decide, invalid
from .engine_arguments import add_engine_arguments, open_chosen
from .lot_arguments import add_lot_arguments, selection_of

SHOWN = 50
"""Changes listed on the screen; --json gives all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.epilog = (
        "Only parts whose image was kept can be judged again: 'ok_every: 1' in the station's store keeps all "
        "of them. Exit code 0, whether verdicts would change or not."
    )
    add_lot_arguments(parser)
    parser.add_argument("--recipe", type=Path, required=True, help="judge with this recipe")
    parser.add_argument("--bundle", type=Path, help="and with this bundle instead of the recipe's")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    add_engine_arguments(parser)


@dataclass(frozen=True)
class Change:
    """A verdict that would be another one."""

    result_id: str
    part_id: str | None
    trigger_id: int | None
    before: str
    after: str
    score_before: float | None
    score_after: float | None
    reasons_after: tuple[str, ...]
    image: str


def run(arguments: argparse.Namespace) -> int:
    """Judges every part of the lot that has an image, and prints what would change."""
    recipe = load_recipe(arguments.recipe)
    bundle = load_bundle(Path(recipe.bundle) if arguments.bundle is None else arguments.bundle)
    parts = read_lot(arguments.lot, selection_of(arguments))
    detector = open_chosen(arguments, bundle, recipe)
    counts: Counter[str] = Counter()
    changes: list[Change] = []
    try:
        for part in parts:
            counts["verdicts"] += 1
            counts["without_image"] += part.image is None
            judged = None if part.image is None else _judge(detector, recipe, part.image)
            if judged is not None:
                counts["judged"] += 1
                changes += _changes(part, judged)
    finally:
        detector.close()
    if not counts["verdicts"]:
        raise ConfigError(f"{arguments.lot}: no verdict in it was asked for; see --since, --until and --part")
    _print_json(counts, changes) if arguments.json else _print(counts, changes)
    return 0


def _judge(detector: Detector, recipe: Recipe, path: Path) -> Judgement | None:
    """As on the line, the picture's health included; None when the image has left the ring meanwhile."""
    try:
        pixels = load_image(path)
    except ConfigError:
        if not path.exists():
            return None
        raise
    frame = Frame(pixels, 0, 0, 0)
    try:
        # A gate of its own: one image says nothing about drift.
        QualityGate(msgspec.structs.replace(recipe.quality, drift=None), recipe.box).look(frame, None)
        if frame.flags:
            return invalid(frame.flags[0], recipe.thresholds)
        return decide(detector.predict(pixels).score, recipe.thresholds)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def _changes(part: Part, judged: Judgement) -> Iterator[Change]:
    message: dict[str, Any] = part.message
    if judged.outcome.name != message["verdict"]:
        yield Change(
            message["result_id"],
            message["part_id"],
            message["trigger_id"],
            message["verdict"],
            judged.outcome.name,
            message["score"],
            judged.score,
            judged.reasons,
            str(part.image),
        )


def _print_json(counts: Counter[str], changes: list[Change]) -> None:
    print(json.dumps({**_totals(counts, changes), "changes": [vars(change) for change in changes]}, indent=1))


def _totals(counts: Counter[str], changes: list[Change]) -> dict[str, object]:
    kinds = Counter(f"{change.before} -> {change.after}" for change in changes)
    numbers = {name: counts[name] for name in ("verdicts", "judged", "without_image")}
    return {**numbers, "changed": len(changes), "kinds": dict(sorted(kinds.items()))}


def _print(counts: Counter[str], changes: list[Change]) -> None:
    console = Console(highlight=False)
    if changes:
        table = Table("part", "before", "after", "score before", "after", "image")
        for change in changes[:SHOWN]:
            name = change.part_id or (
                change.result_id if change.trigger_id is None else str(change.trigger_id)
            )
            scores = [_number(change.score_before), _number(change.score_after)]
            after = " ".join((change.after, *(change.reasons_after if change.after == "INVALID" else ())))
            table.add_row(name, change.before, after, *scores, Path(change.image).name)
        console.print(table)
    if len(changes) > SHOWN:
        print(f"... and {len(changes) - SHOWN} more: --json lists all")
    totals = _totals(counts, changes)
    kinds = totals["kinds"]
    assert isinstance(kinds, dict)
    said = "; ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none"
    print(
        f"{counts['verdicts']} verdicts, {counts['judged']} judged again, {len(changes)} would change: {said}"
    )
    if counts["without_image"]:
        print(f"{counts['without_image']} have no image and could not be judged", file=sys.stderr)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
