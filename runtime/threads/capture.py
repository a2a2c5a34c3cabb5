"""The capture thread: opens the source, takes frames from it, and answers for every frame that never came."""

from __future__ import annotations

import itertools
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
from ..ticket import Ticket, now_us
from .notes import CameraBack, CameraLost, Links, Opened, Request, Result, Shot, Started, run_guarded

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
FREE_READ_MS = 100
"""How long a free-running read waits before it looks whether to stop."""
TRUSTED_EXPOSURE = frozenset({"device_ptp", "driver", "synthetic"})
"""Exposure stamps on this machine's wall clock: by them a frame older than its trigger is recognised."""
EXPOSURE_TOLERANCE_US = 2000


class Capture:
    """One thread around one source."""

    def __init__(
        self,
        open_source: Callable[[], Source],
        links: Links,
        deadline_us: int,
        frame_timeout_ms: int,
        gate: QualityGate | None = None,
    ) -> None:
        self._open, self._links = open_source, links
        self._deadline_us, self._frame_timeout_ms = deadline_us, frame_timeout_ms
        self._gate = gate
        self._numbers = itertools.count(1)
        self._source: Source | None = None

    def run(self) -> None:
        """Body of the thread."""
        run_guarded("capture", self._work, self._leave, self._links)

    def _work(self) -> None:
        self._source = self._open()
        self._links.tell(Started("capture"))
        try:
            while True:
                request = self._links.requests.get()
                assert request is not None
                if request.ticket is None:
                    self._run_free(self._source)
                else:
                    self._serve(request.ticket)
        except (Closed, SourceEnd):
            return

    def _leave(self) -> None:
        self._links.frames.close()
        if self._source is not None:
            self._source.close()

    def _serve(self, ticket: Ticket) -> None:
        """One trigger: one exposure, or a reason why there is none."""
        taken_us = now_us()
        if taken_us > ticket.deadline_us:
            self._links.tell(Result(ticket.number, ("DEADLINE_MISSED",), taken_us=taken_us))
            return
        try:
            frame = self._expose(ticket, taken_us)
        except SourceError as error:
            self._links.tell(Result(ticket.number, (_reason_of(error),), taken_us=taken_us))
            self._go_on_after(error)
        else:
            self._pass_on(ticket, frame, taken_us)

    def _expose(self, ticket: Ticket, taken_us: int) -> Frame:
        """The frame of this trigger; frames exposed before it are thrown away, whatever they show."""
        assert self._source is not None
        until_us = min(taken_us + 1000 * self._frame_timeout_ms, ticket.deadline_us)
        wall_us = time.time_ns() // 1000
        self._source.trigger(ticket.encoder)
        while True:
            frame = self._source.read(max(0, (until_us - now_us()) // 1000))
            if not _too_old(frame, taken_us, wall_us):
                return frame
            frame.release()

    def _run_free(self, source: Source) -> None:
        """Every frame is a part, until the requests are closed."""
        while not self._links.requests.closed:
            try:
                frame = source.read(FREE_READ_MS)
            except SourceTimeout:
                continue
            except (SourceLost, SourceEnd) as error:
                source = self._go_on_after(error)
            except SourceError as error:
                taken_us = now_us()
                ticket = self._new_ticket(taken_us)
                self._links.tell(Result(ticket.number, (_reason_of(error),), taken_us=taken_us))
            else:
                ticket = self._new_ticket(frame.t_mono_us)
                self._pass_on(ticket, frame, frame.t_mono_us)

    def _new_ticket(self, opened_us: int) -> Ticket:
        ticket = Ticket(next(self._numbers), opened_us, opened_us + self._deadline_us, new_ulid())
        # Quietly, until the frame is on its way: publish would take its turn before detection gets the frame.
        self._links.inbox.put(Opened(ticket), quietly=True)
        return ticket

    def _pass_on(self, ticket: Ticket, frame: Frame, taken_us: int) -> None:
        """Looked at, to detection; whatever the channel does not hold because of it is answered here."""
        assert self._source is not None
        if self._gate is not None:
            self._gate.look(frame, self._source.frozen_after)
        shot = Shot(ticket.number, ticket.deadline_us, frame, taken_us, now_us())
        dropped = self._links.frames.put(shot, 0)
        self._links.inbox.ring()
        if dropped is shot:  # no room at once: the policy `wait` waits for it, any other refuses it again
            dropped = self._links.frames.put(shot)
        if dropped is not None:
            reason = "STOPPING" if self._links.frames.closed else "QUEUE_FULL"
            notice = Result(
                dropped.number,
                (reason,),
                frame=dropped.frame,
                taken_us=dropped.taken_us,
                ready_us=dropped.ready_us,
            )
            self._links.tell(notice)

    def _go_on_after(self, error: SourceError) -> Source:
        """The source to go on with: the same, or a lost one opened again; raises SourceEnd again."""
        if isinstance(error, SourceEnd):
            raise error
        assert self._source is not None
        return self._reopen(str(error)) if isinstance(error, SourceLost) else self._source

    def _reopen(self, why: str) -> Source:
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
                return self._source
        raise AssertionError("the pauses never end")

    def _refuse_for(self, pause_s: float) -> None:
        """Waits, and answers the triggers that were accepted before the loss; raises Closed at the stop."""
        until_us = now_us() + int(pause_s * 1e6)
        while (left_us := until_us - now_us()) > 0:
            request = self._links.requests.get(left_us / 1000)
            if request is not None:
                self._answer_without_frame(request, "CAMERA_LOST")

    def _answer_without_frame(self, request: Request, reason: str) -> None:
        if request.ticket is not None:
            self._links.tell(Result(request.ticket.number, (reason,), taken_us=now_us()))


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
