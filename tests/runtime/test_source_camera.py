"""The camera source against a capture that is fed by hand; no camera is needed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import SourceFormat, SourceLost, SourceStale, SourceTimeout
from runtime.frame import U8, Frame
from runtime.sources import CameraConfig, CameraSource
from runtime.sources.clock import Clock, SteppedClock

WAIT_MS = 5000
"""Longer than any thread needs; a test that waits this long fails."""


class HandFedCapture:
    """A capture whose frames are put in by the test; `read` blocks until there is one."""

    def __init__(self, opened: bool = True) -> None:
        self.fed: queue.Queue[tuple[bool, U8 | None, float]] = queue.Queue()
        self.set_to: dict[int, float] = {}
        self.released = threading.Event()
        self.free_running = False
        self._opened, self._stamp_ms = opened, 0.0
        self._asking = threading.Condition()
        self._fed_count, self._reads = 0, 0

    def feed(self, value: int, stamp_ms: float = 0.0, shape: tuple[int, ...] = (24, 32, 3)) -> None:
        """Puts in a flat frame."""
        self._fed_count += 1
        self.fed.put((True, np.full(shape, value, np.uint8), stamp_ms))

    def unplug(self) -> None:
        """Lets the next read fail."""
        self.fed.put((False, None, 0.0))

    def isOpened(self) -> bool:  # noqa: N802
        return self._opened

    def read(self) -> tuple[bool, NDArray[np.generic] | None]:
        with self._asking:
            self._reads += 1
            self._asking.notify_all()
        if self.free_running:
            return True, np.zeros((24, 32, 3), np.uint8)
        ok, image, self._stamp_ms = self.fed.get()
        return ok, image

    def get(self, prop: int, /) -> float:
        return self._stamp_ms if prop == cv2.CAP_PROP_POS_MSEC else 0.0

    def set(self, prop: int, value: float, /) -> bool:
        self.set_to[prop] = value
        return True

    def release(self) -> None:
        self.released.set()

    def settle(self) -> None:
        """Waits until all that was fed is read and dealt with: the reader asks for more."""
        with self._asking:
            assert self._asking.wait_for(lambda: self._reads > self._fed_count, WAIT_MS / 1000)


Open = Callable[..., CameraSource]


@pytest.fixture
def capture() -> Iterator[HandFedCapture]:
    capture = HandFedCapture()
    yield capture
    capture.unplug()  # so that no thread is left blocked


@pytest.fixture
def open_camera(capture: HandFedCapture) -> Open:
    def opener(clock: Clock | None = None, **settings: object) -> CameraSource:
        config = CameraConfig(**settings)  # type: ignore[arg-type]
        return CameraSource(config, clock=clock, opener=lambda device: capture)

    return opener


def _value(frame: Frame) -> int:
    value = int(frame.pixels.ravel()[0])
    frame.release()
    return value


def test_the_first_frame_decides_the_shape_and_is_delivered(
    capture: HandFedCapture, open_camera: Open
) -> None:
    capture.feed(10)
    camera = open_camera()
    assert camera.shape == (24, 32, 3)
    frame = camera.read(WAIT_MS)
    assert (frame.frame_id, frame.gap, frame.t_exposure_src, frame.name) == (0, 0, "dequeue", "camera 0")
    assert _value(frame) == 10


def test_a_grey_station_gets_grey_frames_from_a_colour_camera(
    capture: HandFedCapture, open_camera: Open
) -> None:
    capture.feed(10)
    camera = open_camera(channels=1)
    assert camera.read(WAIT_MS).pixels.shape == (24, 32)


def test_size_and_rate_are_set_before_the_first_read(capture: HandFedCapture, open_camera: Open) -> None:
    capture.feed(10)
    open_camera(width=32, height=24, fps=30)
    assert capture.set_to == {
        cv2.CAP_PROP_FRAME_WIDTH: 32,
        cv2.CAP_PROP_FRAME_HEIGHT: 24,
        cv2.CAP_PROP_FPS: 30,
    }


def test_a_camera_without_the_size_asked_for_is_refused(capture: HandFedCapture, open_camera: Open) -> None:
    capture.feed(10)
    with pytest.raises(SourceFormat, match="camera 0: gives 32 x 24 colour; expected 1280 x 24"):
        open_camera(width=1280)
    assert capture.released.wait(5)


def test_only_the_newest_frame_is_delivered_and_the_gap_counts_the_others(
    capture: HandFedCapture, open_camera: Open
) -> None:
    capture.feed(10)
    camera = open_camera()
    assert _value(camera.read(WAIT_MS)) == 10
    for value in (20, 30, 40):
        capture.feed(value)
    capture.settle()
    frame = camera.read(WAIT_MS)
    assert (frame.frame_id, frame.gap) == (3, 2)
    assert _value(frame) == 40


def test_no_frame_is_a_timeout_in_time(capture: HandFedCapture, open_camera: Open) -> None:
    capture.feed(10)
    camera = open_camera()
    camera.read(WAIT_MS).release()
    with pytest.raises(SourceTimeout, match="camera 0: no frame within 10 ms; check cable"):
        camera.read(10)


def test_frames_that_nobody_releases_are_lost_and_counted(capture: HandFedCapture, open_camera: Open) -> None:
    capture.feed(10)
    camera = open_camera(buffers=2)
    held = [camera.read(WAIT_MS)]
    capture.feed(20)
    held.append(camera.read(WAIT_MS))
    capture.feed(30)
    capture.settle()
    with pytest.raises(SourceTimeout, match="frames are released too late"):
        camera.read(1)
    held[0].release()
    capture.feed(40)
    frame = camera.read(WAIT_MS)
    assert (frame.frame_id, frame.gap) == (3, 1)


def test_a_repeated_frame_is_not_delivered(capture: HandFedCapture, open_camera: Open) -> None:
    capture.feed(10, stamp_ms=100)
    camera = open_camera(clock=SteppedClock(200_000))
    assert _value(camera.read(WAIT_MS)) == 10
    for _ in range(2):  # a driver may repeat one at once; it is told when the next one is due
        capture.feed(10, stamp_ms=100)
    with pytest.raises(SourceStale, match="the same frame again"):
        camera.read(WAIT_MS)
    capture.feed(20, stamp_ms=133)
    frame = camera.read(WAIT_MS)
    assert (frame.frame_id, frame.gap) == (1, 0)
    assert _value(frame) == 20


def test_a_camera_that_repeats_one_frame_for_ever_is_lost(capture: HandFedCapture, open_camera: Open) -> None:
    for _ in range(252):  # each repetition moves this clock by a millisecond
        capture.feed(10, stamp_ms=100)
    camera = open_camera(clock=SteppedClock(200_000))
    camera.read(WAIT_MS).release()
    capture.settle()
    with pytest.raises(SourceLost, match="no new frame for 251 ms; check cable and power"):
        camera.check()


def test_a_stamp_on_our_clock_says_when_the_exposure_was(capture: HandFedCapture, open_camera: Open) -> None:
    capture.feed(10, stamp_ms=170)
    clock = SteppedClock(200_000)
    camera = open_camera(clock=clock)
    frame = camera.read(WAIT_MS)
    assert frame.t_exposure_src == "driver"
    # Wall clock of the dequeue, less the 30 ms since the exposure; the test reads the clock later.
    assert 30_000 <= clock.wall_us() - frame.t_exposure_us < 5_000_000


def test_a_stamp_on_another_clock_is_not_trusted(capture: HandFedCapture, open_camera: Open) -> None:
    capture.feed(10, stamp_ms=9_999_999)
    assert open_camera(clock=SteppedClock(200_000)).read(WAIT_MS).t_exposure_src == "dequeue"


def test_a_frame_of_another_size_is_an_error_for_that_one_only(
    capture: HandFedCapture, open_camera: Open
) -> None:
    capture.feed(10)
    camera = open_camera()
    camera.read(WAIT_MS).release()
    capture.feed(20, shape=(12, 16, 3))
    with pytest.raises(SourceFormat, match="16 x 12 colour; expected 32 x 24 colour"):
        camera.read(WAIT_MS)
    capture.feed(30)
    frame = camera.read(WAIT_MS)
    assert (frame.frame_id, frame.gap) == (2, 1)


def test_an_unplugged_camera_is_lost_for_good(capture: HandFedCapture, open_camera: Open) -> None:
    capture.feed(10)
    camera = open_camera()
    camera.read(WAIT_MS).release()
    capture.unplug()
    for _ in range(2):
        with pytest.raises(SourceLost, match="gives no more frames; check cable and power"):
            camera.read(WAIT_MS)
    assert capture.released.wait(5)


def test_a_camera_that_never_gives_a_frame_is_lost_in_time(open_camera: Open) -> None:
    with pytest.raises(SourceLost, match="no first frame within 20 ms"):
        open_camera(open_timeout_ms=20)


def test_a_camera_in_use_is_lost_with_a_reason() -> None:
    with pytest.raises(SourceLost, match="cannot be opened; is it there, and does another program use it"):
        CameraSource(CameraConfig(), opener=lambda device: HandFedCapture(opened=False))


def test_closing_frees_the_device_and_may_be_done_twice(capture: HandFedCapture, open_camera: Open) -> None:
    capture.free_running = True
    camera = open_camera()
    camera.trigger(5)
    camera.close()
    assert capture.released.is_set()
    camera.close()


@pytest.mark.parametrize("device", [63, "/dev/video-of-nobody"])
def test_a_missing_device_is_named_and_nothing_else_is_printed(
    device: int | str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceLost, match=f"camera {device}: "):
        CameraSource(CameraConfig(device=device))
    assert capfd.readouterr().err == ""


def test_a_driver_that_hangs_is_not_entered_twice(capture: HandFedCapture, open_camera: Open) -> None:
    with pytest.raises(SourceLost, match="no first frame within 20 ms"):
        open_camera(device=7, open_timeout_ms=20)
    with pytest.raises(SourceLost, match="camera 7: its driver still hangs; unplug the camera"):
        open_camera(device=7)
    capture.unplug()  # the driver comes back
    assert capture.released.wait(5)
    capture.feed(10)
    assert _value(open_camera(device=7).read(WAIT_MS)) == 10


@pytest.mark.parametrize("lost_after_ms", [250, None])
def test_silence_is_a_loss_that_is_seen_between_triggers(
    capture: HandFedCapture, open_camera: Open, lost_after_ms: int | None
) -> None:
    capture.feed(10)
    clock = SteppedClock(200_000)
    camera = open_camera(clock=clock, lost_after_ms=lost_after_ms)
    # Its frame is still there, unread: no trigger came.
    clock.sleep_us(250_000)
    camera.check()
    clock.sleep_us(1000)
    if lost_after_ms is None:
        camera.check()
    else:
        with pytest.raises(SourceLost, match="camera 0: no new frame for 251 ms"):
            camera.check()


def test_a_slow_camera_is_not_lost_between_its_frames(capture: HandFedCapture, open_camera: Open) -> None:
    clock = SteppedClock(200_000)
    capture.feed(10)
    camera = open_camera(clock=clock)
    camera.read(WAIT_MS).release()
    clock.sleep_us(240_000)
    capture.feed(20)
    camera.read(WAIT_MS).release()
    clock.sleep_us(950_000)
    camera.check()
    clock.sleep_us(20_000)
    with pytest.raises(SourceLost):
        camera.check()


def test_a_camera_that_waits_for_its_line_is_open_without_a_frame(
    capture: HandFedCapture, open_camera: Open
) -> None:
    camera = open_camera(width=32, height=24, lost_after_ms=None)
    assert camera.shape == (24, 32, 3)
    with pytest.raises(SourceTimeout):
        camera.read(10)
    capture.feed(10)
    assert _value(camera.read(WAIT_MS)) == 10


@pytest.mark.parametrize(("name", "value"), [("lost_after_ms", 0), ("frozen_after", 1), ("frozen_after", 0)])
def test_limits_that_are_none_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; expected >= "):
        CameraConfig(**{name: value})  # type: ignore[arg-type]
