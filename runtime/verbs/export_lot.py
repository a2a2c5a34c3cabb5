"""`gonogo export-lot`: recorded verdicts -> one CSV file, and their images beside it."""

from __future__ import annotations

import argparse
import csv
import io
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..output import make_folder, require_writable, write_text
from ..store.lot import Part, read_lot
from .lot_arguments import add_lot_arguments, selection_of

TABLE = "verdicts.csv"
COLUMNS = (
    "time_utc", "line", "station", "seq", "result_id", "trigger_id", "part_id", "encoder", "verdict",
    "reasons", "score", "threshold", "pred_score", "recipe", "recipe_version", "engine", "simulated",
    "late", "total_ms", "image",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    add_lot_arguments(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="new or empty folder")
    parser.add_argument("--no-images", action="store_true", help="write the table alone")


def run(arguments: argparse.Namespace) -> int:
    """Writes table and images, and says how many."""
    out, selection = arguments.output, selection_of(arguments)
    parts = read_lot(arguments.lot, selection)
    first = next(parts, None)  # what is wrong with the lot shows before anything is written
    if first is None:
        raise ConfigError(f"{arguments.lot}: no verdict in it was asked for; see --since, --until and --part")
    make_folder(out)
    if any(out.iterdir()):
        raise ConfigError(f"{out}: is not empty; expected a new or empty folder")
    require_writable(out / TABLE)
    text, count, images = io.StringIO(), 0, 0
    table = csv.writer(text)
    table.writerow(COLUMNS)
    for part in (first, *parts):
        image = None if arguments.no_images else _copy(part, out)
        table.writerow(_row(part.message, image))
        count, images = count + 1, images + (image is not None)
    write_text(out / TABLE, text.getvalue())
    print(f"{out / TABLE}: {count} verdicts, {images} images")
    return 0


def _copy(part: Part, out: Path) -> str | None:
    """Name of the image in the folder; its name in the store says which verdict it belongs to."""
    if part.image is None:
        return None
    target = out / "images" / part.image.name
    try:
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(part.image, target)
    except FileNotFoundError:  # it left the ring just now
        return None
    except OSError as error:
        raise ConfigError(
            f"{target}: {(error.strerror or str(error)).lower()}; expected a place to write"
        ) from None
    return target.relative_to(out).as_posix()


def _row(message: dict[str, Any], image: str | None) -> list[object]:
    moment = datetime.fromtimestamp(message["t_pub_us"] / 1e6, timezone.utc)
    facts = {
        **message,
        "time_utc": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "reasons": " ".join(message["reasons"]),
        "recipe": message["recipe"]["id"],
        "recipe_version": message["recipe"]["version"],
        "engine": message["engine"]["id"],
        "total_ms": message["lat_us"]["total"] / 1000,
        "image": image,
    }
    return ["" if facts[name] is None else facts[name] for name in COLUMNS]
