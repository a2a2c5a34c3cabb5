"""What the threads tell each other: plain data, carried by channels."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from ..channel import Channel
from ..errors import PipelineError
from ..frame import Frame
from ..prediction import Prediction
from ..terms import Terms
from ..ticket import Ticket


@dataclass(frozen=True, slots=True)
class Shot:
    """Capture to detection: a frame to judge."""

    ticket: Ticket
    frame: Frame
    taken_us: int
    """Monotonic clock when capture took the ticket up, us."""
    ready_us: int
    """Monotonic clock when the frame was there and looked at, us."""

    def answer(self, *reasons: str) -> Result:
        """What became of it: nothing yet, or reasons why it is not judged."""
        return Result(self.ticket, reasons, frame=self.frame, taken_us=self.taken_us, ready_us=self.ready_us)


@dataclass(frozen=True, slots=True)
class Lane:
    """A recipe at work: a detect thread, and the channel that capture feeds it through."""

    thread: str
    terms: Terms
    frames: Channel[Shot]


@dataclass(frozen=True, slots=True)
class Request:
    """Publish to capture: take a frame for this ticket."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Turn:
    """Publish to capture: from here on frames go to this lane, as triggers ask for them or all of them.

    It queues up with the requests: what was accepted before it is judged on the old lane.
    """

    lane: Lane
    free: bool
    """Every frame of the source is a part, until the next turn."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Capture to publish, in free run: a frame came, and a verdict is owed for it."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Result:
    """To publish: what became of a ticket's frame. Whoever takes it releases the frame."""

    ticket: Ticket
    reasons: tuple[str, ...] = ()
    """Why there is no score; empty when there is one."""
    score: float = 0.0
    prediction: Prediction | None = None
    """With a map of its own; only where somebody needs it."""
    frame: Frame | None = None
    taken_us: int | None = None
    ready_us: int | None = None
    begun_us: int | None = None
    """Monotonic clock when detection took the frame up, us."""
    done_us: int | None = None
    """Monotonic clock when its score was there, us."""
    stage_us: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CameraLost:
    """Capture to publish: the source is gone; it is being opened again."""

    detail: str


@dataclass(frozen=True, slots=True)
class CameraBack:
    """Capture to publish: the source is open again."""


@dataclass(frozen=True, slots=True)
class Started:
    """A thread has opened its thing."""

    thread: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """A detect thread has judged the golden images: its lane may be used."""

    lane: Lane


@dataclass(frozen=True, slots=True)
class Turned:
    """Capture to publish: the turn is taken; every later ticket of a free run is opened under it."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Ended:
    """A thread has closed its thing and leaves; its last note."""

    thread: str
    error: Exception | None = None
    """What ended it; None: nothing left to do."""


@dataclass(frozen=True, slots=True)
class Stop:
    """From outside: finish what is in flight and leave."""


Order: TypeAlias = Request | Turn
Note: TypeAlias = Opened | Result | CameraLost | CameraBack | Started | Prepared | Turned | Ended | Stop


@dataclass(frozen=True, slots=True)
class Links:
    """The channels between the threads.

    One inbox for everything that publish must know: a ticket is put in before its frame goes to detection,
    so a result never meets an unknown ticket.
    """

    requests: Channel[Order]
    inbox: Channel[Note]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """Of tickets: publish takes them for triggers, capture in free run, and never both at a time."""

    def tell(self, note: Note) -> None:
        """Puts a note into the inbox; when publish is gone, nobody is left who could release its frame."""
        if self.inbox.put(note) is not None and isinstance(note, Result) and note.frame is not None:
            note.frame.release()


def run_guarded(name: str, work: Callable[[], None], leave: Callable[[], None], links: Links) -> None:
    """The body of a thread: whatever happens in `work`, `leave` runs and publish is told."""
    error: Exception | None = None
    try:
        try:
            work()
        finally:
            leave()
    except Exception as caught:
        error = caught
    except BaseException as caught:  # a library that calls exit() ends the thread, not the process
        error = PipelineError(f"thread {name} was ended by {caught!r}")
    links.tell(Ended(name, error))
