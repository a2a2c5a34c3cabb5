"""The thread that writes records: a verdict's row is on the disk before the verdict goes out."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

from .database import PREFIX, Database, Row, VerdictRow, database_path, day_of, list_databases
from .image_ring import delete_day

logger = logging.getLogger(__name__)

Stored = Literal["yes", "queued", "no"]
WAITING = 10_000
"""Rows that may wait for a slow disk, 13 MB; more are lost, and counted."""
RETRY_S = 1.0
"""Pause after a disk that refused, so that a full one is not asked a thousand times a second."""
CLOSE_TIMEOUT_S = 10.0


class Journal:
    """Rows from any thread, written by one thread in as few transactions as the disk allows."""

    def __init__(self, folder: Path, durability: str = "full", keep_days: int = 90) -> None:
        """Starts the thread; the folder is there and may be written to."""
        self.failed = False
        """Whether the last write did not succeed, or rows had to be dropped since."""
        self.lost = 0
        """Rows that nobody will find on the disk."""
        self._folder, self._durability, self._keep_days = folder, durability, keep_days
        self._changed = threading.Condition()
        self._rows: deque[Row] = deque()
        self._taken, self._settled, self._refused = 0, 0, 0
        self._closing = False
        self._day = ""
        self._database: Database | None = None
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
        return self._taken - self._settled

    def save(self, row: Row, wait_us: int) -> Stored:
        """Hands a row over and waits until it is on the disk.

        Returns:
            `yes`: it is; `queued`: it is on its way still after `wait_us`; `no`: it will not be kept.
        """
        with self._changed:
            if len(self._rows) >= WAITING or self._closing:
                self.lost += 1
                self.failed = True
                return "no"
            self._rows.append(row)
            self._taken += 1
            mine = self._taken
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._settled >= mine, wait_us / 1e6):
                return "queued"
            return "no" if self._refused >= mine else "yes"

    def close(self) -> None:
        """Writes what waits, and ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        """Body of the thread."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._rows or self._closing)
                batch = list(self._rows)
                self._rows.clear()
                ending = self._closing and not batch
            if ending:
                break
            self._settle(batch, self._write(batch))
        self._close_database()

    def _write(self, batch: list[Row]) -> bool:
        """Whether the batch is on the disk; one day's file may end in the middle of it."""
        try:
            times = [row.t_pub_us for row in batch if isinstance(row, VerdictRow)]
            self._database_of(day_of(times[0] if times else time.time_ns() // 1000)).write(batch)
        except (sqlite3.Error, OSError) as error:
            logger.error("records of %d parts are lost: %s", len(batch), error)
            self._close_database()
            return False
        return True

    def _settle(self, batch: list[Row], written: bool) -> None:
        with self._changed:
            self._settled += len(batch)
            self.failed = not written
            if not written:
                self.lost += len(batch)
                self._refused = self._settled
            self._changed.notify_all()
            if not written:
                self._changed.wait_for(lambda: self._closing, RETRY_S)

    def _database_of(self, day: str) -> Database:
        if day != self._day or self._database is None:
            self._close_database()
            self._database, self._day = Database(database_path(self._folder, day), self._durability), day
            self._retire()
        return self._database

    def _retire(self) -> None:
        """Deletes what is older than `keep_days`."""
        oldest = f"{datetime.now(timezone.utc) - timedelta(days=self._keep_days):%Y%m%d}"
        for path in list_databases(self._folder):
            day = path.stem.removeprefix(PREFIX)
            if day < oldest:
                delete_day(self._folder, day)
                path.unlink(missing_ok=True)

    def _close_database(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
        self._database = None
