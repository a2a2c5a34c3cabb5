"""A source that fails on a script: for tests, and to show what the line sees when a camera fails."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Literal

from ..config import ConfigStruct
from ..errors import SourceDecode, SourceError, SourceFormat, SourceIncomplete, SourceLost, SourceTimeout
from ..frame import Frame
from ..source import Source
from .folder import FolderConfig
from .synthetic import SyntheticConfig
from .video import VideoConfig

ERRORS: dict[str, type[SourceError]] = {
    "timeout": SourceTimeout,
    "lost": SourceLost,
    "incomplete": SourceIncomplete,
    "format": SourceFormat,
    "decode": SourceDecode,
}


class Fault(ConfigStruct, frozen=True):
    """What goes wrong at one read."""

    frame: int
    """Number of the read it happens at, from 0."""
    kind: Literal["timeout", "lost", "incomplete", "format", "decode", "hang"]
    """The error raised; `hang` blocks past any timeout and then gives the frame."""
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
        self.shape = inner.shape
        self._inner = inner
        self._faults = {fault.frame: fault for fault in faults}
        self._reads, self._gap = 0, 0
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
        if fault is None or fault.kind == "hang":
            return self._pass_on(timeout_ms)
        self._lost = fault.kind == "lost"
        frame = self._inner.read(timeout_ms)
        self._gap += 1 + frame.gap
        frame.release()
        raise ERRORS[fault.kind](f"scripted fault at read {fault.frame}: {fault.kind}")

    def close(self) -> None:
        """Closes the inner source; ends a `hang` that another thread is in."""
        self._closed.set()
        self._inner.close()

    def _pass_on(self, timeout_ms: int) -> Frame:
        frame = self._inner.read(timeout_ms)
        frame.gap += self._gap
        self._gap = 0
        return frame
