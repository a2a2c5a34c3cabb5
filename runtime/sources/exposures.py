"""Numbers, stamps and buffers of a source's frames: what all sources share."""

from __future__ import annotations

import numpy as np

from ..errors import SourceTimeout
from ..frame import U8, Frame, FramePool
from .clock import Clock


class Exposures:
    """Counts exposures and leases the buffers their frames lie in.

    Every exposure takes one frame number, also one that ends in an error; so `gap` of a frame is always
    its number minus the number before it, minus one.
    """

    def __init__(self, where: str, shape: tuple[int, ...], buffers: int, clock: Clock) -> None:
        """`where` names the source in errors; `shape` and `buffers` are the pool's."""
        self.pool = FramePool(shape, buffers)
        self.next_id = 0
        self._where, self._buffers, self._clock = where, buffers, clock
        self._last_id = -1

    def lose(self, count: int = 1) -> None:
        """Counts exposures whose frames nobody gets."""
        self.next_id += count

    def lease(self, deadline_us: int, exposed: bool = True) -> U8:
        """A free buffer; without one the exposure is lost, unless it was not `exposed` yet.

        Raises:
            SourceTimeout: all buffers in use until `deadline_us` on the monotonic clock.
        """
        left_ms = max(0, (deadline_us - self._clock.now_us()) // 1000)
        buffer = self.pool.lease(left_ms)
        if buffer is None:
            self.lose(int(exposed))
            raise SourceTimeout(
                f"{self._where}: all {self._buffers} frame buffers are in use; "
                "frames are released too late (or raise 'buffers')"
            )
        return buffer

    def frame(self, buffer: U8, name: str, source: str = "dequeue", age_us: int = 0) -> Frame:
        """The frame of the current exposure; `age_us` is how long ago its exposure was."""
        frame_id, gap = self.next_id, self.next_id - self._last_id - 1
        self._last_id, self.next_id = frame_id, frame_id + 1
        return Frame(
            pixels=buffer,
            frame_id=frame_id,
            t_mono_us=self._clock.now_us(),
            t_exposure_us=self._clock.wall_us() - age_us,
            t_exposure_src=source,
            gap=gap,
            name=name,
            pool=self.pool,
        )

    def fill(self, image: U8, deadline_us: int, name: str, exposed: bool = True) -> Frame:
        """The frame of the current exposure, with `image` copied into it; raises as `lease`."""
        buffer = self.lease(deadline_us, exposed)
        np.copyto(buffer, image)
        return self.frame(buffer, name)


def shape_text(shape: tuple[int, ...]) -> str:
    """`1280 x 1024 grey`, as people write it."""
    return f"{shape[1]} x {shape[0]} {'grey' if len(shape) == 2 else 'colour'}"
