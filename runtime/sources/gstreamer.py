"""A GStreamer pipeline, where OpenCV was built with it: a Jetson's cameras, and whatever has an element."""

from __future__ import annotations

from pathlib import Path

import cv2

from ..errors import ConfigError
from .capture import CaptureDevice
from .clock import Clock
from .live import LiveConfig, LiveSource


class GstreamerConfig(LiveConfig, frozen=True, kw_only=True, tag_field="kind", tag="gstreamer"):
    """A pipeline as gst-launch-1.0 takes it."""

    pipeline: str
    """Ends in `appsink drop=true max-buffers=1 sync=false`, so that no backlog builds up."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if "appsink" not in self.pipeline:
            raise ValueError(
                "pipeline has no appsink; expected it to end in 'appsink drop=true max-buffers=1 sync=false'"
            )


class GstreamerSource(LiveSource):
    """The newest frame of a pipeline."""

    def __init__(self, config: GstreamerConfig, base: Path = Path(), clock: Clock | None = None) -> None:
        """As `LiveSource`; `base` is not used.

        Raises:
            ConfigError: this OpenCV was built without GStreamer.
        """
        if not _is_built_in():
            raise ConfigError(
                f"source: kind gstreamer: OpenCV {cv2.__version__} was built without GStreamer, as "
                "pip's wheels are; use the system's OpenCV, or kind camera, rtsp or aravis"
            )
        super().__init__("gstreamer", config, lambda: _open(config), clock)


def _open(config: GstreamerConfig) -> CaptureDevice:
    return CaptureDevice(cv2.VideoCapture(config.pipeline, cv2.CAP_GSTREAMER), "gstreamer")


def _is_built_in() -> bool:
    """By the build report: the registry also lists backends whose plugin is missing."""
    lines = (line.strip() for line in cv2.getBuildInformation().splitlines())
    return any(line.startswith("GStreamer:") and "YES" in line for line in lines)
