"""Where frames come from: one file per kind of source, and the table of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from ..source import Source
from .aravis import AravisConfig, AravisSource
from .camera import CameraConfig, CameraSource
from .faulty import FaultyConfig, FaultySource
from .folder import FolderConfig, FolderSource
from .genicam import GenicamConfig, GenicamSource
from .gstreamer import GstreamerConfig, GstreamerSource
from .rtsp import RtspConfig, RtspSource
from .synthetic import SyntheticConfig, SyntheticSource
from .video import VideoConfig, VideoSource

__all__ = [
    "SOURCES",
    "AravisConfig",
    "AravisSource",
    "CameraConfig",
    "CameraSource",
    "FaultyConfig",
    "FaultySource",
    "FolderConfig",
    "FolderSource",
    "GenicamConfig",
    "GenicamSource",
    "GstreamerConfig",
    "GstreamerSource",
    "RtspConfig",
    "RtspSource",
    "SourceConfig",
    "SyntheticConfig",
    "SyntheticSource",
    "VideoConfig",
    "VideoSource",
    "open_source",
]

SourceConfig: TypeAlias = (
    FolderConfig
    | VideoConfig
    | CameraConfig
    | RtspConfig
    | GstreamerConfig
    | GenicamConfig
    | AravisConfig
    | SyntheticConfig
    | FaultyConfig
)
"""The `source` of a station file; its key `kind` says which."""


def _open_faulty(config: FaultyConfig, base: Path) -> Source:
    return FaultySource(open_source(config.source, base), config.faults)


SOURCES: dict[str, Callable[[Any, Path], Source]] = {
    "folder": FolderSource,
    "video": VideoSource,
    "camera": CameraSource,
    "rtsp": RtspSource,
    "gstreamer": GstreamerSource,
    "genicam": GenicamSource,
    "aravis": AravisSource,
    "synthetic": SyntheticSource,
    "faulty": _open_faulty,
}
"""`kind` in the station file -> what opens it."""


def open_source(config: SourceConfig, base: Path) -> Source:
    """Opens the configured source, in the thread that will read and close it.

    Args:
        config: the `source` of a station file.
        base: folder that relative paths start from: the station file's own.

    Raises:
        ConfigError: a file or folder that is not there.
        SourceError: it is there, and gives no frames.
    """
    return SOURCES[str(config.__struct_config__.tag)](config, base)
