"""Stations with a fault that can be put in and taken out while they run: what `bench_faults` plays."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.peers.process import Peer, alone, free_port, missing
from runtime.errors import SourceError, SourceLost
from runtime.frame import Frame
from runtime.images.sample import take_sample
from runtime.measure.good_quality import learn_limits
from runtime.quality import QualityLimits
from runtime.source import Source
from runtime.sources import AravisConfig, RtspConfig, SyntheticConfig, SyntheticSource, open_source
from runtime.sources.faulty import ERRORS, SPOILERS
from runtime.store.config import StoreConfig
from runtime.store.database import list_databases
from runtime.store.recorder import Recorder

WEB = SyntheticConfig(width=640, height=512, rate_hz=None, buffers=16, defect_rate=0.0)
GOOD = 20


PLAIN = QualityLimits()


@dataclass
class Rig:
    """What a station is opened with, and the switch of its fault."""

    open_source: Callable[[], Source]
    inject: Callable[[], object]
    remove: Callable[[], object]
    """May be called twice."""
    quality: QualityLimits = PLAIN
    recorder: Recorder | None = None


class Switch:
    """A synthetic camera whose fault is switched on and off, whatever thread reads it."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.on = threading.Event()
        self.off = threading.Event()

    def open(self) -> Source:
        """The camera, if it is there."""
        if self.on.is_set() and self.fault == "lost":
            raise SourceLost("switched off")
        return Switched(self)

    def inject(self) -> None:
        """From the next frame on."""
        self.on.set()

    def remove(self) -> None:
        """Back to normal; ends a hang."""
        self.on.clear()
        self.off.set()


class Switched(SyntheticSource):
    """The camera behind a `Switch`."""

    def __init__(self, switch: Switch) -> None:
        super().__init__(WEB)
        self._switch = switch
        self._last = np.zeros(self.shape, np.uint8)

    def read(self, timeout_ms: int) -> Frame:
        """As in `Source`, where the switch is off."""
        on, fault = self._switch.on.is_set(), self._switch.fault
        if on and fault == "hang":
            self._switch.off.wait(60)
        frame = super().read(timeout_ms)
        if on and fault in ERRORS:
            frame.release()
            raise self._error(fault)
        if on and fault in SPOILERS:
            frame.pixels[:] = SPOILERS[fault](frame.pixels, self._last)
        np.copyto(self._last, frame.pixels)
        return frame

    def _error(self, fault: str) -> SourceError:
        return ERRORS[fault](f"switched to {fault}")


@contextmanager
def synthetic(fault: str, folder: Path) -> Iterator[Rig]:
    """A synthetic web; its limits are learnt from good sections."""
    switch, source = Switch(fault), SyntheticSource(WEB)
    pixels = [np.zeros(source.shape, np.uint8) for _ in range(GOOD)]
    for n, image in enumerate(pixels, 1000):
        source.render(n, n, image)
    limits = learn_limits([take_sample(image) for image in pixels])
    yield Rig(switch.open, switch.inject, switch.remove, limits)


@contextmanager
def gige(fault: str, folder: Path) -> Iterator[Rig]:
    """Aravis' simulated GigE Vision camera."""
    config = AravisConfig(device="127.0.0.1", channels=1, buffers=16, open_timeout_ms=2000)
    with alone(), _running(Peer("gige_camera.py")) as peer:
        yield _rig(peer, fault, lambda: open_source(config, Path()))


@contextmanager
def rtsp(fault: str, folder: Path) -> Iterator[Rig]:
    """A GStreamer RTSP server."""
    port = free_port()
    config = RtspConfig(url=f"rtsp://127.0.0.1:{port}/web", channels=1, buffers=16, open_timeout_ms=2000)
    with _running(Peer("rtsp_server.py", str(port))) as peer:
        yield _rig(peer, fault, lambda: open_source(config, Path()))


@contextmanager
def store(fault: str, folder: Path) -> Iterator[Rig]:
    """A station with records, on a disk of its own of 3 MB that fills, or one that is slow."""
    switch, disk = Switch("none"), folder / "disk"
    disk.mkdir()
    own = fault == "full"
    if own:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], check=True)
    try:
        recorder = Recorder(StoreConfig(folder=str(disk), image_quota_mb=0), folder)
        inject, remove = (_fill, _unfill) if own else (_lock, _unlock)
        held: list[sqlite3.Connection] = []
        yield Rig(switch.open, partial(inject, disk, held), partial(remove, disk, held), recorder=recorder)
    finally:
        if own:
            subprocess.run(["umount", str(disk)], check=True)


def runs_here(rig: Callable[..., object], fault: str) -> str | None:
    """Why a rig cannot be played on this machine; None: it can."""
    if rig is gige:
        return missing("Aravis 0.8")
    if rig is rtsp:
        return missing("GstRtspServer 1.0", "Gst 1.0")
    return "only root may mount a disk" if rig is store and fault == "full" and os.geteuid() else None


@contextmanager
def _running(peer: Peer) -> Iterator[Peer]:
    peer.start()
    try:
        yield peer
    finally:
        peer.kill()


def _rig(peer: Peer, fault: str, opener: Callable[[], Source]) -> Rig:
    switches: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "freeze": (peer.freeze, peer.thaw),
        "kill": (peer.kill, peer.start),
        "packets": (lambda: peer.signal(signal.SIGUSR1), lambda: peer.signal(signal.SIGUSR2)),
    }
    return Rig(opener, *switches[fault])


def _fill(disk: Path, held: list[sqlite3.Connection]) -> None:
    with (disk / "ballast").open("wb", buffering=0) as file:
        for size in (65536, 4096, 512):
            while _wrote(file.fileno(), size):
                pass


def _wrote(handle: int, size: int) -> bool:
    try:
        return os.write(handle, bytes(size)) == size
    except OSError:
        return False


def _unfill(disk: Path, held: list[sqlite3.Connection]) -> None:
    (disk / "ballast").unlink(missing_ok=True)


def _lock(disk: Path, held: list[sqlite3.Connection]) -> None:
    connection = sqlite3.connect(list_databases(disk)[0], isolation_level=None, timeout=10)
    connection.execute("BEGIN IMMEDIATE")
    held.append(connection)


def _unlock(disk: Path, held: list[sqlite3.Connection]) -> None:
    while held:
        held.pop().close()
