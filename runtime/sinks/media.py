"""A sink that shows parts to people: maps of NG and REVIEW, and thumbnails, on the media socket."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

from ..bus.media import Media, map_message, thumb_message
from ..channel import Channel, Closed
from ..errors import BusError
from ..frame import U8
from ..prediction import Prediction
from ..sink import View
from ..verdict import Outcome, Verdict

WAITING = 2
"""Parts that wait to be shown, 1.3 MB each; while as many wait, the oldest gives way."""
OK_EVERY_S = 0.1
"""Good parts are shown at most so often."""
CLOSE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Part:
    """A part to show; pixels and map are copies of its own."""

    verdict: Verdict
    pixels: U8
    prediction: Prediction | None


class MediaSink:
    """Copies what it needs in the thread of the sinks, when somebody looks; draws and sends in its own."""

    wants_maps = False

    def __init__(self, endpoint: str) -> None:
        """Binds the socket and starts the thread.

        Raises:
            BusError: the endpoint is in use or not ours to bind.
        """
        self.endpoint = endpoint
        """As bound."""
        self.watched = False
        """Whether anybody looks."""
        self._parts: Channel[Part] = Channel(WAITING, "drop_oldest")
        self._next_ok_s = 0.0
        self._bound = threading.Event()
        self._error: BusError | None = None
        self._thread = threading.Thread(target=self._run, args=(endpoint,), name="media", daemon=True)
        self._thread.start()
        self._bound.wait()
        if self._error is not None:
            raise self._error

    def send(self, verdict: Verdict, view: View) -> None:
        """As in `Sink`."""
        if not self.watched or view.frame is None:
            return
        if verdict.outcome is Outcome.OK:
            if time.monotonic() < self._next_ok_s:
                return
            self._next_ok_s = time.monotonic() + OK_EVERY_S
        seen = view.prediction
        mine = None if seen is None else replace(seen, anomaly_map=seen.anomaly_map.copy())
        self._parts.put(Part(verdict, view.frame.pixels.copy(), mine))

    def close(self) -> None:
        """As in `Sink`."""
        self._parts.close()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self, endpoint: str) -> None:
        """Body of the thread."""
        try:
            media = Media(endpoint)
        except BusError as error:
            self._error = error
            self._bound.set()
            return
        self.endpoint = media.endpoint
        media.watch(self._parts.fileno())
        self._bound.set()
        try:
            while True:
                media.wait()
                self.watched = media.watched
                part = self._parts.get(0)
                if part is not None:
                    _show(media, part)
        except Closed:
            media.close()


def _show(media: Media, part: Part) -> None:
    if part.prediction is not None:
        media.send(*map_message(part.verdict, part.prediction))
    media.send(*thumb_message(part.verdict, part.pixels))
