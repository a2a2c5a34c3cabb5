"""The thread that writes records: a verdict's row is on the disk before the verdict goes out."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from pathlib import Path
from typing import Literal

from .database import PREFIX, Database, Row, VerdictRow, database_path, day_of, list_databases
from .image_ring import delete_day

logger = logging.getLogger(__name__)

Stored = Literal["yes", "queued", "no"]
WAITING = 10_000
"""Rows that may wait for a disk that is slow, full or gone, 13 MB; more are lost, and counted."""
RETRY_S = 0.5
"""Pause after a disk that refused, so that a full one is not asked a thousand times a second."""
CLOSE_TIMEOUT_S = 10.0


class Journal:
    """Rows from any thread, written by one thread in as few transactions as the disk allows.

    A row that the disk refuses waits and is tried again; it is lost only when too many wait, or at the end.
    """

    def __init__(self, folder: Path, durability: str = "full", keep_days: int = 90) -> None:
        """Starts the thread; the folder is there and may be written to."""
        self.failed = False
        """Whether the disk refused the last time, or a row had to be dropped since."""
        self.lost = 0
        """Rows that nobody will find on the disk."""
        self._folder, self._durability, self._keep_days = folder, durability, keep_days
        self._changed = threading.Condition()
        self._rows: deque[Row] = deque()
        self._taken, self._settled = 0, 0
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
        """Hands a row over and waits until it is on the disk; not for a disk that refuses.

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
            self._changed.wait_for(lambda: self._settled >= mine or self.failed, wait_us / 1e6)
            return "yes" if self._settled >= mine else "queued"

    def close(self) -> None:
        """Writes what waits, if the disk lets it, and ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        """Body of the thread."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._rows or self._closing)
                batch, closing = list(self._rows), self._closing
            if not batch:
                break
            written = self._write(batch)
            if written or closing:
                self._settle(len(batch), written)
            else:
                self._pause()
        self._close_database()

    def _write(self, batch: list[Row]) -> bool:
        """Whether the batch is on the disk, in the file of its first verdict's day."""
        try:
            times = [row.t_pub_us for row in batch if isinstance(row, VerdictRow)]
            self._database_of(day_of(times[0] if times else time.time_ns() // 1000)).write(batch)
        except (sqlite3.Error, OSError) as error:
            if not self.failed:
                logger.error("records cannot be written: %s; they wait, and are tried again", error)
            self._close_database()
            return False
        return True

    def _settle(self, count: int, written: bool) -> None:
        with self._changed:
            for _ in range(count):
                self._rows.popleft()
            if written:
                self._settled += count
            else:
                self.lost += count
                logger.error("records of %d parts are lost: the disk refused them to the end", count)
            self.failed = not written
            self._changed.notify_all()

    def _pause(self) -> None:
        with self._changed:
            self.failed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closing, RETRY_S)

    def _database_of(self, day: str) -> Database:
        if day != self._day or self._database is None:
            self._close_database()
            self._database, self._day = Database(database_path(self._folder, day), self._durability), day
            self._retire()
        return self._database

    def _retire(self) -> None:
        """Deletes all but the last `keep_days` days that have records, and never the one that is written.

        By count: a clock that steps, or has not been set yet, must not take records with it.
        """
        for path in list_databases(self._folder)[: -self._keep_days]:
            day = path.stem.removeprefix(PREFIX)
            if day != self._day:
                delete_day(self._folder, day)
                path.unlink(missing_ok=True)

    def _close_database(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
        self._database = None
