"""What records cost: a verdict's way from trigger to subscriber, without and with them.

    python -m benchmarks.bench_store

Real threads and sockets; the detector is scripted, so that the store is what differs. Parts come one after
the other; the ways of keeping records take turns, so that a busy moment hits all of them.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bench_faults import DEADLINE_MS, settings_of
from benchmarks.fault_rigs import PLAIN, WEB
from runtime.bus.client import Client
from runtime.measure.latency import Quantiles, quantiles
from runtime.measure.machine import this_machine
from runtime.pipeline import Pipeline
from runtime.scripted import ScriptedDetector
from runtime.sources import SyntheticSource
from runtime.store.config import StoreConfig
from runtime.store.recorder import Recorder

WAYS = ("none", "normal", "full", "full, every image")
ROUNDS, PARTS = 30, 100
"""Turns of each way, and parts in a turn."""


def main() -> int:
    """Prints a row per way, ms."""
    machine = this_machine()
    print(f"{machine.processor}, {machine.cpus} CPUs, commit {machine.commit}, load {machine.load_before}")
    print(
        f"{'records':<20} {'p50':>8} {'p95':>8} {'p99':>8} {'p99.9':>8} {'max':>8} ms, {ROUNDS * PARTS} parts"
    )
    with ExitStack() as stack:
        stations = {way: Station(way, stack) for way in WAYS}
        for _ in range(ROUNDS):
            for station in stations.values():
                station.play()
        for way, station in stations.items():
            print(f"{way:<20} {_cells(quantiles(station.times_us))}  stored: {station.stored}")
    return 0


class Station:
    """One station with its way of keeping records, and the client that triggers it."""

    def __init__(self, way: str, stack: ExitStack) -> None:
        """Starts it; `stack` ends it."""
        self.times_us: list[float] = []
        self.stored: dict[str, int] = {}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=".")))
        self._pipeline = Pipeline(
            settings_of(PLAIN),
            lambda: SyntheticSource(WEB),
            lambda: ScriptedDetector([0.5]),
            recorder=_recorder(way, folder),
        )
        self._pipeline.start()
        stack.callback(self._pipeline.finish, 20)
        assert self._pipeline.wait_ready(30)
        self._client = stack.enter_context(Client(*self._pipeline.endpoints))
        assert self._client.wait_subscribed(5000)

    def play(self) -> None:
        """Some parts, each after the verdict of the one before."""
        while self._client.receive(0) is not None:
            pass
        for _ in range(PARTS):
            start_us = time.perf_counter_ns() / 1000
            reply = self._client.trigger(len(self.times_us))
            assert reply["ok"], reply
            verdict = self._client.verdict(4 * DEADLINE_MS)
            assert verdict is not None
            self.times_us.append(time.perf_counter_ns() / 1000 - start_us)
            self.stored[verdict["stored"]] = self.stored.get(verdict["stored"], 0) + 1


def _recorder(way: str, folder: Path) -> Recorder | None:
    if way == "none":
        return None
    images = 2000 if way.endswith("image") else 0
    durability = "normal" if way == "normal" else "full"
    return Recorder(
        StoreConfig(folder=str(folder.absolute()), durability=durability, image_quota_mb=images, ok_every=1),  # type: ignore[arg-type]
        folder,
    )


def _cells(found: Quantiles) -> str:
    values = (found.p50, found.p95, found.p99, found.p99_9, found.max)
    return " ".join("       -" if value is None else f"{value:8.2f}" for value in values)


if __name__ == "__main__":
    sys.exit(main())
