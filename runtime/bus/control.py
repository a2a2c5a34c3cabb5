"""`ctl/1`: one reply to every request, whatever was sent. Pure: frames in, frames out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from ..state import State, state_name
from ..ticket import Ticket
from .wire import ControlReply, ControlRequest, TriggerArgs, encode

WINDOW = 4096
"""Triggers remembered for retries."""
WINDOW_US = 60_000_000
"""How long they are remembered; a PLC that restarts its counter may use the numbers again after that."""

Answer = tuple[str, dict[str, Any], str]
"""Code, result, detail."""


class Desk(Protocol):
    """What control needs from the station."""

    @property
    def state(self) -> State:
        """State now."""

    def status(self) -> dict[str, Any]:
        """Result of the verb status."""

    def accept(self, args: TriggerArgs) -> Ticket | str:
        """A ticket for the trigger, or the code of its refusal: NOT_READY, OVERRUN, WRONG_STATE."""

    def stop(self) -> None:
        """Finishes what is in flight and ends the run."""

    def now_us(self) -> int:
        """Monotonic clock, us."""


class Control:
    """Reads requests and words the replies."""

    def __init__(self, desk: Desk, boot_id: str) -> None:
        self._desk, self._boot_id = desk, boot_id
        self._recent = RecentTriggers()
        self._decoder = msgspec.json.Decoder(ControlRequest)
        self._verbs: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "status": self._status,
            "trigger": self._trigger,
            "stop": self._stop,
        }

    def answer(self, frames: list[bytes]) -> list[bytes]:
        """The reply's frames to a request's frames as a ROUTER gives them; never raises."""
        envelope, body = split_envelope(frames)
        return [*envelope, encode(self._reply(body))]

    def _reply(self, body: bytes | None) -> ControlReply:
        try:
            request = self._decoder.decode(b"" if body is None else body)
        # Broken text, wrong types, and JSON nested deeper than the reader's stack.
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._word(None, ("BAD_REQUEST", {}, str(error)))
        return self._word(request.id, self._act(request))

    def _act(self, request: ControlRequest) -> Answer:
        verb = self._verbs.get(request.verb)
        if verb is None:
            return "UNKNOWN_VERB", {}, f"expected one of {', '.join(sorted(self._verbs))}"
        state = state_name(self._desk.state)
        if request.if_state not in (None, state):
            return "WRONG_STATE", {}, f"state is {state}"
        try:
            return verb(request.args)
        except (msgspec.ValidationError, RecursionError) as error:
            return "BAD_REQUEST", {}, str(error)

    def _word(self, request_id: str | None, answer: Answer) -> ControlReply:
        code, result, detail = answer
        return ControlReply(
            id=request_id,
            ok=code in ("OK", "ACCEPTED", "DUPLICATE"),
            code=code,
            state=int(self._desk.state),  # type: ignore[arg-type]
            boot_id=self._boot_id,
            result=result,
            detail=detail,
        )

    def _status(self, args: dict[str, Any]) -> Answer:
        return "OK", self._desk.status(), ""

    def _stop(self, args: dict[str, Any]) -> Answer:
        self._desk.stop()
        return "ACCEPTED", {}, "finishing what is in flight"

    def _trigger(self, args: dict[str, Any]) -> Answer:
        wanted = msgspec.convert(args, TriggerArgs)
        now_us = self._desk.now_us()
        known = self._recent.find(wanted.trigger_id, now_us)
        ticket = known or self._desk.accept(wanted)
        if isinstance(ticket, str):
            return ticket, {}, "refused: the part counts as a reject"
        self._recent.remember(wanted.trigger_id, ticket)
        result = {"result_id": ticket.result_id, "deadline_us": ticket.deadline_us - ticket.opened_us}
        return "DUPLICATE" if known else "ACCEPTED", result, ""


class RecentTriggers:
    """Trigger ids of the last while: a retry gets its first answer again, not a second inspection."""

    def __init__(self) -> None:
        self._tickets: OrderedDict[int, Ticket] = OrderedDict()

    def find(self, trigger_id: int, now_us: int) -> Ticket | None:
        """The ticket of a trigger accepted within `WINDOW_US` and `WINDOW`."""
        ticket = self._tickets.get(trigger_id)
        return ticket if ticket and now_us - ticket.opened_us < WINDOW_US else None

    def remember(self, trigger_id: int, ticket: Ticket) -> None:
        """Notes an accepted trigger."""
        self._tickets[trigger_id] = ticket
        self._tickets.move_to_end(trigger_id)
        while len(self._tickets) > WINDOW:
            self._tickets.popitem(last=False)


def split_envelope(frames: list[bytes]) -> tuple[list[bytes], bytes | None]:
    """Envelope with its empty delimiter, and the body; None unless there is exactly one.

    REQ sends [delimiter, body], REQ with correlation [number, delimiter, body], a DEALER whatever it likes,
    also the bare body; the ROUTER puts the peer's identity in front.
    """
    try:
        end = frames.index(b"", 1) + 1
    except ValueError:
        end = 1
    rest = frames[end:]
    return frames[:end], rest[0] if len(rest) == 1 else None
