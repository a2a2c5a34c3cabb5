"""One captured image and the pool of buffers it is leased from."""

from __future__ import annotations

import queue
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]

EXPOSURE_SOURCES = ("device_ptp", "device", "driver", "dequeue", "synthetic")
"""How far `t_exposure_us` can be trusted, best first."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured on a frame; goes into its verdict."""

    mean: float
    p99: float
    dark_frac: float
    sat_frac: float
    focus: float
    motion: float
    """Mean absolute difference to the frame before, grey levels; 0 for the first frame too."""
    covered: float
    """Share of the view that looks covered."""
    drift: float
    """How far the running means are off, in sigmas of the good images; 0 where none were learnt."""


@dataclass(slots=True, eq=False)
class Frame:
    """One captured image; nobody writes to its pixels after capture, and it is released exactly once."""

    pixels: U8
    """(H, W) grey or (H, W, 3) BGR, uint8."""
    frame_id: int
    """Counts up by one per exposure of the device, from 0; a gap is a lost frame."""
    t_mono_us: int
    """Monotonic clock when the frame was dequeued, us; for durations."""
    t_exposure_us: int
    """Wall clock at exposure, us since the Unix epoch; for people and records, never for latency."""
    t_exposure_src: str = "dequeue"
    """One of `EXPOSURE_SOURCES`."""
    gap: int = 0
    """Frames lost since the previous one."""
    flags: tuple[str, ...] = ()
    """What the source or the quality gate noticed: reason names such as `TOO_DARK`."""
    quality: Quality | None = None
    """What the quality gate measured; None where there is none."""
    name: str = ""
    """File or device the frame came from, for records."""
    pool: FramePool | None = field(default=None, repr=False)
    """Where the pixels go back to; None for an image of its own."""
    _released: bool = field(default=False, repr=False)

    def release(self) -> None:
        """Gives the buffer back to its pool; the pixels may be overwritten from now on.

        Raises:
            ValueError: released twice.
        """
        if self._released:
            raise ValueError(f"frame {self.frame_id} released twice")
        self._released = True
        if self.pool is not None:
            self.pool.give_back(self.pixels)


class FramePool:
    """Preallocated buffers of one shape, so that capture never allocates and memory stays flat."""

    def __init__(self, shape: tuple[int, ...], count: int) -> None:
        """Allocates `count` buffers of `shape`, (H, W) or (H, W, 3), uint8."""
        self.shape = shape
        self._free: queue.SimpleQueue[U8] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put(np.empty(shape, np.uint8))

    def lease(self, timeout_ms: int = 0) -> U8 | None:
        """Returns a free buffer, or None when none came free within `timeout_ms`."""
        try:
            return self._free.get(timeout=timeout_ms / 1000) if timeout_ms else self._free.get_nowait()
        except queue.Empty:
            return None

    def give_back(self, buffer: U8) -> None:
        """Returns a leased buffer to the pool."""
        self._free.put(buffer)
