"""Another process that listens to a station and notes when each verdict arrives."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from types import TracebackType
from typing import NamedTuple

from runtime.bus.client import Client
from runtime.state import State
from runtime.ticket import now_us

SILENCE_MS = 10_000


class Arrival(NamedTuple):
    """One judged frame as the subscriber saw it; us."""

    frame: int
    end_to_end_us: int
    """From the moment the frame was due to the arrival of its verdict."""
    stages_us: int
    """Preprocess, network and head in it."""


class Subscriber:
    """Handle on the process; a context manager that leaves none behind."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._end, theirs = context.Pipe()
        self._process = context.Process(target=_listen, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.join()

    def begin(self, bus: str) -> None:
        """Tells it where the station is, and waits until it listens."""
        self._end.send(bus)
        self._end.recv()

    def arrivals(self) -> list[Arrival]:
        """What arrived, once the station has ended."""
        found: list[Arrival] = self._end.recv()
        return found


def _listen(end: Connection) -> None:
    arrivals = []
    with Client(end.recv()) as client:
        client.wait_subscribed(SILENCE_MS)
        end.send(None)
        while (message := client.receive(SILENCE_MS)) is not None:
            arrived_us, body = now_us(), message.body
            if message.kind == "state" and State(body["to"]) in (State.HALTED, State.ERROR):
                break
            if message.kind == "verdict" and body["lat_us"]["post"]:
                spans = body["lat_us"]
                work = spans["pre"] + spans["infer"] + spans["post"]
                arrivals.append(Arrival(body["image"]["frame_id"], arrived_us - body["t_mono_us"], work))
    end.send(arrivals)
