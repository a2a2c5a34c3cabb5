"""Parts of bench_station that take processes of their own: the demo on a terminal, a subscriber, memory."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.subscriber import Subscriber
from runtime.bundle import Bundle
from runtime.frame import U8
from runtime.measure.cadence import (
    WARM_FRAMES,
    Cadence,
    CadenceFigures,
    Times,
    play,
    summarise,
    timed_pipeline,
)
from runtime.measure.latency import Quantiles, quantiles

GONOGO = (sys.executable, "-m", "gonogo")
SHOWN = re.compile(rb"[1-9]\d* verdicts")
"""What the demo's table shows once a verdict is there."""
SAMPLE_S = 10.0
SETTLING_S = 180.0
"""Memory of the first minutes is no part of the slope: the station remembers its last 4096 triggers."""


class Overhead(msgspec.Struct, frozen=True, kw_only=True):
    """The real pipeline with its sockets, seen by a subscriber in another process; ms."""

    end_to_end: Quantiles
    """From the moment a frame was due to the arrival of its verdict."""
    runtime: Quantiles
    """The same less preprocess, network and head; pictures are not looked at for their quality."""
    station: CadenceFigures
    """The same run as the station saw it."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Resident memory of the station's process while the demo ran."""

    minutes: float
    max_mb: float
    slope_kb_per_minute: float
    """Least squares, without the first `SETTLING_S`."""
    slope_interval_kb_per_minute: float
    """+-, 95 %."""
    samples_mb: list[tuple[float, float]]
    """(seconds since the start, MB)."""
    demo: dict[str, object]
    """What the virtual PLC counted meanwhile."""


def first_verdict_s() -> float:
    """From the start of `gonogo demo` on a terminal to its first picture with a verdict.

    Pictures come five times a second: the verdict was there up to 0.2 s before.
    """
    ours, theirs = pty.openpty()
    begun_s = time.perf_counter()
    demo = subprocess.Popen(
        [*GONOGO, "demo", "--seconds", "1"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "50"},
    )
    os.close(theirs)
    seen, found_s = b"", None
    try:
        while found_s is None:
            seen += os.read(ours, 65536)  # raises OSError when the demo ended without one
            if SHOWN.search(seen):
                found_s = time.perf_counter() - begun_s
        _drain(ours)
    finally:
        demo.wait()
        os.close(ours)
    return round(found_s, 3)


def _drain(terminal: int) -> None:
    """Reads on to the end, or the demo would wait for room."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:  # how Linux says that the other side has closed
        return


def runtime_overhead(bundle: Bundle, images: Sequence[U8], plan: Cadence) -> Overhead:
    """One run of the pipeline over the timetable, heard by a subscriber in another process."""
    times = Times(len(plan.due_us()))
    with Subscriber() as subscriber:
        listening = threading.Event()
        # The look at the picture is no share of the runtime: benchmarks/bench_quality.py measures it.
        pipeline = timed_pipeline(
            bundle, None, "onnxruntime", 1, images, plan, [times], listening, look=False
        )
        pipeline.start()
        subscriber.begin(pipeline.endpoints[0])
        listening.set()
        play(pipeline, plan)
        arrivals = [a for a in subscriber.arrivals() if 0 <= a.frame - WARM_FRAMES < plan.frames]
    return Overhead(
        end_to_end=quantiles([a.end_to_end_us for a in arrivals]),
        runtime=quantiles([a.end_to_end_us - a.stages_us for a in arrivals]),
        station=summarise(plan, times),
    )


def memory_over(seconds: float) -> Memory:
    """Runs the demo, its virtual PLC in another process, and samples the station's memory."""
    words = ["demo", "--headless", "--seconds", f"{seconds:g}"]
    begun_s = time.monotonic()
    demo = subprocess.Popen([*GONOGO, *words], stdout=subprocess.PIPE, text=True)
    samples = []
    while True:
        try:
            said = demo.communicate(timeout=SAMPLE_S)[0]
            break
        except subprocess.TimeoutExpired:
            samples.append((round(time.monotonic() - begun_s, 1), _resident_mb(demo.pid)))
    rate, around = slope_of([(s / 60, 1000 * mb) for s, mb in samples if s >= min(SETTLING_S, seconds / 2)])
    return Memory(
        minutes=seconds / 60,
        max_mb=max(mb for _, mb in samples),
        slope_kb_per_minute=rate,
        slope_interval_kb_per_minute=around,
        samples_mb=samples,
        demo=json.loads(said),
    )


def _resident_mb(process: int) -> float:
    """10^6 bytes."""
    text = Path(f"/proc/{process}/status").read_text("ascii")
    found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return round(int(found[1]) * 1024 / 1e6, 3)


def slope_of(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Slope and the half width of its 95 % interval (normal), by least squares; needs 3 points."""
    x, y = np.array(points).T
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    return round(float(slope), 2), round(float(1.96 * np.sqrt(covariance[0, 0])), 2)
