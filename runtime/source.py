"""Where frames come from: the interface, and the table from the `kind` in a station file to a class."""

from __future__ import annotations

from typing import Protocol

from .frame import Frame


class Source(Protocol):
    """A camera or what stands in for one; opened, read and closed by one thread."""

    shape: tuple[int, ...]
    """(H, W) or (H, W, 3) of every frame; known once open."""
    frozen_after: int | None
    """Equal frames in a row that prove it repeats itself; None: files may repeat."""

    def trigger(self, encoder: int | None) -> None:
        """Asks for one exposure; a free-running device ignores it.

        Args:
            encoder: position counts at the trigger; a simulated source shows what lies there.
        """

    def read(self, timeout_ms: int) -> Frame:
        """Returns the next frame, leased from the source's pool; returns within `timeout_ms` + 50 ms.

        Raises:
            SourceTimeout: no frame in time, or no free buffer.
            SourceLost: the device is gone and must be opened again.
            SourceStale: a frame that was given before.
            SourceIncomplete: a frame with parts missing.
            SourceFormat: another size or depth than `shape`.
            SourceDecode: a file or packet that is not an image.
            SourceEnd: a finite source has no more frames.
        """

    def check(self) -> None:
        """Returns at once; called between triggers.

        Raises:
            SourceLost: the device is known to be gone.
        """

    def close(self) -> None:
        """Frees the device; safe to call twice."""
