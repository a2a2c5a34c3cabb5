"""What the look at a picture's health costs in the capture thread, by size of the frame.

python -m benchmarks.bench_quality
"""

from __future__ import annotations

import argparse
import sys
import time

import cv2
import numpy as np

from runtime.frame import Frame
from runtime.images.sample import take_sample
from runtime.measure.good_quality import learn_limits
from runtime.measure.latency import quantiles
from runtime.measure.machine import this_machine
from runtime.quality import QualityGate
from runtime.sources.synthetic import SyntheticConfig, SyntheticSource

SIZES = ((640, 480, 1), (1280, 1024, 1), (1280, 1024, 3), (4096, 3000, 1))
GOOD, RUNS = 12, 2000


def main() -> int:
    """Prints a row per size, ms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    runs = parser.parse_args().runs
    cv2.setNumThreads(1)
    machine = this_machine()
    print(f"{machine.processor}, {machine.cpus} CPUs, commit {machine.commit}, load {machine.load_before}")
    print(f"{'frame':<20} {'p50':>8} {'p99':>8} {'max':>8}  ms, {runs} runs, one thread, all limits on")
    for width, height, channels in SIZES:
        found = quantiles(_times_us(width, height, channels, runs))
        cells = " ".join("       -" if v is None else f"{v:8.3f}" for v in (found.p50, found.p99, found.max))
        size = f"{width} x {height} x {channels}"
        print(f"{size:<20} {cells}", flush=True)
    return 0


def _times_us(width: int, height: int, channels: int, runs: int) -> list[float]:
    config = SyntheticConfig(width=width, height=height, channels=channels, defect_rate=0.0)  # type: ignore[arg-type]
    source = SyntheticSource(config)
    images = [np.zeros(source.shape, np.uint8) for _ in range(GOOD)]
    for n, image in enumerate(images):
        source.render(n, n, image)
    gate = QualityGate(learn_limits([take_sample(image) for image in images]))
    times = []
    for n in range(runs):
        frame = Frame(images[n % GOOD], n, 0, 0)
        start = time.perf_counter_ns()
        gate.look(frame, 2)
        times.append((time.perf_counter_ns() - start) / 1000)
        assert frame.flags == ()
    return times


if __name__ == "__main__":
    sys.exit(main())
