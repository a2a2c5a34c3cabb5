"""What every camera has in common: a thread around the device, and the proof that a frame is new."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..config import ConfigStruct
from ..errors import (
    InspectionError,
    SourceError,
    SourceFormat,
    SourceIncomplete,
    SourceLost,
    SourceStale,
    SourceTimeout,
)
from ..frame import Frame
from ..images.files import to_channels
from .checks import check_stream
from .clock import Clock, DeviceClock
from .exposures import Exposures, shape_text

CLOSE_WAIT_S = 0.5
"""How long closing waits for a driver that hangs; the thread is a daemon and is left behind."""
SILENT_INTERVALS = 4
"""A camera slower than `lost_after_ms` is lost after so many of its own intervals without a frame."""


class LiveConfig(ConfigStruct, frozen=True):
    """What the station file says of every camera."""

    width: int | None = None
    """Pixels; absent: as the camera comes."""
    height: int | None = None
    channels: Literal[1, 3] = 3
    """1 grey, 3 BGR."""
    open_timeout_ms: int = 5000
    """How long the first frame may take."""
    lost_after_ms: int | None = 250
    """Time without a new frame after which the camera is lost and opened again; null: never, for a camera
    that waits for triggers."""
    frozen_after: int | None = 2
    """Equal pictures in a row that are a frozen camera; null: they may be equal."""
    buffers: int = 8
    """Frames that may be in use at once, 2..256: one is always being filled."""

    def __post_init__(self) -> None:
        check_stream(None, self.buffers)
        sizes = [n for n in (self.width, self.height) if n is not None]
        if min(sizes, default=1) < 1 or self.open_timeout_ms < 1 or self.buffers < 2:
            raise ValueError("expected width, height and open_timeout_ms >= 1, and buffers >= 2")
        for what, least in (("lost_after_ms", 1), ("frozen_after", 2)):
            value = getattr(self, what)
            if value is not None and value < least:
                raise ValueError(f"{what} is {value}; expected >= {least}, or null: not checked")


@dataclass(frozen=True, slots=True)
class Grab:
    """What the device gave."""

    pixels: NDArray[np.generic] | None
    """(H, W) or (H, W, 3) BGR, valid until the next grab; None: parts of the frame are missing."""
    number: int | None = None
    """The device's own count of its frames."""
    stamp_us: int | None = None
    """The device's own time of the exposure."""


class Device(Protocol):
    """A camera that is open, in the thread that opened it."""

    monotonic: bool
    """Whether its stamps are on this machine's monotonic clock."""
    piles_up: bool
    """Whether opening it takes so long that frames wait by then: a stream that is probed first."""

    def grab(self) -> Grab | None:
        """What came next; None when nothing came for a while.

        Raises:
            SourceLost: the device is gone.
            SourceFormat: pixels that nobody here can read.
        """

    def trigger(self) -> None:
        """Asks for an exposure, where the device waits for that; called from another thread."""

    def close(self) -> None:
        """Frees the device."""


class LiveSource:
    """The newest frame of a camera.

    A daemon thread opens, reads and closes the device, so that `read` returns in time whatever the driver
    does, and no backlog builds up. A frame that comes before the last one was read replaces it; the gap says
    so. That a read succeeded proves nothing: a frame is new when the device's own number and time say so.
    """

    _left_behind: ClassVar[dict[str, threading.Thread]] = {}
    """Device -> the thread that hung in its driver when it was closed."""

    def __init__(
        self, where: str, config: LiveConfig, open_device: Callable[[], Device], clock: Clock | None = None
    ) -> None:
        """Opens the camera and waits for its first frame, which decides the shape.

        A camera that waits for a signal on its own line (`lost_after_ms` null, width and height given) is
        open without a frame.

        Raises:
            SourceLost: no such device, no permission, or no frame in time.
            SourceFormat: the camera does not give the width and height asked for.
        """
        self.shape: tuple[int, ...] = ()
        self.frozen_after = config.frozen_after
        self._where, self._config, self._clock = where, config, clock or Clock()
        self._open_device = open_device
        self._device: Device | None = None
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._error: Exception | None = None
        self._closing = False
        self._exposures: Exposures | None = None
        self._device_clock = DeviceClock()
        self._last: tuple[int | None, int | None] = (None, None)
        self._before: tuple[int, int] | None = None
        self._fresh_us, self._interval_us, self._stale_us = 0, 0, 0
        self._starved = False
        self._refuse_second_driver()
        self._thread = threading.Thread(target=self._serve, name=f"{where}"[:15], daemon=True)
        self._thread.start()
        self._wait_open()

    def trigger(self, encoder: int | None) -> None:
        """Asks a camera that waits for it; a free-running one ignores it."""
        with self._changed:
            if isinstance(self._error, SourceLost):
                raise self._error
            self._error = None  # of a frame before this trigger
        if self._device is None:
            return
        try:
            self._device.trigger()
        except InspectionError:
            raise
        except Exception as error:  # each vendor's binding has errors of its own
            raise SourceLost(f"{self._where}: {error}") from None

    def read(self, timeout_ms: int) -> Frame:
        """The newest frame, or the error that came instead of it."""
        with self._changed:
            wait_s = min(timeout_ms / 1000, self._left_us() / 1e6)
            self._changed.wait_for(lambda: self._newest or self._error, wait_s)
            if self._newest is not None:
                frame, self._newest = self._newest, None
                return frame
        self.check()
        with self._changed:
            error, self._error = self._error, None
        if error is not None:
            raise error
        why = "frames are released too late" if self._starved else "check cable and trigger"
        raise SourceTimeout(f"{self._where}: no frame within {timeout_ms} ms; {why}")

    def check(self) -> None:
        """Raises SourceLost when the camera is gone or silent for too long."""
        if isinstance(self._error, SourceLost):
            raise self._error
        if self._left_us() <= 0:
            silent_ms = (self._clock.now_us() - self._fresh_us) // 1000
            raise SourceLost(f"{self._where}: no new frame for {silent_ms} ms; check cable and power")

    def _left_us(self) -> float:
        """How much longer it may be silent before it is lost."""
        limit_ms = self._config.lost_after_ms
        if limit_ms is None:
            return math.inf
        limit_us = max(1000 * limit_ms, SILENT_INTERVALS * self._interval_us)
        return self._fresh_us + limit_us + 1 - self._clock.now_us()

    def close(self) -> None:
        """Stops the thread; a driver that hangs is left behind after `CLOSE_WAIT_S`."""
        self._closing = True
        self._thread.join(CLOSE_WAIT_S)
        if self._thread.is_alive():
            self._left_behind[self._where] = self._thread

    def _refuse_second_driver(self) -> None:
        """A thread per attempt would pile up, and no driver serves two."""
        hung = self._left_behind.pop(self._where, None)
        if hung is None:
            return
        hung.join(CLOSE_WAIT_S)
        if hung.is_alive():
            self._left_behind[self._where] = hung
            raise SourceLost(f"{self._where}: its driver still hangs; unplug the camera and plug it in again")

    def _wait_open(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.shape or self._error, self._config.open_timeout_ms / 1000)
            if self.shape:
                return
            error = self._error
        self.close()
        limit = self._config.open_timeout_ms
        late = f"{self._where}: no first frame within {limit} ms; is another program using it?"
        raise error or SourceLost(late)

    def _serve(self) -> None:
        """The thread: opens, reads until closed or lost, releases."""
        try:
            self._device = device = self._open_device()
            try:
                self._start(device)
                while not self._closing:
                    self._take(device, device.grab())
            finally:
                device.close()
        except InspectionError as error:
            self._fail(error)
        except Exception as error:  # the guard at the bottom of the thread: read() raises it
            self._fail(SourceLost(f"{self._where}: {error}"))

    def _start(self, device: Device) -> None:
        """Asks for the first frame, or does without one where no part may come for hours."""
        config = self._config
        if config.lost_after_ms is None and config.width and config.height:
            shape = (config.height, config.width)
            self._open_with(shape if config.channels == 1 else (*shape, 3))
        else:
            device.trigger()

    def _take(self, device: Device, grab: Grab | None) -> None:
        """A frame, an error, or nothing new."""
        if grab is None or self._is_stale(grab):
            return
        now_us = self._clock.now_us()
        self._interval_us, self._fresh_us = now_us - (self._fresh_us or now_us), now_us
        lost = self._lost_before(grab)
        self._last = (grab.number, grab.stamp_us)
        if grab.pixels is None:
            self._lose(
                1 + lost, SourceIncomplete(f"{self._where}: a frame with parts missing; check the network")
            )
            return
        if self._exposures is None and device.piles_up and self._is_backlog(grab, now_us):
            return
        image = to_channels(np.asarray(grab.pixels, np.uint8), self._config.channels == 3)
        exposures = self._exposures or self._open_with(image.shape)
        exposures.lose(lost)
        if image.shape != self.shape:
            found, expected = shape_text(image.shape), shape_text(self.shape)
            self._lose(1, SourceFormat(f"{self._where}: {found}; expected {expected}"))
            return
        buffer = exposures.pool.lease()
        self._starved = buffer is None
        if buffer is None:  # nobody reads: the next frame shows the gap
            exposures.lose()
            return
        np.copyto(buffer, image)
        self._publish(exposures.frame(buffer, self._where, *self._exposed(device, grab.stamp_us, now_us)))

    def _is_stale(self, grab: Grab) -> bool:
        """Whether the device gave this frame before; told once per frame that is missed because of it."""
        number, stamp_us = self._last
        if (grab.number is None or grab.number != number) and (
            grab.stamp_us is None or grab.stamp_us != stamp_us
        ):
            return False
        now_us = self._clock.now_us()
        if now_us - max(self._stale_us, self._fresh_us) >= max(self._interval_us, 1000):
            self._stale_us = now_us
            self._fail(SourceStale(f"{self._where}: the same frame again; check cable and power"))
        self._clock.sleep_us(1000)
        return True

    def _is_backlog(self, grab: Grab, now_us: int) -> bool:
        """Whether frames come faster than they were taken: they waited, and show what has long passed."""
        before, self._before = self._before, (grab.stamp_us or 0, now_us)
        return before is None or self._before[0] - before[0] > 2 * (now_us - before[1])

    def _lost_before(self, grab: Grab) -> int:
        """Frames that the device counted and nobody got."""
        last = self._last[0]
        return 0 if grab.number is None or last is None else max(0, min(grab.number - last - 1, 1 << 20))

    def _exposed(self, device: Device, stamp_us: int | None, now_us: int) -> tuple[str, int]:
        """Where the exposure time comes from, and how long ago it was at least, us."""
        if stamp_us is None:
            return "dequeue", 0
        if not device.monotonic:
            return "device", self._device_clock.age_us(stamp_us, now_us)
        age_us = now_us - stamp_us
        return ("driver", age_us) if 0 <= age_us < 10_000_000 else ("dequeue", 0)

    def _open_with(self, shape: tuple[int, ...]) -> Exposures:
        """Takes the first frame's shape as the camera's, if it is the one asked for."""
        height, width = self._config.height or shape[0], self._config.width or shape[1]
        if (height, width) != shape[:2]:
            raise SourceFormat(
                f"{self._where}: gives {shape_text(shape)}; expected {width} x {height}, "
                "set a size the camera has"
            )
        self._exposures = Exposures(self._where, shape, self._config.buffers, self._clock)
        with self._changed:
            self.shape = shape
            self._changed.notify_all()
        return self._exposures

    def _publish(self, frame: Frame) -> None:
        with self._changed:
            if self._newest is not None:
                frame.gap += 1 + self._newest.gap
                self._newest.release()
            self._newest = frame
            self._error = None
            self._changed.notify_all()

    def _lose(self, count: int, error: SourceError) -> None:
        if self._exposures is not None:  # before that the next frame may be whole
            self._exposures.lose(count)
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()
