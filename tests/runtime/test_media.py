"""The media socket: maps and thumbnails reach who looks, and who stops reading costs next to nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import zmq

from runtime.bus.media import MapHeader, ThumbHeader
from runtime.bus.witness import Witness
from runtime.errors import BusError
from runtime.pipeline import Pipeline
from runtime.scripted import ScriptedDetector
from runtime.sinks.media import MediaSink
from runtime.sources import SyntheticConfig, SyntheticSource

WAIT_MS = 30_000
ANY = "tcp://127.0.0.1:*"
WEB = SyntheticConfig(width=640, height=480, rate_hz=None, buffers=16)
MAX_COST = 2_000_000


def pictures(launch: Callable[..., tuple[Pipeline, Witness]], score: float, count: int) -> list[list[bytes]]:
    """What a viewer gets of a part with that score."""
    sink = MediaSink(ANY)
    pipeline, witness = launch(lambda: SyntheticSource(WEB), lambda: ScriptedDetector([score]), sinks=[sink])
    assert pipeline.wait_ready(30)
    with zmq.Context() as context, context.socket(zmq.SUB) as viewer:
        viewer.setsockopt(zmq.SUBSCRIBE, b"v1/")
        viewer.connect(sink.endpoint)
        for number in range(1, 1000):  # the first ones come before anybody looks
            assert witness.trigger(number)["ok"]
            assert len(witness.hear_verdicts(number)) == number
            if viewer.poll(100):
                break
        found = []
        for _ in range(count):
            assert viewer.poll(WAIT_MS)
            found.append(viewer.recv_multipart())
        return found


def test_a_rejected_part_is_shown_with_its_map_and_a_thumbnail(
    launch: Callable[..., tuple[Pipeline, Witness]],
) -> None:
    (topic, head, data), (thumb_topic, thumb_head, jpeg) = pictures(launch, 2.0, 2)
    assert (topic, thumb_topic) == (b"v1/map/line/station/", b"v1/thumb/line/station/")
    of_map, of_thumb = (
        msgspec.json.decode(head, type=MapHeader),
        msgspec.json.decode(thumb_head, type=ThumbHeader),
    )
    assert (of_map.verdict, of_map.seq, of_map.result_id) == ("NG", of_thumb.seq, of_thumb.result_id)
    grid = np.frombuffer(data, "<f4").reshape(of_map.h, of_map.w)
    assert grid.shape == (4, 4)
    assert (grid == 2.0).all()
    assert (of_map.w * of_map.dx, of_map.h * of_map.dy, of_map.threshold) == (640, 480, 1.0)
    small = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED)
    assert small is not None
    assert small.shape[:2] == (of_thumb.h, of_thumb.w) == (240, 320)
    assert of_thumb.scale == 0.5


def test_of_a_good_part_there_is_a_thumbnail_alone(launch: Callable[..., tuple[Pipeline, Witness]]) -> None:
    ((topic, head, _),) = pictures(launch, 0.5, 1)
    assert topic == b"v1/thumb/line/station/"
    assert msgspec.json.decode(head, type=ThumbHeader).verdict == "OK"


def test_a_media_port_in_use_is_one_line() -> None:
    first = MediaSink(ANY)
    with pytest.raises(BusError, match=r"^media: tcp://127\.0\.0\.1:\d+ is in use; stop the other station"):
        MediaSink(first.endpoint)
    first.close()


VIEWER = """
import sys, zmq
with zmq.Context() as context, context.socket(zmq.SUB) as viewer:
    viewer.setsockopt(zmq.SUBSCRIBE, b"v1/")
    viewer.connect(sys.argv[1])
    viewer.recv_multipart()
    print("seen", flush=True)
    viewer.poll()
    sys.stdin.read()
"""


def test_a_viewer_that_is_stopped_costs_less_than_two_megabytes(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/media"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    script = Path(__file__).with_name("media_process.py")
    with (
        subprocess.Popen([sys.executable, str(script), endpoint], **pipes) as station,
        subprocess.Popen([sys.executable, "-c", VIEWER, endpoint], **pipes) as viewer,
    ):
        try:
            assert viewer.stdout is not None

            def show(count: int) -> int:
                assert station.stdin is not None
                assert station.stdout is not None
                station.stdin.write(f"{count}\n")
                station.stdin.flush()
                return int(station.stdout.readline())

            show(10)
            assert viewer.stdout.readline() == "seen\n"
            viewer.send_signal(signal.SIGSTOP)
            before = show(10)
            after = show(2000)  # half a gigabyte of maps
            assert after - before < MAX_COST
        finally:
            viewer.kill()
            station.kill()
