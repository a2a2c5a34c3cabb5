"""Another process that listens to a station and notes when each verdict arrives."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple

import msgspec
import zmq

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
    """Body of the process; a bare socket, so that the moment of arrival comes before any decoding."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.SUBSCRIBE, b"v1/")
        socket.connect(end.recv())
        socket.poll(SILENCE_MS)  # the greeting of a subscription that is in force
        end.send(None)
        arrivals = []
        while socket.poll(SILENCE_MS):
            frames, arrived_us = socket.recv_multipart(), now_us()
            body = msgspec.json.decode(frames[-1]) if len(frames) == 2 else {}
            if body.get("schema") == "state/1" and State(body["to"]) in (State.HALTED, State.ERROR):
                break
            if body.get("schema") == "verdict/1" and body["lat_us"]["post"]:
                arrivals.append(_arrival(body, arrived_us))
    end.send(arrivals)


def _arrival(verdict: dict[str, Any], arrived_us: int) -> Arrival:
    spans = verdict["lat_us"]
    work_us = spans["pre"] + spans["infer"] + spans["post"]
    return Arrival(verdict["image"]["frame_id"], arrived_us - verdict["t_mono_us"], work_us)
