"""`ctl/1`: one reply to every request, whatever was sent. Pure: frames in, frames out."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from ..state import State, state_name
from ..ticket import Ticket
from .wire import ControlReply, ControlRequest, TriggerArgs, encode

WINDOW = 4096
"""Triggers remembered for retries."""
WINDOW_US = 60_000_000
"""How long they are remembered; a PLC that restarts its counter may use the numbers again after that."""

MAX_BYTES = 1 << 16
"""Longest request that is read; the socket closes the connection of a much longer one."""

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
        self._verbs: dict[str, Callable[[ControlRequest], Answer]] = {
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
            request = self._read(body)
        # Broken text, wrong types, and JSON nested deeper than the reader's stack.
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            return self._word(None, ("BAD_REQUEST", {}, str(error)))
        return self._word(request.id, self._act(request))

    def _read(self, body: bytes | None) -> ControlRequest:
        if body is None:
            raise ValueError("expected one frame of JSON, after an empty one or alone")
        if len(body) > MAX_BYTES:
            raise ValueError(f"request has {len(body)} bytes; expected at most {MAX_BYTES}")
        return self._decoder.decode(body)

    def _act(self, request: ControlRequest) -> Answer:
        verb = self._verbs.get(request.verb)
        if verb is None:
            return "UNKNOWN_VERB", {}, f"expected one of {', '.join(sorted(self._verbs))}"
        age_ms = _age_ms(request)
        if age_ms > (math.inf if request.ttl_ms is None else request.ttl_ms):
            return "EXPIRED", {}, f"arrived {age_ms} ms after it was sent"
        state = state_name(self._desk.state)
        if request.if_state not in (None, state):
            return "WRONG_STATE", {}, f"state is {state}"
        try:
            return verb(request)
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

    def _status(self, request: ControlRequest) -> Answer:
        return "OK", self._desk.status(), ""

    def _stop(self, request: ControlRequest) -> Answer:
        self._desk.stop()
        return "ACCEPTED", {}, "finishing what is in flight"

    def _trigger(self, request: ControlRequest) -> Answer:
        wanted = msgspec.convert(request.args, TriggerArgs)
        known = self._recent.find(wanted.trigger_id, self._desk.now_us())
        if known is None:
            ticket = self._desk.accept(wanted)
            if isinstance(ticket, str):
                return ticket, {}, "refused: the part counts as a reject"
            known = Accepted(request.id, ticket)
            self._recent.remember(wanted.trigger_id, known)
        ticket = known.ticket
        result = {"result_id": ticket.result_id, "deadline_us": ticket.deadline_us - ticket.opened_us}
        return "ACCEPTED" if known.request_id == request.id else "DUPLICATE", result, ""


class Accepted(NamedTuple):
    """An accepted trigger."""

    request_id: str
    """Of the request that it came with: the same again is a retry, and gets the same answer."""
    ticket: Ticket


class RecentTriggers:
    """Trigger ids of the last while: one sent again is no second inspection."""

    def __init__(self) -> None:
        self._accepted: OrderedDict[int, Accepted] = OrderedDict()

    def find(self, trigger_id: int, now_us: int) -> Accepted | None:
        """How a trigger was accepted, if within `WINDOW_US` and `WINDOW`."""
        accepted = self._accepted.get(trigger_id)
        return accepted if accepted and now_us - accepted.ticket.opened_us < WINDOW_US else None

    def remember(self, trigger_id: int, accepted: Accepted) -> None:
        """Notes an accepted trigger."""
        self._accepted[trigger_id] = accepted
        self._accepted.move_to_end(trigger_id)
        while len(self._accepted) > WINDOW:
            self._accepted.popitem(last=False)


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


def _age_ms(request: ControlRequest) -> int:
    """How long ago the request says it was sent, ms on the wall clock; 0 when it does not say."""
    return 0 if request.t_sent_us is None else (time.time_ns() // 1000 - request.t_sent_us) // 1000
