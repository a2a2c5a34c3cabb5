"""Cameras and streams that OpenCV reads: V4L2, RTSP through FFmpeg, a GStreamer pipeline."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SourceLost
from .live import Grab


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that is used."""

    def isOpened(self) -> bool: ...  # noqa: N802
    def read(self) -> tuple[bool, NDArray[np.generic] | None]: ...
    def get(self, prop: int, /) -> float: ...
    def set(self, prop: int, value: float, /) -> bool: ...
    def release(self) -> None: ...


class CaptureDevice:
    """A `cv2.VideoCapture` as a device; a frame's stamp is OpenCV's position in the stream."""

    def __init__(self, capture: Capture, where: str, monotonic: bool = False, piles_up: bool = False) -> None:
        """Takes an open capture over; see `Device` for what the two words mean.

        Raises:
            SourceLost: it is not open.
        """
        self.monotonic, self.piles_up = monotonic, piles_up
        self._capture, self._where = capture, where
        if not capture.isOpened():
            capture.release()
            raise SourceLost(f"{where}: cannot be opened; is it there, and does another program use it?")

    def grab(self) -> Grab | None:
        """As in `Device`. A read that fails once fails for ever, also when `isOpened` says otherwise."""
        ok, pixels = self._capture.read()
        if not ok or pixels is None:
            raise SourceLost(f"{self._where}: the device gives no more frames; check cable and power")
        # V4L2 passes its own time stamp on, FFmpeg the stream's; 0 for ever where there is none.
        stamp_us = round(1000 * self._capture.get(cv2.CAP_PROP_POS_MSEC))
        return Grab(pixels, stamp_us=stamp_us if stamp_us > 0 else None)

    def trigger(self) -> None:
        """OpenCV cannot trigger a camera: it runs free."""

    def close(self) -> None:
        """As in `Device`."""
        self._capture.release()
