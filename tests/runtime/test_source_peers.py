"""Camera sources against real peers on this machine: frozen, killed, started again, losing packets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from benchmarks.peers.process import Peer, alone, free_port, missing
from runtime.errors import ConfigError, SourceError, SourceIncomplete, SourceLost, SourceTimeout
from runtime.frame import Frame
from runtime.source import Source
from runtime.sources import AravisConfig, GenicamConfig, RtspConfig, SourceConfig, open_source
from runtime.sources.genicam import Feature

WAIT_MS = 5000
"""Longer than a frame takes on a busy machine."""
BITS = 16
Start = Callable[..., tuple[Peer, SourceConfig]]


@pytest.fixture
def gige() -> Iterator[Start]:
    """Starts Aravis' simulated GigE camera, losing a share of its packets."""
    why = missing("Aravis 0.8")
    if why:
        pytest.skip(f"no simulated GigE camera (gir1.2-aravis-0.8): {why}")
    with alone():
        yield from _started(lambda lost="0.0": Peer("gige_camera.py", lost), _gige_config)


@pytest.fixture
def rtsp() -> Iterator[Start]:
    """Starts an RTSP server."""
    why = missing("GstRtspServer 1.0", "Gst 1.0")
    if why:
        pytest.skip(f"no RTSP server (gir1.2-gst-rtsp-server-1.0): {why}")
    port = str(free_port())
    yield from _started(
        lambda: Peer("rtsp_server.py", port),
        lambda: RtspConfig(url=f"rtsp://user:secret@127.0.0.1:{port}/web", channels=1),
    )


def _gige_config() -> SourceConfig:
    # By address: its name would be looked for on every network of this machine.
    return AravisConfig(device="127.0.0.1", channels=1)


def _started(make: Callable[..., Peer], config: Callable[[], SourceConfig]) -> Iterator[Start]:
    peers: list[Peer] = []

    def start(*arguments: str) -> tuple[Peer, SourceConfig]:
        peers.append(make(*arguments))
        peers[-1].start()
        return peers[-1], config()

    yield start
    for peer in peers:
        peer.kill()


@pytest.fixture(params=["gige", "rtsp"])
def start(request: pytest.FixtureRequest) -> Start:
    """Both peers that are processes, one after the other."""
    started: Start = request.getfixturevalue(request.param)
    return started


@pytest.fixture
def opened() -> Iterator[Callable[[SourceConfig], Source]]:
    """Opens sources and closes them."""
    sources: list[Source] = []

    def open_one(config: SourceConfig) -> Source:
        sources.append(open_source(config, Path("/")))
        return sources[-1]

    yield open_one
    for source in sources:
        source.close()


def take(source: Source) -> Frame:
    frame = source.read(WAIT_MS)
    frame.release()
    return frame


def read_until(kind: type[SourceError], source: Source, reads: int = 500) -> int:
    """Reads until this error comes, and returns how many frames came before it."""
    frames = 0
    for _ in range(reads):
        try:
            source.read(20).release()
            frames += 1
        except kind:
            return frames
        except SourceTimeout:
            pass
    raise AssertionError(f"no {kind.__name__} in {reads} reads")


def whole_frame(source: Source) -> Frame:
    """The next frame that is not incomplete."""
    for _ in range(20):
        with contextlib.suppress(SourceIncomplete):
            return take(source)
    raise AssertionError("20 incomplete frames one after the other")


def opened_again(opened: Callable[..., Source], config: SourceConfig, tries: int = 20) -> Source:
    """As a station does it: a driver that still waits for the camera that died is asked again."""
    for _ in range(tries):
        with contextlib.suppress(SourceLost):
            return opened(config)
    raise AssertionError(f"not open after {tries} tries")


def number_of(frame: Frame) -> int:
    """The number that the RTSP server drew into the frame."""
    width = frame.pixels.shape[1] // BITS
    return sum(1 << bit for bit in range(BITS) if frame.pixels[120, width * bit + width // 2] > 128)


def test_frames_are_new_and_numbered(start: Start, opened: Callable[..., Source]) -> None:
    source = opened(start()[1])
    frames = [take(source) for _ in range(6)]
    numbers = [frame.frame_id for frame in frames]
    assert all(b - a == 1 + frame.gap for a, b, frame in zip(numbers, numbers[1:], frames[1:], strict=False))
    assert {frame.t_exposure_src for frame in frames[1:]} == {"device"}
    assert frames[0].pixels.ndim == 2


def test_a_frozen_camera_is_lost_and_opens_again_when_it_goes_on(
    start: Start, opened: Callable[..., Source]
) -> None:
    peer, config = start()
    source = opened(config)
    take(source)
    peer.freeze()
    read_until(SourceLost, source)
    with pytest.raises(SourceLost):
        source.check()
    source.close()
    peer.thaw()
    take(opened(config))


def test_a_killed_camera_is_lost_and_comes_back_when_it_is_started_again(
    start: Start, opened: Callable[..., Source]
) -> None:
    peer, config = start()
    source = opened(config)
    take(source)
    peer.kill()
    read_until(SourceLost, source)
    source.close()
    with pytest.raises(SourceLost):
        opened(config)
    peer.start()
    take(opened_again(opened, config))


# RTSP.


def test_no_backlog_builds_up_while_nobody_reads(rtsp: Start, opened: Callable[..., Source]) -> None:
    _, config = rtsp()
    idle, busy = opened(config), opened(config)
    first = seen = number_of(take(idle))
    while seen < first + 50:
        seen = number_of(take(busy))
    # 50 frames later; the one that waited is the newest, give or take one on its way.
    assert abs(seen - number_of(take(idle))) <= 2


def test_what_piled_up_while_a_stream_was_opened_is_not_delivered(
    rtsp: Start, opened: Callable[..., Source]
) -> None:
    _, config = rtsp()
    seen = opened(config)
    late = opened(config)  # for most of a second
    number = number_of(take(late))
    assert abs(number - number_of(take(seen))) <= 2


def test_a_password_is_in_no_message() -> None:
    config = RtspConfig(url=f"rtsp://user:secret@127.0.0.1:{free_port()}/web", open_timeout_ms=2000)
    with pytest.raises(SourceLost, match=r"rtsp://127\.0\.0\.1:") as caught:
        open_source(config, Path())
    assert "secret" not in str(caught.value)


# GigE Vision.


def test_a_frame_with_lost_packets_is_incomplete_and_the_others_are_whole(
    gige: Start, opened: Callable[..., Source]
) -> None:
    _, config = gige("0.001")  # of 190 packets a frame: one frame in six is hit
    source = opened(config)
    for _ in range(3):
        read_until(SourceIncomplete, source)
    whole = whole_frame(source)
    assert whole.gap >= 1
    # Each row of the camera's pattern is the one above it, a grey level brighter.
    rows = whole.pixels.astype(int)
    assert set(np.unique((rows[1:] - rows[:-1]) % 255)) == {1}


def test_a_camera_that_waits_exposes_when_it_is_triggered(gige: Start, opened: Callable[..., Source]) -> None:
    _, config = gige()
    assert isinstance(config, AravisConfig)
    waiting = AravisConfig(
        device=config.device,
        channels=1,
        lost_after_ms=None,
        features={"TriggerMode": True, "TriggerSource": "Software"},
    )
    source = opened(waiting)
    take(source)
    with pytest.raises(SourceTimeout):
        source.read(100)
    source.check()
    for _ in range(3):
        source.trigger(None)
        take(source)


def test_a_feature_that_is_none_is_named(gige: Start) -> None:
    _, config = gige()
    assert isinstance(config, AravisConfig)
    wrong = AravisConfig(device=config.device, features={"Gian": 1})
    with pytest.raises(ConfigError, match="feature Gian=1: "):
        open_source(wrong, Path())


# GenTL.


@pytest.fixture
def producer() -> str:
    """The demo producer that comes with the genicam wheel."""
    spec = find_spec("genicam") if find_spec("harvesters") else None
    found = [] if spec is None or spec.origin is None else sorted(Path(spec.origin).parent.glob("*.cti"))
    if not found:
        pytest.skip("no GenTL demo producer: pip install 'gonogo[genicam]'")
    return str(found[0])


@pytest.mark.parametrize(("pixel_format", "channels"), [("RGBa8", 3), ("Mono8", 1)])
def test_a_gentl_producer_s_frames_are_read_in_each_format(
    producer: str, opened: Callable[..., Source], pixel_format: str, channels: Literal[1, 3]
) -> None:
    features: dict[str, Feature] = {"PixelFormat": pixel_format}
    source = opened(GenicamConfig(producer=producer, serial="1", channels=channels, features=features))
    assert source.shape == ((400, 400) if channels == 1 else (400, 400, 3))
    numbers = [take(source).frame_id for _ in range(4)]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"serial": "nobody"}, "not found; the producer sees 0, 1, 2"),
        ({"features": {"Gian": 1}}, "feature Gian: 1: "),
        ({"features": {"PixelFormat": "Foo"}}, "feature PixelFormat: Foo: "),
    ],
)
def test_what_a_producer_does_not_have_is_named(
    producer: str, settings: dict[str, object], told: str
) -> None:
    config = GenicamConfig(producer=producer, **settings)  # type: ignore[arg-type]
    with pytest.raises((ConfigError, SourceLost), match=told):
        open_source(config, Path())


def test_a_producer_that_is_not_there_is_named(producer: str) -> None:
    with pytest.raises(ConfigError, match=r"/nowhere/x\.cti: no such file"):
        open_source(GenicamConfig(producer="nowhere/x.cti"), Path("/"))
