"""Which recipe is at work, which one comes next, and whether the source runs free."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from ..channel import Channel, Policy
from ..product import Product
from ..terms import Terms
from .notes import Lane, Links, Shot, Turn

StartDetect = Callable[[str, Callable[[], Product], Channel[Shot]], None]
"""Starts a detect thread: its name, what loads its recipe, and the frames it is to judge."""


class Change(NamedTuple):
    """A recipe that is being prepared beside the one at work."""

    thread: str
    request_id: str


class Lanes:
    """Opens detect threads and tells capture which of them to feed; lives in the publish thread.

    What is wanted goes to capture as one order, a `Turn`, in the queue of the triggers: those before it are
    judged as they were accepted, those after it on the new lane. A full queue delays it, and loses nothing.
    """

    def __init__(self, links: Links, start: StartDetect, queue: int, policy: Policy, simulated: bool) -> None:
        self._links, self._start, self._queue, self._policy = links, start, queue, policy
        self._numbers = itertools.count(1)
        self._frames: dict[str, Channel[Shot]] = {}
        self._wanted: Turn | None = None
        self._sent: Turn | None = None
        self._taken: Turn | None = None
        self._simulated = simulated
        self.change: Change | None = None

    def open(self, load: Callable[[], Product]) -> str:
        """Starts a detect thread and returns its name; its lane is used once it is `prepared`."""
        number = next(self._numbers)
        name = "detect" if number == 1 else f"detect-{number}"
        self._frames[name] = Channel(self._queue, self._policy)
        self._start(name, load, self._frames[name])
        return name

    def prepared(self, lane: Lane) -> None:
        """From the next trigger on, or the next frame of a free run, this lane is the one."""
        self._want(Turn(_marked(lane, self._simulated), self.free))

    def run_free(self, free: bool) -> None:
        """Every frame is a part, or only what a trigger asks for."""
        assert self._wanted is not None
        self._want(replace(self._wanted, free=free))

    def simulate(self, on: bool) -> None:
        """Whether parts from now on count as real ones."""
        self._simulated = on
        if self._wanted is not None:
            self._want(replace(self._wanted, lane=_marked(self._wanted.lane, on)))

    def push(self) -> None:
        """Tells capture what is wanted, where it was not told yet; to be called until it is."""
        turn = self._wanted
        if turn is not None and turn is not self._sent and self._links.requests.put(turn, 0) is None:
            self._sent = turn

    def taken(self, turn: Turn) -> None:
        """Capture has turned."""
        self._taken = turn

    @property
    def turning(self) -> bool:
        """Whether an order may still stand among the triggers that wait."""
        return self._sent is not self._taken

    @property
    def free(self) -> bool:
        """Whether the source is to run free."""
        return self._wanted is not None and self._wanted.free

    @property
    def terms(self) -> Terms:
        """Those of the next ticket."""
        assert self._sent is not None
        return self._sent.lane.terms

    @property
    def depth(self) -> int:
        """Frames that wait for detection."""
        return sum(map(len, self._frames.values()))

    def forget(self, thread: str) -> None:
        """A detect thread has ended."""
        frames = self._frames.pop(thread, None)
        if frames is not None:
            frames.close()

    def close(self) -> None:
        """No more frames will come: every detect thread finishes what it has, and ends."""
        for frames in self._frames.values():
            frames.close()

    def drain(self) -> Iterator[Shot]:
        """Closes, and takes back the frames that no detection has begun with."""
        self.close()
        for frames in self._frames.values():
            yield from frames.drain()

    def _want(self, turn: Turn) -> None:
        self._wanted = turn
        self.push()


def _marked(lane: Lane, simulated: bool) -> Lane:
    provenance = replace(lane.terms.provenance, simulated=simulated)
    return replace(lane, terms=replace(lane.terms, provenance=provenance))
