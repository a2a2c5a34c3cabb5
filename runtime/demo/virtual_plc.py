"""The line that the demo pretends to be: a process of its own that says when a part is there and keeps score.

It meets the station on the two sockets alone, as a PLC's gateway would. Truth it gets from the synthetic web,
which is a pure function of seed and place; the station's own counters it never reads.
"""

from __future__ import annotations

import multiprocessing
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Literal, NamedTuple

from ..bus.client import Client, Message
from ..errors import InspectionError, PlcError
from ..sources.synthetic import SyntheticConfig, section_defects
from ..state import State
from ..ticket import now_us
from .scorecard import Answered, Part, Score, Scorecard

OPEN_TIMEOUT_S = 60.0
"""How long the PLC waits to be told where the station is, and then for Ready."""
SILENCE_S = 5.0
"""Without any message of the station for so long it counts as down; heartbeats come every 0.1 s."""
LAST_ANSWERS_S = 2.0
"""How long the PLC waits after the last trigger for answers."""
REPORT_S = 0.2
ENDED = (State.HALTED, State.ERROR)

Stage = Literal["running", "answered", "final"]
"""Parts come; no more parts, and every answer is there that will come; the station has ended as well."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the line is to do."""

    bus: str
    control: str
    web: SyntheticConfig
    """The station's source: the truth about each part follows from it."""
    rate_hz: float
    """Parts per second."""
    seconds: float | None
    """How long parts come; None: until told to stop."""


@dataclass(frozen=True, slots=True)
class Report:
    """How it stands, five times a second, and at every new stage."""

    stage: Stage

    score: Score
    recent: tuple[Answered, ...]
    """The last answers, oldest first."""
    notable: tuple[Answered, ...]
    """The last to a part that had a defect, or did not pass."""
    defective: int
    """Parts with a defect so far."""
    invalid: int
    """Answers INVALID so far."""
    state: State
    """Of the station, by its last message."""
    health: tuple[str, ...]
    """Level and flags, by the same."""


class Failure(NamedTuple):
    """Why the line gave up, in words."""

    text: str


class Told(Exception):
    """The demo asked for no more parts."""


class VirtualPlc:
    """Handle on the process; a context manager that leaves none behind."""

    def __init__(self) -> None:
        """Starts the process; it waits for `begin`."""
        context = multiprocessing.get_context("spawn")
        self._end, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), name="plc", daemon=True)
        # Ctrl-C reaches every process of the terminal; the PLC ends when the demo says so.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        theirs.close()

    def __enter__(self) -> VirtualPlc:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.close()
        self._process.join(1.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    @property
    def pid(self) -> int:
        """Number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def begin(self, plan: Plan) -> None:
        """Sends the plan."""
        self._send(plan)

    def stop(self) -> None:
        """Asks for no more parts; the stage `answered` follows."""
        self._send(None)

    def report(self, timeout_s: float) -> Report:
        """The next report; five a second are to be expected.

        Raises:
            PlcError: none came in time, the line gave up, or its process is gone.
        """
        try:
            if not self._end.poll(timeout_s):
                raise PlcError(f"virtual PLC: no report within {timeout_s:.0f} s; run the demo again")
            said: Report | Failure = self._end.recv()
        except (EOFError, OSError):
            raise self._gone() from None
        if isinstance(said, Failure):
            raise PlcError(f"virtual PLC: {said.text}")
        return said

    def _send(self, what: Plan | None) -> None:
        try:
            self._end.send(what)
        except OSError:
            raise self._gone() from None

    def _gone(self) -> PlcError:
        self._process.join(1.0)
        code = self._process.exitcode
        return PlcError(f"virtual PLC: its process ended with exit code {code}; run the demo again")


def serve(end: Connection) -> None:
    """Body of the process."""
    try:
        if not end.poll(OPEN_TIMEOUT_S):
            return
        plan: Plan | None = end.recv()
        if plan is None:
            return
        with Client(plan.bus, plan.control) as client:
            try:
                end.send(Line(client, plan, end).run())
            except InspectionError as error:
                end.send(Failure(str(error)))
    except (EOFError, OSError):  # the demo is gone, and with it the station
        return


class Line:
    """Parts come by at a steady pace; each is announced, and its answer awaited."""

    def __init__(self, client: Client, plan: Plan, end: Connection) -> None:
        self._client, self._plan, self._end = client, plan, end
        self._state = State.PREOPERATIONAL
        self._health: tuple[str, ...] = ("unknown",)
        self._heard_us = now_us()
        self._card = Scorecard(0)
        self._report_us = 0

    def run(self) -> Report:
        """From Ready to the station's end; returns the final report.

        Raises:
            PlcError: the station does not become ready, or falls silent.
            BusError: it does not answer requests.
            EOFError, OSError: the demo is gone.
        """
        try:
            self._wait_ready()
            self._card = Scorecard(self._client.status()["deadline_us"])
            self._pass_parts()
        except Told:
            pass
        self._collect()
        self._end.send(self._report("answered"))
        self._see_off()
        return self._report("final")

    def _wait_ready(self) -> None:
        until_us = now_us() + int(1e6 * OPEN_TIMEOUT_S)
        while self._state is not State.READY:
            if now_us() > until_us:
                raise PlcError(f"the station was not ready within {OPEN_TIMEOUT_S:.0f} s")
            self._listen(until_us=now_us() + 20_000)
            self._obey()

    def _pass_parts(self) -> None:
        """One part per period, until the plan is fulfilled or the station ends."""
        period_us = 1e6 / self._plan.rate_hz
        due_us, number = float(now_us()), 0
        stop_us = None if self._plan.seconds is None else due_us + 1e6 * self._plan.seconds
        while (stop_us is None or due_us < stop_us) and self._state not in ENDED:
            self._listen(until_us=int(due_us))
            self._obey()
            number += 1
            self._announce(number)
            # A belt that was held up runs on from there; it does not make up for lost parts in a burst.
            due_us = max(due_us + period_us, now_us())

    def _announce(self, number: int) -> None:
        """A part is there; a refusal leaves it without an answer, and so it is missing."""
        encoder = number * self._plan.web.counts_per_section
        truth = section_defects(self._plan.web.seed, number, self._plan.web)
        self._card.issue(Part(number, truth, now_us()))
        self._client.trigger(number, encoder=encoder)

    def _collect(self) -> None:
        """The last answers."""
        until_us = now_us() + int(1e6 * LAST_ANSWERS_S)
        while self._card.waiting() and now_us() < until_us:
            self._listen(until_us=now_us() + 20_000)

    def _see_off(self) -> None:
        """Listens to the station's end, so that no answer too many goes unseen."""
        while self._state not in ENDED and not self._silent():
            self._listen(until_us=now_us() + 20_000)
            self._told()

    def _listen(self, until_us: int) -> None:
        """Takes what the station says until then, at least what has already arrived."""
        message: Message | None = None
        while message is not None or now_us() < until_us:
            left_us = max(0, until_us - now_us())
            message = self._client.receive(-(-left_us // 1000))
            if message is not None:
                self._take(message, now_us())

    def _silent(self) -> bool:
        return now_us() - self._heard_us > 1e6 * SILENCE_S

    def _take(self, message: Message, arrived_us: int) -> None:
        self._heard_us = arrived_us
        body = message.body
        if message.kind == "verdict":
            self._card.take(body, arrived_us)
        elif message.kind == "state":
            self._state = State(body["to"])
        elif message.kind == "hb":
            self._state, self._health = State(body["state"]), _health(body)

    def _obey(self) -> None:
        """Reports when it is time; raises Told when no more parts are wanted."""
        if self._silent():
            raise PlcError(f"the station has been silent for {SILENCE_S:.0f} s")
        if now_us() >= self._report_us:
            self._report_us = now_us() + int(1e6 * REPORT_S)
            self._end.send(self._report("running"))
        if self._told():
            raise Told

    def _told(self) -> bool:
        """Whether the demo said something new; raises EOFError once it is gone."""
        return self._end.poll() and self._end.recv() is None

    def _report(self, stage: Stage) -> Report:
        card = self._card
        return Report(
            stage=stage,
            score=card.score(now_us() if stage == "running" else None),
            recent=tuple(card.recent),
            notable=tuple(card.notable),
            defective=card.defective,
            invalid=card.invalid,
            state=self._state,
            health=self._health,
        )


def _health(beat: dict[str, Any]) -> tuple[str, ...]:
    health = beat["health"]
    return (health["level"], *health["flags"])
