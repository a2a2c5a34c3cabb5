"""A camera through OpenCV: by index, or by its V4L2 path."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..config import ConfigStruct
from ..errors import SourceError, SourceFormat, SourceLost, SourceTimeout
from ..frame import Frame
from ..images.files import to_channels
from .checks import check_stream
from .clock import Clock
from .exposures import Exposures, shape_text

STALE_LIMIT_US = 2_000_000
"""Time without progress of the driver's time stamp after which a camera counts as lost."""
CLOSE_WAIT_S = 0.5
"""How long closing waits for a driver that hangs; the thread is a daemon and is left behind."""


class CameraConfig(ConfigStruct, frozen=True, tag_field="kind", tag="camera"):
    """A camera that OpenCV can open."""

    device: int | str = 0
    """Index, or a V4L2 path; /dev/v4l/by-path/... stays the same after a reboot."""
    width: int | None = None
    """Pixels; absent: as the camera comes."""
    height: int | None = None
    fps: float | None = None
    channels: Literal[1, 3] = 3
    """1 grey, 3 BGR."""
    open_timeout_ms: int = 5000
    """How long the first frame may take."""
    buffers: int = 8
    """Frames that may be in use at once, 2..256: one is always being filled."""

    def __post_init__(self) -> None:
        check_stream(self.fps, self.buffers)
        sizes = [n for n in (self.width, self.height) if n is not None]
        if min(sizes, default=1) < 1 or self.open_timeout_ms < 1 or self.buffers < 2:
            raise ValueError("expected width, height and open_timeout_ms >= 1, and buffers >= 2")


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that is used."""

    def isOpened(self) -> bool: ...  # noqa: N802
    def read(self) -> tuple[bool, NDArray[np.generic] | None]: ...
    def get(self, prop: int, /) -> float: ...
    def set(self, prop: int, value: float, /) -> bool: ...
    def release(self) -> None: ...


def open_capture(device: int | str) -> Capture:
    """OpenCV's capture of a device.

    Raises:
        SourceLost: no such device, or no right to open it.
    """
    path = f"/dev/video{device}" if isinstance(device, int) else device
    if sys.platform == "linux" and not os.path.exists(path):
        raise SourceLost(
            f"camera {device}: no device {path}; plug it in, or list them: ls -l /dev/v4l/by-path"
        )
    if sys.platform == "linux" and not os.access(path, os.R_OK | os.W_OK):
        raise SourceLost(f"camera {device}: no permission for {path}; add the user to the group 'video'")
    return cv2.VideoCapture(device)


class CameraSource:
    """The newest frame of a camera.

    A daemon thread opens, reads and closes the device, so that `read` returns in time whatever the driver
    does. A frame that comes before the last one was read replaces it; the gap says so.
    """

    def __init__(
        self,
        config: CameraConfig,
        base: Path = Path(),
        clock: Clock | None = None,
        opener: Callable[[int | str], Capture] = open_capture,
    ) -> None:
        """Opens the camera and waits for its first frame, which decides the shape; `base` is not used.

        Raises:
            SourceLost: no such device, no permission, or no frame in time.
            SourceFormat: the camera does not give the width and height asked for.
        """
        self.shape: tuple[int, ...] = ()
        self.frozen_after: int | None = 2
        self._config, self._clock, self._opener = config, clock or Clock(), opener
        self._where = f"camera {config.device}"
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._error: Exception | None = None
        self._closing = False
        self._exposures: Exposures | None = None
        self._stamp_ms, self._fresh_us, self._starved = 0.0, 0, False
        self._thread = threading.Thread(target=self._serve, name="camera", daemon=True)
        self._thread.start()
        self._wait_open()

    def trigger(self, encoder: int | None) -> None:
        """Does nothing: the camera runs free."""

    def read(self, timeout_ms: int) -> Frame:
        """The newest frame, or the error that came instead of it."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._error, timeout_ms / 1000)
            if self._newest is not None:
                frame, self._newest = self._newest, None
                return frame
            if self._error is None:
                why = "frames are released too late" if self._starved else "check cable and trigger"
                raise SourceTimeout(f"{self._where}: no frame within {timeout_ms} ms; {why}")
            error = self._error
            if not isinstance(error, SourceLost):
                self._error = None
            raise error

    def close(self) -> None:
        """Stops the thread; a driver that hangs is left behind after `CLOSE_WAIT_S`."""
        self._closing = True
        self._thread.join(CLOSE_WAIT_S)

    def _wait_open(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.shape or self._error, self._config.open_timeout_ms / 1000)
            if self.shape:
                return
            error = self._error
        self.close()
        limit = self._config.open_timeout_ms
        late = f"{self._where}: no first frame within {limit} ms; is another program using it?"
        raise error or SourceLost(late)

    def _serve(self) -> None:
        """The thread: opens, reads until closed or lost, releases."""
        try:
            capture = self._opener(self._config.device)
            try:
                self._settle(capture)
                while not self._closing:
                    self._take(capture)
            finally:
                capture.release()
        except Exception as error:  # the guard at the bottom of the thread: read() raises it
            lost = error if isinstance(error, SourceError) else SourceLost(f"{self._where}: {error}")
            self._fail(lost)

    def _settle(self, capture: Capture) -> None:
        """Sets what the station asks for."""
        if not capture.isOpened():
            raise SourceLost(f"{self._where}: cannot be opened; is another program using it?")
        wanted = {
            cv2.CAP_PROP_FRAME_WIDTH: self._config.width,
            cv2.CAP_PROP_FRAME_HEIGHT: self._config.height,
            cv2.CAP_PROP_FPS: self._config.fps,
        }
        for prop, value in wanted.items():
            if value is not None:
                capture.set(prop, value)

    def _take(self, capture: Capture) -> None:
        """One read of the device: a frame, an error, or nothing new."""
        ok, raw = capture.read()
        if not ok or raw is None:
            raise SourceLost(f"{self._where}: the device gives no more frames; check cable and power")
        source, age_us = self._freshness(capture)
        if source is None:
            return
        image = to_channels(np.asarray(raw, np.uint8), self._config.channels == 3)
        exposures = self._exposures or self._open_with(image.shape)
        fault = self._format_fault(image.shape)
        buffer = None if fault else exposures.pool.lease()
        self._starved = buffer is None and not fault
        if buffer is None:  # no buffer: nobody reads, the next frame shows the gap
            exposures.lose()
        else:
            np.copyto(buffer, image)
            self._publish(exposures.frame(buffer, self._where, source, age_us))
        if fault:
            self._fail(fault)

    def _freshness(self, capture: Capture) -> tuple[str | None, int]:
        """Where the exposure time comes from and how long ago it was; (None, 0) for a repeated frame.

        A read that returns True proves nothing: some drivers repeat the last frame for ever. V4L2 passes
        its own time stamp on; without one (0 for ever) the frame is taken as new.
        """
        stamp_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
        now_us = self._clock.now_us()
        if stamp_ms > 0 and stamp_ms == self._stamp_ms:
            if now_us - self._fresh_us > STALE_LIMIT_US:
                raise SourceLost(f"{self._where}: the same frame again and again; check cable and power")
            self._clock.sleep_us(1000)
            return None, 0
        self._stamp_ms, self._fresh_us = stamp_ms, now_us
        age_us = round(now_us - 1000 * stamp_ms)
        # Only a stamp on our own monotonic clock says when the exposure was.
        return ("driver", age_us) if stamp_ms > 0 and 0 <= age_us < 10_000_000 else ("dequeue", 0)

    def _open_with(self, shape: tuple[int, ...]) -> Exposures:
        """Takes the first frame's shape as the camera's, if it is the one asked for."""
        height, width = self._config.height or shape[0], self._config.width or shape[1]
        if (height, width) != shape[:2]:
            raise SourceFormat(
                f"{self._where}: gives {shape_text(shape)}; expected {width} x {height}, "
                "set a size the camera has (v4l2-ctl --list-formats-ext)"
            )
        self._exposures = Exposures(self._where, shape, self._config.buffers, self._clock)
        with self._changed:
            self.shape = shape
            self._changed.notify_all()
        return self._exposures

    def _format_fault(self, shape: tuple[int, ...]) -> SourceFormat | None:
        if shape == self.shape:
            return None
        return SourceFormat(f"{self._where}: {shape_text(shape)}; expected {shape_text(self.shape)}")

    def _publish(self, frame: Frame) -> None:
        with self._changed:
            if self._newest is not None:
                frame.gap += 1 + self._newest.gap
                self._newest.release()
            self._newest = frame
            self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()
