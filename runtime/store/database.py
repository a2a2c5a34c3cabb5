"""One day's records: an SQLite file with one row per verdict and one per image."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS verdict (
    result_id TEXT PRIMARY KEY, boot_id TEXT NOT NULL, seq INTEGER NOT NULL, t_pub_us INTEGER NOT NULL,
    trigger_id INTEGER, part_id TEXT, verdict TEXT NOT NULL, reasons TEXT NOT NULL, score REAL,
    message BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_time ON verdict (t_pub_us);
CREATE TABLE IF NOT EXISTS image (
    result_id TEXT PRIMARY KEY, path TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL
) WITHOUT ROWID;
"""
PREFIX = "verdicts-"


class VerdictRow(NamedTuple):
    """A verdict as it is stored; `message` is the JSON that went out."""

    result_id: str
    boot_id: str
    seq: int
    t_pub_us: int
    trigger_id: int | None
    part_id: str | None
    verdict: str
    reasons: str
    score: float | None
    message: bytes


class ImageRow(NamedTuple):
    """An image file of a verdict."""

    result_id: str
    path: str
    """Relative to the store's folder."""
    sha256: str
    bytes: int


Row = VerdictRow | ImageRow
INSERT: dict[type[Row], str] = {
    VerdictRow: "INSERT OR IGNORE INTO verdict VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    ImageRow: "INSERT OR REPLACE INTO image VALUES (?, ?, ?, ?)",
}


def day_of(t_us: int) -> str:
    """`20261125`: the UTC day of a wall clock time, us since the Unix epoch."""
    return f"{datetime.fromtimestamp(t_us / 1e6, timezone.utc):%Y%m%d}"


def database_path(folder: Path, day: str) -> Path:
    """The file of a day."""
    return folder / f"{PREFIX}{day}.db"


def list_databases(folder: Path) -> list[Path]:
    """The files of all days, oldest first."""
    return sorted(folder.glob(f"{PREFIX}????????.db"))


class Database:
    """The one connection that writes, of the thread that opened it.

    SQLite before 3.51.3 can lose its write-ahead log when several connections checkpoint it; one does not.
    """

    def __init__(self, path: Path, durability: str) -> None:
        """Opens the file, or makes it; a damaged one is put aside first.

        Raises:
            sqlite3.Error: it can be neither read nor made.
        """
        self._path = path
        self._connection = _open_sound(path)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute(f"PRAGMA synchronous={durability}")
        self._connection.execute("PRAGMA journal_size_limit=16777216")
        self._connection.executescript(SCHEMA)

    def write(self, rows: Iterable[Row]) -> None:
        """Writes rows in one transaction: all are on the disk when it returns, or none.

        Raises:
            sqlite3.Error: disk full, read-only, or damaged.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for row in rows:
                self._connection.execute(INSERT[type(row)], row)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Closes the file; the log is merged into it."""
        self._connection.close()


def _open_sound(path: Path) -> sqlite3.Connection:
    connection = _connect(path)
    try:
        if connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",):
            return connection
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # locked, no right, disk full: not the file's fault
            connection.close()
            raise
    connection.close()
    _put_aside(path)
    return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0.2, isolation_level=None)


def _put_aside(path: Path) -> None:
    """Renames a damaged file and its log, for somebody to look at; records go on in a new one."""
    mark = f"damaged-{time.strftime('%Y%m%dT%H%M%S')}"
    logger.error("%s: damaged; put aside as %s.%s, records go on in a new file", path, path.name, mark)
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(path.with_name(f"{path.name}.{mark}{suffix}"))
