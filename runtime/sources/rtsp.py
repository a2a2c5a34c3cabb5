"""An IP camera: RTSP through OpenCV's FFmpeg. Its latency is the encoder's: not for tight deadlines."""

from __future__ import annotations

import os
from pathlib import Path

import cv2

from ..images.files import quiet_opencv
from .capture import CaptureDevice
from .clock import Clock
from .live import LiveConfig, LiveSource

# FFmpeg prints to stderr from C beside our own error. OpenCV reads this once, at its first stream.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


class RtspConfig(LiveConfig, frozen=True, kw_only=True, tag_field="kind", tag="rtsp"):
    """A stream by its URL."""

    url: str
    """rtsp://[user:password@]host[:port]/path; the password never appears in a message."""
    lost_after_ms: int | None = 1000
    frozen_after: int | None = 3
    """A compressed stream may show one picture twice."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.url.startswith(("rtsp://", "rtsps://")):
            raise ValueError(f"url is {_without_password(self.url)!r}; expected rtsp://host:port/path")


class RtspSource(LiveSource):
    """The newest frame of a stream; its thread drains what piles up."""

    def __init__(self, config: RtspConfig, base: Path = Path(), clock: Clock | None = None) -> None:
        """As `LiveSource`; `base` is not used."""
        where = _without_password(config.url)
        super().__init__(where, config, lambda: _open(where, config), clock)


def _open(where: str, config: RtspConfig) -> CaptureDevice:
    quiet_opencv()
    # Set later they are ignored; without them a server that hangs holds the thread for 30 s.
    limits = {
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: config.open_timeout_ms,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC: config.lost_after_ms or config.open_timeout_ms,
    }
    words = [number for pair in limits.items() for number in pair]
    return CaptureDevice(cv2.VideoCapture(config.url, cv2.CAP_FFMPEG, words), where, piles_up=True)


def _without_password(url: str) -> str:
    scheme, found, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else url
