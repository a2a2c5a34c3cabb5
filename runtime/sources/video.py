"""A video file as a source, through OpenCV."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Literal

import cv2

from ..config import ConfigStruct
from ..errors import ConfigError, SourceEnd, SourceFormat, SourceLost
from ..frame import U8, Frame
from ..images.files import to_channels
from .checks import check_stream
from .clock import Clock, Pacer
from .exposures import Exposures, shape_text

logger = logging.getLogger(__name__)

# FFmpeg prints to stderr from C beside our own error. OpenCV reads this once, at its first video file.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


class VideoConfig(ConfigStruct, frozen=True, tag_field="kind", tag="video"):
    """One video file."""

    path: str
    """File, relative to the station file."""
    loop: bool = False
    """Start again after the last frame."""
    rate_hz: float | None = None
    """Frames per second; absent: as fast as asked."""
    channels: Literal[1, 3] = 3
    """1 grey, 3 BGR."""
    buffers: int = 8
    """Frames that may be in use at once, 1..256."""

    def __post_init__(self) -> None:
        check_stream(self.rate_hz, self.buffers)


class VideoSource:
    """Gives the frames of a video file one by one."""

    def __init__(self, config: VideoConfig, base: Path = Path(), clock: Clock | None = None) -> None:
        """Opens the file and decodes its first frame for the shape.

        Raises:
            ConfigError: no such file, or no right to read it.
            SourceLost: not a video, or none that this OpenCV decodes.
        """
        self._config, self._clock, self._path = config, clock or Clock(), base / config.path
        self._capture = self._open()
        self._ahead = self._decode()
        if self._ahead is None:
            self._capture.release()
            raise SourceLost(
                f"{self._path}: no frame can be decoded; expected a video, convert or copy it again"
            )
        self.shape: tuple[int, ...] = self._ahead.shape
        self._shown, self._triggered = 0, False
        self.frozen_after: int | None = None
        self._pacer = Pacer(config.rate_hz, self._clock)
        self._exposures = Exposures(str(self._path), self.shape, config.buffers, self._clock)

    def trigger(self, encoder: int | None) -> None:
        """The next frame is the exposure; from now on a frame without a free buffer is lost."""
        self._triggered = True

    def read(self, timeout_ms: int) -> Frame:
        """The next frame; buffers and pace as in `FolderSource.read`."""
        deadline_us = self._clock.now_us() + 1000 * timeout_ms
        image = self._peek()
        self._pacer.wait(deadline_us)
        exposed = self._triggered or self._config.rate_hz is not None
        if image.shape != self.shape:
            self._ahead = None
            self._exposures.lose()
            raise SourceFormat(f"{self._path}: {shape_text(image.shape)}; expected {shape_text(self.shape)}")
        self._ahead = None if exposed else image
        frame = self._exposures.fill(image, deadline_us, self._path.name, exposed)
        self._ahead, self._shown = None, self._shown + 1
        return frame

    def check(self) -> None:
        """Files are there or not when they are read."""

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()

    def _peek(self) -> U8:
        """The next image, which stays next until it is taken; raises SourceEnd after the last."""
        if self._ahead is None:
            self._ahead = self._decode()
        if self._ahead is None and self._config.loop:
            self._capture.release()
            self._capture = self._open()
            self._ahead = self._decode()
            if self._ahead is None:
                raise SourceLost(f"{self._path}: no frame at its start any more; was the file replaced?")
        if self._ahead is None:
            self._note_end()
            raise SourceEnd(f"{self._path}: all {self._shown} frames shown")
        return self._ahead

    def _note_end(self) -> None:
        promised = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if promised > self._exposures.next_id:
            logger.warning("%s: %d of %d frames could be read", self._path, self._exposures.next_id, promised)

    def _open(self) -> cv2.VideoCapture:
        try:
            self._path.open("rb").close()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ConfigError(f"{self._path}: {reason}; expected a video file") from None
        return cv2.VideoCapture(str(self._path))

    def _decode(self) -> U8 | None:
        ok, image = self._capture.read()
        return to_channels(image, self._config.channels == 3) if ok else None  # type: ignore[arg-type]
