"""A folder of images as a source: recorded parts, one file per exposure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..config import ConfigStruct
from ..errors import ConfigError, SourceDecode, SourceEnd, SourceError, SourceFormat
from ..frame import U8, Frame
from ..images.files import list_images, load_image
from .checks import check_stream
from .clock import Clock, Pacer
from .exposures import Exposures, shape_text


class FolderConfig(ConfigStruct, frozen=True, tag_field="kind", tag="folder"):
    """Images of one folder, sorted by name."""

    path: str
    """Folder, relative to the station file."""
    loop: bool = False
    """Start again after the last image."""
    rate_hz: float | None = None
    """Exposures per second; absent: as fast as asked."""
    channels: Literal[1, 3] | None = None
    """1 grey, 3 BGR; absent: as the first image."""
    buffers: int = 8
    """Frames that may be in use at once, 1..256."""

    def __post_init__(self) -> None:
        check_stream(self.rate_hz, self.buffers)


class FolderSource:
    """Gives the images of a folder one by one; a bad image is an error for that one only."""

    def __init__(self, config: FolderConfig, base: Path = Path(), clock: Clock | None = None) -> None:
        """Lists the folder and reads its first good image for the shape.

        Raises:
            ConfigError: no such folder, no images in it.
            SourceDecode: none of the images can be read.
        """
        self._config, self._clock = config, clock or Clock()
        self._folder = base / config.path
        self._paths = list_images(self._folder)
        self._shown, self._triggered = 0, False
        self.frozen_after: int | None = None
        self.shape: tuple[int, ...] = self._first_good(self._paths).shape
        self._pacer = Pacer(config.rate_hz, self._clock)
        self._exposures = Exposures(str(self._folder), self.shape, config.buffers, self._clock)

    def trigger(self, encoder: int | None) -> None:
        """The next image is the exposure; from now on an image without a free buffer is lost."""
        self._triggered = True

    def read(self, timeout_ms: int) -> Frame:
        """The next image. Paced images are never skipped: a late reader gets them later.

        Without pace and trigger an image waits until there is a buffer for it; otherwise its moment passes
        and it is lost, as with a camera.
        """
        deadline_us = self._clock.now_us() + 1000 * timeout_ms
        if self._shown >= len(self._paths) and not self._config.loop:
            raise SourceEnd(f"{self._folder}: all {len(self._paths)} images shown")
        self._pacer.wait(deadline_us)
        exposed = self._triggered or self._config.rate_hz is not None
        path = self._paths[self._shown % len(self._paths)]
        buffer = self._lease(deadline_us, exposed)
        self._shown += 1
        try:
            buffer[:] = self._load(path)
        except SourceError:
            self._exposures.pool.give_back(buffer)
            self._exposures.lose()
            raise
        return self._exposures.frame(buffer, path.name)

    def check(self) -> None:
        """Files are there or not when they are read."""

    def close(self) -> None:
        """Nothing is held."""

    def _lease(self, deadline_us: int, exposed: bool) -> U8:
        try:
            return self._exposures.lease(deadline_us, exposed)
        except SourceError:
            self._shown += int(exposed)
            raise

    def _load(self, path: Path) -> U8:
        image = self._decode(path)
        if image.shape != self.shape:
            raise SourceFormat(
                f"{path}: {shape_text(image.shape)}; expected {shape_text(self.shape)} as the first image"
            )
        return image

    def _decode(self, path: Path) -> U8:
        channels = self._config.channels
        try:
            return load_image(path, None if channels is None else channels == 3)
        except ConfigError as error:  # deleted since it was listed
            raise SourceDecode(str(error)) from None

    def _first_good(self, paths: Sequence[Path]) -> U8:
        first: SourceDecode | None = None
        for path in paths:
            try:
                return self._decode(path)
            except SourceDecode as error:
                first = first or error
        raise SourceDecode(f"none of {len(paths)} images can be read; the first: {first}")
