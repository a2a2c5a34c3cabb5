"""A camera that delivers by a timetable, whether anybody keeps up or not: the open loop of a benchmark."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from ..errors import SourceEnd, SourceTimeout
from ..frame import U8, Frame
from ..sources.synthetic import SyntheticConfig, SyntheticSource
from ..ticket import now_us

LEAD_US = 200_000
"""From the first read to the first frame: what starts up beside it is over by then."""
IMAGES_BYTES = 16 << 20
"""About how much the prepared images take: more than a CPU's cache, as a camera's fresh frames do."""


class Metronome:
    """Frames of prepared images at fixed moments; `Frame.t_mono_us` is the moment when it was due.

    A reader that comes late gets the frame at once, stamped with the moment it missed: its wait counts.
    """

    def __init__(self, images: Sequence[U8], due_us: Sequence[int]) -> None:
        """`due_us` rises, counted from the first frame; the images, of one shape, come round and round."""
        self.shape: tuple[int, ...] = images[0].shape
        self.frozen_after: int | None = None
        self._images, self._due_us = images, due_us
        self._next = 0
        self._start_us: int | None = None

    def trigger(self, encoder: int | None) -> None:
        """Free-running: ignored."""

    def read(self, timeout_ms: int) -> Frame:
        """As in `Source`; `frame_id` is the place in the timetable."""
        if self._next == len(self._due_us):
            raise SourceEnd("metronome: the timetable is done")
        now = now_us()
        if self._start_us is None:
            self._start_us = now + LEAD_US
        due_us = self._start_us + self._due_us[self._next]
        time.sleep(max(0, min(due_us - now, 1000 * timeout_ms)) / 1e6)
        if due_us - now > 1000 * timeout_ms:
            raise SourceTimeout("metronome: no frame is due yet")
        return self._frame(due_us)

    def check(self) -> None:
        """It is always there."""

    def close(self) -> None:
        """Nothing is held."""

    def _frame(self, due_us: int) -> Frame:
        number, self._next = self._next, self._next + 1
        wall_us = time.time_ns() // 1000 - max(0, now_us() - due_us)
        return Frame(self._images[number % len(self._images)], number, due_us, wall_us, "synthetic")


def camera_images(width: int, height: int, channels: int = 1) -> list[U8]:
    """Different good sections of the woven web, (H, W) or (H, W, 3) uint8, about `IMAGES_BYTES` of them."""
    colour = 3 if channels == 3 else 1
    config = SyntheticConfig(width=width, height=height, channels=colour, defect_rate=0.0)  # type: ignore[arg-type]
    source = SyntheticSource(config)
    count = max(2, math.ceil(IMAGES_BYTES / (width * height * channels)))
    return [_rendered(source, section) for section in range(min(count, 64))]


def _rendered(source: SyntheticSource, section: int) -> U8:
    pixels = np.empty(source.shape, np.uint8)
    source.render(section, section, pixels)
    pixels.flags.writeable = False
    return pixels
