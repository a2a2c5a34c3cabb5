"""The sink that keeps images: of every part that is not OK, and of some that are."""

from __future__ import annotations

import hashlib
import logging
import threading
from dataclasses import dataclass
from pathlib import Path

import cv2

from ..channel import Channel, Closed
from ..frame import U8
from ..sink import View
from ..verdict import Outcome, Verdict
from .database import ImageRow, day_of
from .image_ring import Ring, image_path, write_whole
from .journal import Journal

logger = logging.getLogger(__name__)

WAITING = 8
"""Images that may wait to be written, 1.3 MB each at 1280 x 1024; more are left out, and counted."""
CLOSE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class _Picture:
    result_id: str
    outcome: str
    day: str
    pixels: U8


class ImageSink:
    """Copies the pixels in the publish thread; encodes and writes in a thread of its own."""

    wants_maps = False

    def __init__(self, folder: Path, journal: Journal, quota_bytes: int, ok_every: int) -> None:
        """Starts the thread; the folder is there."""
        self.left_out = 0
        """Images that were wanted and are not kept."""
        self._folder, self._journal, self._ok_every = folder, journal, ok_every
        self._quota_bytes, self._seen_ok = quota_bytes, 0
        self._error: OSError | None = None
        self._waiting: Channel[_Picture] = Channel(WAITING, "drop_latest")
        self._thread = threading.Thread(target=self._run, name="images", daemon=True)
        self._thread.start()

    def send(self, verdict: Verdict, view: View) -> None:
        """As in `Sink`; raises, once, what kept the last image from being written."""
        error, self._error = self._error, None
        if view.frame is not None and self._wanted(verdict.outcome):
            name, day = verdict.outcome.name, day_of(verdict.t_pub_us)
            mine = _Picture(verdict.ticket.result_id, name, day, view.frame.pixels.copy())
            if self._waiting.put(mine) is not None:
                self.left_out += 1
        if error is not None:
            raise error

    def close(self) -> None:
        """As in `Sink`; waits until what was taken is written."""
        self._waiting.close()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _wanted(self, outcome: Outcome) -> bool:
        if outcome is not Outcome.OK:
            return True
        self._seen_ok += 1
        return self._ok_every > 0 and self._seen_ok % self._ok_every == 0

    def _run(self) -> None:
        """Body of the thread."""
        ring: Ring | None = None
        try:
            while (picture := self._waiting.get()) is not None:
                try:
                    # Not before the station is the one that runs: it sweeps the folder.
                    ring = ring or Ring(self._folder, self._quota_bytes)
                    self._keep(ring, picture)
                except OSError as error:  # disk full: images stop, verdicts go on
                    self.left_out += 1
                    self._error = error
        except Closed:
            return

    def _keep(self, ring: Ring, picture: _Picture) -> None:
        # Lossless, so that a lot can be judged again; at OpenCV's own setting, the quickest.
        data = cv2.imencode(".png", picture.pixels)[1].tobytes()
        if not ring.make_room(len(data)):
            self.left_out += 1
            return
        path = image_path(picture.day, picture.result_id, picture.outcome)
        write_whole(self._folder / path, data)
        ring.add(self._folder / path, len(data))
        digest = hashlib.sha256(data).hexdigest()
        self._journal.save(ImageRow(picture.result_id, path.as_posix(), digest, len(data)), 0)
