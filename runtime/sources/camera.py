"""A camera through OpenCV: by index, or by its V4L2 path."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2

from ..errors import SourceLost
from .capture import Capture, CaptureDevice
from .checks import check_stream
from .clock import Clock
from .live import LiveConfig, LiveSource


class CameraConfig(LiveConfig, frozen=True, tag_field="kind", tag="camera"):
    """A camera that OpenCV can open."""

    device: int | str = 0
    """Index, or a V4L2 path; /dev/v4l/by-path/... stays the same after a reboot."""
    fps: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stream(self.fps, self.buffers)


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


class CameraSource(LiveSource):
    """The newest frame of a camera that OpenCV can open."""

    def __init__(
        self,
        config: CameraConfig,
        base: Path = Path(),
        clock: Clock | None = None,
        opener: Callable[[int | str], Capture] = open_capture,
    ) -> None:
        """As `LiveSource`; `base` is not used."""
        where = f"camera {config.device}"
        super().__init__(where, config, lambda: _open(where, config, opener), clock)


def _open(where: str, config: CameraConfig, opener: Callable[[int | str], Capture]) -> CaptureDevice:
    capture = opener(config.device)
    device = CaptureDevice(capture, where, monotonic=True)
    wanted = {
        cv2.CAP_PROP_FRAME_WIDTH: config.width,
        cv2.CAP_PROP_FRAME_HEIGHT: config.height,
        cv2.CAP_PROP_FPS: config.fps,
    }
    for prop, value in wanted.items():
        if value is not None:
            capture.set(prop, value)
    return device
