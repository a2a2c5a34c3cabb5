"""`ctl/1`: one reply to every request, whatever was sent. Pure: frames in, frames out."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from ..state import State, state_name
from ..ticket import Ticket
from .recent import WINDOW_US, Accepted, Recent
from .requests import (
    ControlReply,
    ControlRequest,
    NoArgs,
    RecipeArgs,
    ReplayArgs,
    ResultArgs,
    SimulateArgs,
    TriggerArgs,
)
from .ring import CHUNK
from .wire import encode

logger = logging.getLogger(__name__)

MAX_BYTES = 1 << 16
"""Longest request that is read; the socket closes the connection of a much longer one."""


class Answer(NamedTuple):
    """What a reply says beside whose it is."""

    code: str
    result: dict[str, Any] = {}  # noqa: RUF012
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether what was asked for is done, or will be."""
        return self.code in ("OK", "ACCEPTED", "DUPLICATE")


class Desk(Protocol):
    """What control needs from the station; each verb answers for itself."""

    @property
    def state(self) -> State:
        """State now."""

    def now_us(self) -> int:
        """Monotonic clock, us."""

    def accept(self, args: TriggerArgs) -> Ticket | str:
        """A ticket for the trigger, or the code of its refusal: NOT_READY, OVERRUN, WRONG_STATE."""

    def hello(self) -> dict[str, Any]: ...
    def status(self) -> Answer: ...
    def snapshot(self) -> Answer: ...
    def replay(self, args: ReplayArgs) -> Answer: ...
    def get_result(self, args: ResultArgs) -> Answer: ...
    def start(self) -> Answer: ...
    def stop(self) -> Answer: ...
    def prepare_recipe(self, args: RecipeArgs, request_id: str) -> Answer: ...
    def clear_fault(self) -> Answer: ...
    def simulate(self, args: SimulateArgs) -> Answer: ...
    def shutdown(self) -> Answer: ...


class Verb(NamedTuple):
    """One row of the table of verbs."""

    args: type[msgspec.Struct]
    answer: Callable[[Any, ControlRequest], Answer]
    """From the arguments, and the request they came in."""
    acts: bool = False
    """It changes something: the same bytes again get the same answer, and change nothing more."""


class Control:
    """Reads requests and words the replies."""

    def __init__(self, desk: Desk, boot_id: str) -> None:
        self._desk, self._boot_id = desk, boot_id
        self._triggers: Recent[int, Accepted] = Recent()
        self._done: Recent[bytes, Answer] = Recent()
        self._decoder = msgspec.json.Decoder(ControlRequest)
        self._verbs: dict[str, Verb] = {
            "hello": Verb(NoArgs, self._hello),
            "status": Verb(NoArgs, lambda args, request: desk.status()),
            "snapshot": Verb(NoArgs, lambda args, request: desk.snapshot()),
            "replay": Verb(ReplayArgs, lambda args, request: desk.replay(args)),
            "get_result": Verb(ResultArgs, lambda args, request: desk.get_result(args)),
            "trigger": Verb(TriggerArgs, self._trigger),
            "start": Verb(NoArgs, lambda args, request: desk.start(), acts=True),
            "stop": Verb(NoArgs, lambda args, request: desk.stop(), acts=True),
            "prepare_recipe": Verb(
                RecipeArgs, lambda args, request: desk.prepare_recipe(args, request.id), acts=True
            ),
            "clear_fault": Verb(NoArgs, lambda args, request: desk.clear_fault(), acts=True),
            "simulate": Verb(SimulateArgs, lambda args, request: desk.simulate(args), acts=True),
            "shutdown": Verb(NoArgs, lambda args, request: desk.shutdown(), acts=True),
        }

    @property
    def verbs(self) -> list[str]:
        """Names of all verbs."""
        return sorted(self._verbs)

    def answer(self, frames: list[bytes]) -> list[bytes]:
        """The reply's frames to a request's frames as a ROUTER gives them; never raises."""
        envelope, body = split_envelope(frames)
        return [*envelope, encode(self._reply(body))]

    def _reply(self, body: bytes | None) -> ControlReply:
        try:
            request = self._read(body)
        # Broken text, wrong types, and JSON nested deeper than the reader's stack.
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            return self._word(None, Answer("BAD_REQUEST", {}, str(error)))
        assert body is not None
        try:
            answer = self._act(request, body)
        except Exception as error:  # a fault of ours costs one answer, not the line
            logger.exception("verb %s", request.verb)
            answer = Answer("INTERNAL", {}, f"{type(error).__name__}: {error}")
        return self._word(request.id, answer)

    def _read(self, body: bytes | None) -> ControlRequest:
        if body is None:
            raise ValueError("expected one frame of JSON, after an empty one or alone")
        if len(body) > MAX_BYTES:
            raise ValueError(f"request has {len(body)} bytes; expected at most {MAX_BYTES}")
        return self._decoder.decode(body)

    def _act(self, request: ControlRequest, body: bytes) -> Answer:
        verb = self._verbs.get(request.verb)
        if verb is None:
            return Answer("UNKNOWN_VERB", {}, f"expected one of {', '.join(self.verbs)}")
        try:
            args = msgspec.convert(request.args, verb.args)
        except (msgspec.ValidationError, RecursionError) as error:
            return Answer("BAD_REQUEST", {}, str(error))
        if isinstance(args, TriggerArgs):
            return self._known(args, request) or self._refusal(request) or verb.answer(args, request)
        if verb.acts:
            return self._once(body, lambda: self._refusal(request) or verb.answer(args, request))
        return self._refusal(request) or verb.answer(args, request)

    def _refusal(self, request: ControlRequest) -> Answer | None:
        """Why a request that was not answered before is not even looked at, if so."""
        age_ms = _age_ms(request)
        if age_ms > (math.inf if request.ttl_ms is None else request.ttl_ms):
            return Answer("EXPIRED", {}, f"arrived {age_ms} ms after it was sent")
        state = state_name(self._desk.state)
        return None if request.if_state in (None, state) else Answer("WRONG_STATE", {}, f"state is {state}")

    def _once(self, body: bytes, act: Callable[[], Answer]) -> Answer:
        """The answer of the first time, where the same bytes were answered before."""
        now_us, digest = self._desk.now_us(), hashlib.blake2b(body, digest_size=16).digest()
        answer = self._done.find(digest, now_us)
        if answer is None:
            answer = act()
            if answer.ok:
                self._done.remember(digest, answer, now_us)
        return answer

    def _word(self, request_id: str | None, answer: Answer) -> ControlReply:
        return ControlReply(
            id=request_id,
            ok=answer.ok,
            code=answer.code,
            state=int(self._desk.state),  # type: ignore[arg-type]
            boot_id=self._boot_id,
            result=answer.result,
            detail=answer.detail,
        )

    def _hello(self, args: NoArgs, request: ControlRequest) -> Answer:
        """What may be asked here, and what the station says of itself."""
        limits = {"request_bytes": MAX_BYTES, "replay_items": CHUNK, "retry_s": WINDOW_US // 1_000_000}
        return Answer(
            "OK", {"protocol": "ctl/1", "verbs": self.verbs, "limits": limits, **self._desk.hello()}
        )

    def _known(self, args: TriggerArgs, request: ControlRequest) -> Answer | None:
        """The answer to a trigger that was accepted before: a retry of its request, or a duplicate."""
        known = self._triggers.find(args.trigger_id, self._desk.now_us())
        if known is None:
            return None
        ticket = known.ticket
        if (ticket.part_id, ticket.encoder) != (args.part_id, args.encoder):
            # Its verdict is another part's, which may be OK.
            detail = f"trigger_id {args.trigger_id} was another part's a moment ago; expected a new one"
            return Answer("BAD_REQUEST", {}, detail)
        return _accepted(ticket, "ACCEPTED" if known.request_id == request.id else "DUPLICATE")

    def _trigger(self, args: TriggerArgs, request: ControlRequest) -> Answer:
        ticket = self._desk.accept(args)
        if isinstance(ticket, str):
            return Answer(ticket, {}, "refused: the part counts as a reject")
        self._triggers.remember(args.trigger_id, Accepted(request.id, ticket), ticket.opened_us)
        return _accepted(ticket, "ACCEPTED")


def _accepted(ticket: Ticket, code: str) -> Answer:
    deadline_us = ticket.deadline_us - ticket.opened_us
    return Answer(code, {"result_id": ticket.result_id, "deadline_us": deadline_us})


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
