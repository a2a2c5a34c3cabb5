"""What people look at: anomaly maps and thumbnails, on a socket of their own, three frames a message.

Topic, a JSON header, and the bytes that it describes. They never share a socket with verdicts: a viewer that
stops reading loses pictures, and costs the station `SEND_HWM` of them.
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import msgspec
import zmq

from ..errors import BusError
from ..frame import U8
from ..prediction import Prediction
from ..verdict import Verdict
from .fields import BootId, Count, Id, Seq, TriggerId, Ulid, Wire
from .sockets import Options, bind

SEND_HWM = 2
"""Messages kept for one viewer."""
THUMB_WIDTH = 320
JPEG_QUALITY = 80


class _Picture(Wire, frozen=True):
    """What every header begins with: whose part it is."""

    line: Id
    station: Id
    boot_id: BootId
    seq: Seq
    result_id: Ulid
    trigger_id: TriggerId | None
    verdict: Literal["OK", "NG", "INVALID", "REVIEW"]
    w: Count
    h: Count


class MapHeader(_Picture, frozen=True, tag_field="schema", tag="map/1"):
    """An anomaly map follows: h rows of w numbers, float32, little endian, in the unit of the score."""

    threshold: float
    x0: float
    """Cell (row, column) covers [x0 + column * dx, ... + dx) x [y0 + row * dy, ... + dy) of the frame, px."""
    y0: float
    dx: float
    dy: float


class ThumbHeader(_Picture, frozen=True, tag_field="schema", tag="thumb/1"):
    """A JPEG of w x h pixels follows."""

    scale: float
    """Pixels of the thumbnail per pixel of the frame."""


class Media:
    """The socket; opened, used and closed by one thread."""

    def __init__(self, endpoint: str) -> None:
        """Binds; raises BusError as `Bus`."""
        self._context = zmq.Context()
        options: Options = {zmq.SNDHWM: SEND_HWM, zmq.MAXMSGSIZE: 4096}
        try:
            self._publisher = bind(self._context, zmq.XPUB, endpoint, "media", options)
        except BusError:
            self.close()
            raise
        self._poller = zmq.Poller()
        self._poller.register(self._publisher, zmq.POLLIN)
        self._topics: set[bytes] = set()

    @property
    def endpoint(self) -> str:
        """As it is, with the port that a `*` became."""
        return self._publisher.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")

    @property
    def watched(self) -> bool:
        """Whether anybody is subscribed."""
        return bool(self._topics)

    def watch(self, descriptor: int) -> None:
        """Lets `wait` also return when `descriptor` is readable."""
        self._poller.register(descriptor, zmq.POLLIN)

    def wait(self) -> None:
        """Returns when there is something to do; notes who comes and goes."""
        if self._publisher in dict(self._poller.poll()):
            told = self._publisher.recv()
            (self._topics.add if told.startswith(b"\1") else self._topics.discard)(told[1:])

    def send(self, header: MapHeader | ThumbHeader, data: bytes) -> None:
        """Sends to whoever looks; a viewer that does not read misses it."""
        kind = "map" if isinstance(header, MapHeader) else "thumb"
        topic = f"v1/{kind}/{header.line}/{header.station}/".encode("ascii")
        self._publisher.send_multipart((topic, msgspec.json.encode(header), data), zmq.NOBLOCK)

    def close(self) -> None:
        """Closes the socket; what was not sent is dropped."""
        self._context.destroy(linger=0)


def map_message(verdict: Verdict, seen: Prediction) -> tuple[MapHeader, bytes]:
    """Header and bytes of a part's anomaly map."""
    height, width = seen.anomaly_map.shape
    at = seen.to_image
    header = MapHeader(
        **_head(verdict, width, height),
        threshold=verdict.judgement.threshold,
        x0=at.x0,
        y0=at.y0,
        dx=at.dx,
        dy=at.dy,
    )
    return header, seen.anomaly_map.astype("<f4").tobytes()


def thumb_message(verdict: Verdict, pixels: U8) -> tuple[ThumbHeader, bytes]:
    """Header and bytes of a part's thumbnail."""
    height, width = pixels.shape[:2]
    scale = min(1.0, THUMB_WIDTH / width)
    small = cv2.resize(
        pixels, (round(scale * width), max(1, round(scale * height))), interpolation=cv2.INTER_AREA
    )
    _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return ThumbHeader(**_head(verdict, small.shape[1], small.shape[0]), scale=scale), jpeg.tobytes()


def _head(verdict: Verdict, width: int, height: int) -> dict[str, Any]:
    source, ticket = verdict.provenance, verdict.ticket
    return {
        "line": source.line,
        "station": source.station,
        "boot_id": source.boot_id,
        "seq": verdict.seq,
        "result_id": ticket.result_id,
        "trigger_id": ticket.trigger_id,
        "verdict": verdict.outcome.name,
        "w": width,
        "h": height,
    }
