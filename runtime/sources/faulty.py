"""A source that fails on a script: for tests, and to show what the line sees when a camera fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np

from ..config import ConfigStruct
from ..errors import (
    SourceDecode,
    SourceError,
    SourceFormat,
    SourceIncomplete,
    SourceLost,
    SourceStale,
    SourceTimeout,
)
from ..frame import U8, Frame
from ..source import Source
from .folder import FolderConfig
from .synthetic import SyntheticConfig
from .video import VideoConfig

ERRORS: dict[str, type[SourceError]] = {
    "timeout": SourceTimeout,
    "stale": SourceStale,
    "lost": SourceLost,
    "incomplete": SourceIncomplete,
    "format": SourceFormat,
    "decode": SourceDecode,
}


def _covered(image: U8, last: U8) -> U8:
    """A grey card over the left two fifths."""
    covered: U8 = image.copy()
    covered[:, : image.shape[1] * 2 // 5] = 200
    return covered


SPOILERS: dict[str, Callable[[U8, U8], U8]] = {
    "dark": lambda image, last: np.asarray(image // 16, np.uint8),
    "bright": lambda image, last: np.asarray(cv2.add(image, np.full_like(image, 200)), np.uint8),
    "blurred": lambda image, last: np.asarray(
        cv2.GaussianBlur(image, (0, 0), image.shape[0] / 128), np.uint8
    ),
    "covered": _covered,
    "repeated": lambda image, last: last,
}
"""What spoils a picture: the image and the one given before it -> the image to give."""


class Fault(ConfigStruct, frozen=True):
    """What goes wrong at one read."""

    frame: int
    """Number of the read it happens at, from 0."""
    kind: Literal[
        "timeout", "lost", "stale", "incomplete", "format", "decode", "hang",
        "dark", "bright", "blurred", "covered", "repeated",
    ]  # fmt: skip
    """The error raised; `hang` blocks past any timeout and then gives the frame; the last five give a frame
    whose picture is spoilt."""
    seconds: float = 0.0
    """How long a `hang` lasts, or how long the read takes before the error, s."""


class FaultyConfig(ConfigStruct, frozen=True, tag_field="kind", tag="faulty"):
    """Another source with scripted faults."""

    source: FolderConfig | VideoConfig | SyntheticConfig
    faults: tuple[Fault, ...]


class FaultySource:
    """Passes on another source's frames, except where the script says otherwise.

    A read that fails takes the inner frame with it, so the next frame shows the gap. After `lost` every
    read fails until the source is opened again.
    """

    def __init__(self, inner: Source, faults: Sequence[Fault]) -> None:
        self.shape, self.frozen_after = inner.shape, inner.frozen_after
        self._inner = inner
        self._faults = {fault.frame: fault for fault in faults}
        self._reads, self._gap = 0, 0
        self._keeps_last = any(fault.kind == "repeated" for fault in faults)
        self._last = np.zeros(inner.shape, np.uint8)
        self._lost = False
        self._closed = threading.Event()

    def trigger(self, encoder: int | None) -> None:
        """Passes the trigger on."""
        self._inner.trigger(encoder)

    def read(self, timeout_ms: int) -> Frame:
        """The inner source's frame, or the scripted error of this read."""
        fault, self._reads = self._faults.get(self._reads), self._reads + 1
        if self._lost:
            raise SourceLost("scripted fault: still lost; open the source again")
        if fault is not None:
            self._closed.wait(fault.seconds)
        if fault is None or fault.kind not in ERRORS:
            return self._pass_on(timeout_ms, None if fault is None else SPOILERS.get(fault.kind))
        self._lost = fault.kind == "lost"
        frame = self._inner.read(timeout_ms)
        self._gap += 1 + frame.gap
        frame.release()
        raise ERRORS[fault.kind](f"scripted fault at read {fault.frame}: {fault.kind}")

    def check(self) -> None:
        """As in `Source`."""
        self._inner.check()

    def close(self) -> None:
        """Closes the inner source; ends a `hang` that another thread is in."""
        self._closed.set()
        self._inner.close()

    def _pass_on(self, timeout_ms: int, spoil: Callable[[U8, U8], U8] | None = None) -> Frame:
        frame = self._inner.read(timeout_ms)
        if spoil is not None:
            frame.pixels[:] = spoil(frame.pixels, self._last)
        if self._keeps_last:
            np.copyto(self._last, frame.pixels)
        frame.gap += self._gap
        self._gap = 0
        return frame
