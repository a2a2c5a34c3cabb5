"""The ring of image files: written whole or not at all, never more bytes than the quota."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

FOLDER = "images"
TEMPORARY = ".tmp"


def image_path(day: str, result_id: str, outcome: str) -> Path:
    """Where an image lies in the store; result ids sort by time."""
    return Path(FOLDER) / day / f"{result_id}_{outcome}.png"


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file so that it is there whole, or not at all, also after a power cut.

    Raises:
        OSError: no room, no right.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(TEMPORARY)
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def delete_day(folder: Path, day: str) -> None:
    """Deletes the images of a day."""
    shutil.rmtree(folder / FOLDER / day, ignore_errors=True)


class Ring:
    """The image files of a store, oldest first; OK before the others."""

    def __init__(self, folder: Path, quota_bytes: int) -> None:
        """Counts what is there, and sweeps away what a crash left unfinished."""
        self._quota = quota_bytes
        for unfinished in (folder / FOLDER).rglob(f"*{TEMPORARY}"):
            unfinished.unlink(missing_ok=True)
        found = sorted((path for path in (folder / FOLDER).rglob("*.png")), key=lambda path: path.name)
        self._sizes = {path: path.stat().st_size for path in found}
        self.bytes = sum(self._sizes.values())

    def make_room(self, size: int) -> bool:
        """Deletes the oldest until `size` more fit; False where they never will."""
        if size > self._quota:
            return False
        while self.bytes + size > self._quota:
            good = next((path for path in self._sizes if path.stem.endswith("_OK")), None)
            self._delete(good or next(iter(self._sizes)))
        return True

    def add(self, path: Path, size: int) -> None:
        """Counts a file that was written."""
        self._sizes[path] = size
        self.bytes += size

    def _delete(self, path: Path) -> None:
        self.bytes -= self._sizes.pop(path)
        path.unlink(missing_ok=True)
