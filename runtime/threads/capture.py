"""The capture thread: opens the source, takes frames from it, and answers for every frame that never came."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator

from ..channel import Closed
from ..errors import (
    InspectionError,
    SourceDecode,
    SourceEnd,
    SourceError,
    SourceFormat,
    SourceIncomplete,
    SourceLost,
    SourceStale,
    SourceTimeout,
)
from ..frame import Frame
from ..ids import new_ulid
from ..quality import QualityGate
from ..source import Source
from ..terms import Terms
from ..ticket import Ticket, now_us
from .notes import CameraBack, CameraLost, Links, Opened, Result, Shot, Started, Turn, Turned, run_guarded

logger = logging.getLogger(__name__)

REASON_OF: dict[type[SourceError], str] = {
    SourceTimeout: "NO_FRAME",
    SourceStale: "STALE_FRAME",
    SourceLost: "CAMERA_LOST",
    SourceIncomplete: "INCOMPLETE_FRAME",
    SourceFormat: "WRONG_FORMAT",
    SourceDecode: "DECODE_ERROR",
    SourceEnd: "NO_FRAME",
}
"""What a source raises -> why the verdict is INVALID."""

BACK_OFF_S = (0.2, 5.0)
"""First and longest pause between attempts to open a lost source again."""
IDLE_MS = 50
"""How often the source is looked after while no trigger comes."""
FREE_READ_MS = 100
"""How long a free-running read waits before it looks whether to stop."""
TRUSTED_EXPOSURE = frozenset({"device_ptp", "device", "driver", "synthetic"})
"""Stamps that say how old a frame is at least: by them one older than its trigger is recognised."""
EXPOSURE_TOLERANCE_US = 2000


class Capture:
    """One thread around one source."""

    def __init__(self, open_source: Callable[[], Source], links: Links) -> None:
        self._open, self._links = open_source, links
        self._source: Source | None = None
        self._turn: Turn | None = None
        self._gate: QualityGate | None = None

    def run(self) -> None:
        """Body of the thread."""
        run_guarded("capture", self._work, self._leave, self._links)

    def _work(self) -> None:
        self._source = self._open()
        self._links.tell(Started("capture"))
        try:
            while True:
                free = self._turn is not None and self._turn.free
                order = self._links.requests.get(0 if free else IDLE_MS)
                if isinstance(order, Turn):
                    self._take_turn(order)
                elif order is not None:
                    self._serve(order.ticket)
                elif free:
                    self._run_free()
                else:
                    self._look_after(self._source)
        except (Closed, SourceEnd):
            return

    def _leave(self) -> None:
        if self._turn is not None:
            self._turn.lane.frames.close()
        if self._source is not None:
            self._source.close()

    def _take_turn(self, turn: Turn) -> None:
        """Nothing follows on a lane that is left: its thread finishes what it has, and ends."""
        before, self._turn = self._turn, turn
        if before is None or before.lane.frames is not turn.lane.frames:
            self._gate = _gate_of(turn.lane.terms)
            if before is not None:
                before.lane.frames.close()
        self._links.tell(Turned(turn))

    def _look_after(self, source: Source) -> None:
        """Between triggers: a lost source is opened again before the next one comes."""
        try:
            source.check()
        except SourceLost as error:
            self._reopen(str(error))

    def _serve(self, ticket: Ticket) -> None:
        """One trigger: one exposure, or a reason why there is none."""
        taken_us = now_us()
        if taken_us > ticket.deadline_us:
            self._links.tell(Result(ticket, ("DEADLINE_MISSED",), taken_us=taken_us))
            return
        try:
            frame = self._expose(ticket, taken_us)
        except SourceError as error:
            self._links.tell(Result(ticket, (_reason_of(error),), taken_us=taken_us))
            self._go_on_after(error)
        else:
            self._pass_on(ticket, frame, taken_us)

    def _expose(self, ticket: Ticket, taken_us: int) -> Frame:
        """The frame of this trigger; frames exposed before it are thrown away, whatever they show."""
        assert self._source is not None
        until_us = min(taken_us + 1000 * ticket.terms.frame_wait_ms, ticket.deadline_us)
        wall_us = time.time_ns() // 1000
        self._source.trigger(ticket.encoder)
        while True:
            frame = self._source.read(max(0, (until_us - now_us()) // 1000))
            if not _too_old(frame, taken_us, wall_us):
                return frame
            frame.release()

    def _run_free(self) -> None:
        """The next frame is a part, if one comes."""
        assert self._source is not None
        try:
            frame = self._source.read(FREE_READ_MS)
        except SourceTimeout:
            return
        except (SourceLost, SourceEnd) as error:
            self._go_on_after(error)
        except SourceError as error:
            taken_us = now_us()
            self._links.tell(Result(self._new_ticket(taken_us), (_reason_of(error),), taken_us=taken_us))
        else:
            self._pass_on(self._new_ticket(frame.t_mono_us), frame, frame.t_mono_us)

    def _new_ticket(self, opened_us: int) -> Ticket:
        assert self._turn is not None
        terms = self._turn.lane.terms
        number, deadline_us = next(self._links.numbers), opened_us + terms.deadline_us
        ticket = Ticket(number, opened_us, deadline_us, new_ulid(), terms)
        # Quietly, until the frame is on its way: publish would take its turn before detection gets the frame.
        self._links.inbox.put(Opened(ticket), quietly=True)
        return ticket

    def _pass_on(self, ticket: Ticket, frame: Frame, taken_us: int) -> None:
        """Looked at, to detection; whatever the channel does not hold because of it is answered here."""
        assert self._turn is not None
        assert self._source is not None
        if self._gate is not None:
            self._gate.look(frame, self._source.frozen_after)
        frames, shot = self._turn.lane.frames, Shot(ticket, frame, taken_us, now_us())
        dropped = frames.put(shot, 0)
        self._links.inbox.ring()
        if dropped is shot:  # no room at once: the policy `wait` waits for it, any other refuses it again
            dropped = frames.put(shot)
        if dropped is not None:
            self._links.tell(dropped.answer("STOPPING" if frames.closed else "QUEUE_FULL"))

    def _go_on_after(self, error: SourceError) -> None:
        """Opens a lost source again; raises SourceEnd again."""
        if isinstance(error, SourceEnd):
            raise error
        if isinstance(error, SourceLost):
            self._reopen(str(error))

    def _reopen(self, why: str) -> None:
        """Tries for ever, until it succeeds or the requests are closed."""
        self._links.tell(CameraLost(why))
        assert self._source is not None
        self._source.close()
        for pause_s in _pauses():
            self._refuse_for(pause_s)
            try:
                self._source = self._open()
            except InspectionError as error:
                logger.debug("source not back yet: %s", error)
            else:
                self._links.tell(CameraBack())
                return

    def _refuse_for(self, pause_s: float) -> None:
        """Waits, and answers the triggers that were accepted before the loss; raises Closed at the stop."""
        until_us = now_us() + int(pause_s * 1e6)
        while (left_us := until_us - now_us()) > 0:
            order = self._links.requests.get(left_us / 1000)
            if isinstance(order, Turn):
                self._take_turn(order)
            elif order is not None:
                self._links.tell(Result(order.ticket, ("CAMERA_LOST",), taken_us=now_us()))


def _gate_of(terms: Terms) -> QualityGate | None:
    return None if terms.quality is None else QualityGate(terms.quality, terms.box)


def _reason_of(error: SourceError) -> str:
    return next((reason for kind, reason in REASON_OF.items() if isinstance(error, kind)), "NO_FRAME")


def _too_old(frame: Frame, taken_us: int, wall_us: int) -> bool:
    """Whether a frame was dequeued, or is known to have been exposed, before its trigger."""
    exposed_before = frame.t_exposure_us < wall_us - EXPOSURE_TOLERANCE_US
    return frame.t_mono_us < taken_us or (frame.t_exposure_src in TRUSTED_EXPOSURE and exposed_before)


def _pauses() -> Iterator[float]:
    """Doubling from the first to the longest pause, +-20 % so that several stations do not retry in step."""
    pause_s, longest_s = BACK_OFF_S
    while True:
        yield pause_s * random.uniform(0.8, 1.2)
        pause_s = min(2 * pause_s, longest_s)
