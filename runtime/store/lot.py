"""A recorded lot: the verdicts of a store's folder, read while a station may still write to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..errors import ConfigError
from .database import list_databases

SELECT = """
SELECT verdict.message, image.path FROM verdict LEFT JOIN image USING (result_id)
WHERE t_pub_us >= ? AND t_pub_us < ? AND (? IS NULL OR part_id GLOB ?) ORDER BY t_pub_us, seq
"""
EVER_US = 2**53


class Selection(NamedTuple):
    """Which verdicts of a store are the lot."""

    since_us: int = 0
    until_us: int = EVER_US
    part: str | None = None
    """Shell pattern of the part id, such as `LOT7-*`; None: every part, also those without an id."""


class Part(NamedTuple):
    """One recorded verdict."""

    message: dict[str, Any]
    """As it went out; see docs/wire.md."""
    image: Path | None
    """Its image; None where none was kept, or it has left the ring."""


def read_lot(folder: Path, selection: Selection) -> Iterator[Part]:
    """The recorded verdicts, oldest first.

    Raises:
        ConfigError: no such folder, no records in it, or a file that cannot be read.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; expected the store's folder of a station")
    databases = list_databases(folder)
    if not databases:
        raise ConfigError(f"{folder}: no records in this folder; expected the store's folder of a station")
    for path in databases:
        yield from _read_day(path, folder, selection)


def _read_day(path: Path, folder: Path, selection: Selection) -> Iterator[Part]:
    since_us, until_us, part = selection
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            for message, image in connection.execute(SELECT, (since_us, until_us, part, part)):
                found = None if image is None else folder / image
                kept = found if found is not None and found.is_file() else None
                yield Part(msgspec.json.decode(message), kept)
    except (sqlite3.Error, msgspec.DecodeError) as error:
        raise ConfigError(
            f"{path}: {error}; expected a station's records, or a copy with its -wal file"
        ) from None


def parse_time(what: str, text: str | None, absent_us: int) -> int:
    """`2026-11-25` or `2026-11-25T14:00` (UTC unless it says otherwise) as us since the Unix epoch.

    Raises:
        ConfigError: it is no such time.
    """
    if text is None:
        return absent_us
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise ConfigError(
            f"{what} is {text!r}; expected a time such as 2026-11-25 or 2026-11-25T14:00"
        ) from None
    zone = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
    return round(zone.timestamp() * 1e6)
