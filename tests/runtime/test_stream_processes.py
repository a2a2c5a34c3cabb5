"""10,000 verdicts to `gonogo watch` in processes that are stopped, come late, and outlive the station."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import pytest

from runtime.bus.client import Client

PARTS = 5000
"""Per boot, and there are two."""
SEND_HWM = 50
"""So few messages wait for a subscriber: one that is stopped loses thousands."""
WAIT_MS = 120_000

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes, and leaves none behind."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(*command: object, out: Path | None = None) -> subprocess.Popen[bytes]:
        words = [sys.executable, *map(str, command)]
        with (
            (out or Path("/dev/null")).open("wb") as stdout,
            (out.with_suffix(".err") if out else Path("/dev/null")).open("wb") as stderr,
        ):
            running.append(subprocess.Popen(words, stdout=stdout, stderr=stderr))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()


class Line:
    """The station's process, and the watchers beside it."""

    def __init__(self, start: Start, folder: Path) -> None:
        self._start, self._folder = start, folder
        self.bus, self.control = f"ipc://{folder}/bus", f"ipc://{folder}/control"

    def station(self) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("station_process.py")
        return self._start(script, self.bus, self.control, SEND_HWM, PARTS)

    def watch(self, name: str, *more: str) -> subprocess.Popen[bytes]:
        command = ["-m", "gonogo", "watch", "--json", "--bus", self.bus, "--control", self.control, *more]
        return self._start(*command, out=self._folder / name)

    def heard(self, name: str) -> list[tuple[str, int]]:
        """Boot and number of each verdict that a watcher has printed whole, in its order."""
        lines = (self._folder / name).read_bytes().split(b"\n")[:-1]
        return [(body["boot_id"], body["seq"]) for body in map(json.loads, lines)]

    def complaints(self, name: str) -> str:
        return (self._folder / name).with_suffix(".err").read_text()


def head_seq(client: Client, least: int) -> int:
    """The station's last number, once it is so high."""
    while (head := int(client.status()["head_seq"])) < least:
        assert client.receive(WAIT_MS) is not None
    return head


def end_of(process: subprocess.Popen[bytes], client: Client) -> None:
    client.shutdown()
    assert process.wait(WAIT_MS / 1000) == 0


def test_ten_thousand_verdicts_reach_everybody_once(start: Start, tmp_path: Path) -> None:
    line = Line(start, tmp_path)
    patient, stopped = line.watch("patient", "--all"), line.watch("stopped", "--all")
    with Client(line.bus, line.control) as client:
        first = line.station()
        head_seq(client, 200)
        stopped.send_signal(signal.SIGSTOP)
        late = line.watch("late", "--all")
        head_seq(client, 2500)
        stopped.send_signal(signal.SIGCONT)
        late.send_signal(signal.SIGSTOP)
        head_seq(client, PARTS)
        late.send_signal(signal.SIGCONT)
        names = ("patient", "stopped", "late")
        _await_all(client, line, names, PARTS)
        end_of(first, client)
        second = line.station()
        head_seq(client, 500)
        patient.send_signal(signal.SIGSTOP)
        head_seq(client, PARTS)
        patient.send_signal(signal.SIGCONT)
        line.watch("very late", "--all")
        _await_all(client, line, names, 2 * PARTS)
        _await_all(client, line, ("very late",), PARTS)
        end_of(second, client)
    for name in (*names, "very late"):
        boots = [
            (boot, [seq for _, seq in told]) for boot, told in groupby(line.heard(name), key=lambda v: v[0])
        ]
        assert len(boots) == len({boot for boot, _ in boots}) == (1 if name == "very late" else 2)
        assert all(seqs == list(range(1, PARTS + 1)) for _, seqs in boots), name
        assert "lost" not in line.complaints(name)
    assert (tmp_path / "stopped").read_bytes().count(b'"replayed":true') > 1000  # they were lost at first


def _await_all(client: Client, line: Line, names: tuple[str, ...], count: int) -> None:
    """Until every watcher has printed so many verdicts; the station's heartbeats keep the time."""
    for _ in range(WAIT_MS // 100):
        if all((line._folder / name).read_bytes().count(b"\n") >= count for name in names):
            return
        assert client.receive(WAIT_MS) is not None
        while client.receive(0) is not None:
            pass
    raise AssertionError({name: len(line.heard(name)) for name in names})
