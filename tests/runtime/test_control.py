"""`ctl/1`: whatever arrives gets one reply, and what was refused did nothing."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bus.control import MAX_BYTES, Answer, Control, split_envelope
from runtime.bus.recent import WINDOW, WINDOW_US
from runtime.bus.requests import ControlReply, RecipeArgs, ReplayArgs, ResultArgs, SimulateArgs, TriggerArgs
from runtime.bus.witness import Witness
from runtime.ids import new_boot_id, new_ulid
from runtime.ledger import Ledger
from runtime.pipeline import Pipeline
from runtime.scripted import ScriptedDetector, scripted_terms
from runtime.sources.synthetic import SyntheticConfig, SyntheticSource
from runtime.state import State
from runtime.ticket import Ticket

WEB = SyntheticConfig(width=64, height=48, rate_hz=None, buffers=16)
PEER = b"\0peer"
BOOT = new_boot_id()
TERMS = scripted_terms()


class Desk:
    """A station without sockets: a ledger, a state and a clock that the test sets."""

    def __init__(self) -> None:
        self.state = State.READY
        self.ledger = Ledger()
        self.clock_us = 0
        self.done: list[str] = []
        self.refusal: str | None = None

    def hello(self) -> dict[str, Any]:
        return {"line": "l"}

    def status(self) -> Answer:
        return Answer("OK", {"inflight": self.ledger.inflight})

    def snapshot(self) -> Answer:
        return self.status()

    def replay(self, args: ReplayArgs) -> Answer:
        return Answer("OK", {"items": [args.first, args.last]})

    def get_result(self, args: ResultArgs) -> Answer:
        return Answer("NOT_FOUND", {}, args.result_id)

    def accept(self, args: TriggerArgs) -> Ticket | str:
        if self.refusal is not None:
            return self.refusal
        number = self.ledger.counters.triggers + 1
        opened = self.clock_us
        ticket = Ticket(
            number, opened, opened + 5000, new_ulid(), TERMS, args.trigger_id, args.part_id, args.encoder
        )
        self.ledger.open(ticket)
        return ticket

    def start(self) -> Answer:
        return self._do("start")

    def stop(self) -> Answer:
        return self._do("stop")

    def prepare_recipe(self, args: RecipeArgs, request_id: str) -> Answer:
        return self._do(f"prepare_recipe {args.id} {request_id}")

    def clear_fault(self) -> Answer:
        return self._do("clear_fault")

    def simulate(self, args: SimulateArgs) -> Answer:
        return self._do(f"simulate {args.on}")

    def shutdown(self) -> Answer:
        return self._do("shutdown")

    def _do(self, what: str) -> Answer:
        self.done.append(what)
        return Answer(self.refusal or "ACCEPTED")

    def now_us(self) -> int:
        return self.clock_us


class Station:
    """A control at its desk, and the client's end of it."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.control = Control(self.desk, BOOT)

    def raw(self, *frames: bytes) -> dict[str, Any]:
        """The one reply to frames as they are; its envelope is that of the request."""
        request = [PEER, *frames]
        *envelope, body = self.control.answer(request)
        assert envelope == split_envelope(request)[0]
        msgspec.json.decode(body, type=ControlReply)
        reply: dict[str, Any] = json.loads(body)
        assert reply["boot_id"] == BOOT
        return reply

    def ask(self, verb: str, args: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        request = {"p": "ctl/1", "id": "a", "verb": verb, "args": args or {}, **more}
        return self.raw(b"", json.dumps(request).encode())

    @property
    def triggers(self) -> int:
        return self.desk.ledger.counters.triggers


@pytest.fixture
def station() -> Station:
    """Ready, with nothing open."""
    return Station()


def test_status_is_the_desk_s(station: Station) -> None:
    reply = station.ask("status")
    assert (reply["ok"], reply["code"], reply["id"], reply["state"]) == (True, "OK", "a", 6)
    assert reply["result"] == {"inflight": 0}


def test_an_accepted_trigger_names_its_verdict_and_deadline(station: Station) -> None:
    reply = station.ask("trigger", {"trigger_id": 2**32 - 1, "part_id": "SN 1", "encoder": -5})
    assert (reply["ok"], reply["code"]) == (True, "ACCEPTED")
    ticket = next(station.desk.ledger.close_all())
    assert reply["result"] == {"result_id": ticket.result_id, "deadline_us": 5000}
    assert (ticket.trigger_id, ticket.part_id, ticket.encoder) == (2**32 - 1, "SN 1", -5)


@pytest.mark.parametrize("refusal", ["NOT_READY", "OVERRUN", "WRONG_STATE"])
def test_a_refusal_is_said_and_may_be_tried_again(station: Station, refusal: str) -> None:
    station.desk.refusal = refusal
    reply = station.ask("trigger", {"trigger_id": 1})
    assert (reply["ok"], reply["code"], reply["result"]) == (False, refusal, {})
    station.desk.refusal = None
    assert station.ask("trigger", {"trigger_id": 1})["code"] == "ACCEPTED"


def test_the_same_request_again_gets_the_same_reply_and_no_second_inspection(station: Station) -> None:
    first = station.ask("trigger", {"trigger_id": 1}, id="b")
    assert station.ask("trigger", {"trigger_id": 1}, id="b") == first
    assert station.triggers == 1


def test_the_same_trigger_in_another_request_is_a_duplicate(station: Station) -> None:
    first = station.ask("trigger", {"trigger_id": 1}, id="b")
    again = station.ask("trigger", {"trigger_id": 1}, id="c")
    assert (again["ok"], again["code"], again["result"]) == (True, "DUPLICATE", first["result"])
    assert station.triggers == 1


@pytest.mark.parametrize("request_id", ["b", "c"])
@pytest.mark.parametrize("other", [{"part_id": "B"}, {"part_id": "A", "encoder": 7}, {}])
def test_another_part_never_gets_the_verdict_of_the_first_with_its_number(
    station: Station, other: dict[str, Any], request_id: str
) -> None:
    station.ask("trigger", {"trigger_id": 1, "part_id": "A"}, id="b")
    reply = station.ask("trigger", {"trigger_id": 1, **other}, id=request_id)
    assert (reply["ok"], reply["code"], reply["result"]) == (False, "BAD_REQUEST", {})
    assert "expected a new one" in reply["detail"]
    assert station.triggers == 1


def test_a_client_that_never_changes_its_id_still_gets_every_part_inspected(station: Station) -> None:
    replies = [station.ask("trigger", {"trigger_id": n}, id="x") for n in (1, 2, 3)]
    assert [reply["code"] for reply in replies] == ["ACCEPTED"] * 3
    assert station.triggers == 3


def test_a_trigger_number_is_a_new_part_once_the_window_is_over(station: Station) -> None:
    station.ask("trigger", {"trigger_id": 1}, id="b")
    station.desk.clock_us = WINDOW_US - 1
    assert station.ask("trigger", {"trigger_id": 1}, id="c")["code"] == "DUPLICATE"
    station.desk.clock_us = WINDOW_US
    assert station.ask("trigger", {"trigger_id": 1}, id="d")["code"] == "ACCEPTED"
    assert station.triggers == 2


def test_so_many_triggers_are_remembered_and_no_more(station: Station) -> None:
    for number in range(WINDOW + 1):
        station.ask("trigger", {"trigger_id": number}, id="b")
    assert station.ask("trigger", {"trigger_id": 1}, id="c")["code"] == "DUPLICATE"
    assert station.ask("trigger", {"trigger_id": 0}, id="c")["code"] == "ACCEPTED"


VERBS: dict[str, tuple[dict[str, Any], str]] = {
    "start": ({}, "start"),
    "stop": ({}, "stop"),
    "prepare_recipe": ({"id": "carpet"}, "prepare_recipe carpet a"),
    "clear_fault": ({}, "clear_fault"),
    "simulate": ({"on": True}, "simulate True"),
    "shutdown": ({}, "shutdown"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_acts_acts_once_however_often_its_request_comes(station: Station, verb: str) -> None:
    args, done = VERBS[verb]
    first = station.ask(verb, args)
    assert first["code"] == "ACCEPTED"
    assert station.ask(verb, args) == first
    assert station.desk.done == [done]
    station.desk.clock_us += WINDOW_US
    station.ask(verb, args)
    assert station.desk.done == [done, done]


@pytest.mark.parametrize("verb", VERBS)
def test_what_was_refused_is_tried_again_by_the_same_request(station: Station, verb: str) -> None:
    station.desk.refusal = "WRONG_STATE"
    assert station.ask(verb, VERBS[verb][0])["code"] == "WRONG_STATE"
    station.desk.refusal = None
    assert station.ask(verb, VERBS[verb][0])["ok"]


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("replay", {}),
        ("replay", {"from": 0, "to": 1}),
        ("replay", {"from": 1, "to": 2**53}),
        ("get_result", {"result_id": "x"}),
        ("prepare_recipe", {}),
        ("prepare_recipe", {"id": "../carpet"}),
        ("prepare_recipe", {"id": "a/b"}),
        ("prepare_recipe", {"id": "carpet", "sha256": "AB"}),
        ("simulate", {}),
        ("simulate", {"on": "yes"}),
    ],
)
def test_arguments_that_a_verb_does_not_take_reach_nobody(
    station: Station, verb: str, args: dict[str, Any]
) -> None:
    assert station.ask(verb, args)["code"] == "BAD_REQUEST"
    assert station.desk.done == []


def test_hello_names_every_verb_and_the_limits(station: Station) -> None:
    result = station.ask("hello")["result"]
    reads = {"hello", "status", "snapshot", "replay", "get_result", "trigger"}
    assert set(result["verbs"]) == reads | set(VERBS)
    assert (result["protocol"], result["line"]) == ("ctl/1", "l")
    assert result["limits"] == {"request_bytes": MAX_BYTES, "replay_items": 100, "retry_s": 60}


def test_replay_and_get_result_ask_the_desk(station: Station) -> None:
    assert station.ask("replay", {"from": 3, "to": 7})["result"] == {"items": [3, 7]}
    name = new_ulid()
    reply = station.ask("get_result", {"result_id": name})
    assert (reply["ok"], reply["code"], reply["detail"]) == (False, "NOT_FOUND", name)


def test_an_unknown_verb_is_told_the_known_ones(station: Station) -> None:
    reply = station.ask("halt")
    assert (reply["ok"], reply["code"], reply["id"]) == (False, "UNKNOWN_VERB", "a")
    assert reply["detail"].startswith("expected one of clear_fault, get_result, hello")


def test_if_state_refuses_in_every_other_state(station: Station) -> None:
    assert station.ask("stop", if_state="Ready")["code"] == "ACCEPTED"
    reply = station.ask("stop", if_state="Halted")
    assert (reply["ok"], reply["code"], reply["detail"]) == (False, "WRONG_STATE", "state is Ready")
    assert station.desk.done == ["stop"]


def test_a_retry_is_answered_though_state_and_age_have_changed_since(station: Station) -> None:
    more = {"if_state": "Ready", "t_sent_us": time.time_ns() // 1000 - 10_000, "ttl_ms": 60_000}
    first = station.ask("trigger", {"trigger_id": 1}, **more)
    assert first["code"] == "ACCEPTED"
    station.desk.state = State.SINGLE_EXECUTION
    again = station.ask("trigger", {"trigger_id": 1}, **{**more, "ttl_ms": 1})
    assert (again["code"], again["result"]) == ("ACCEPTED", first["result"])
    assert station.triggers == 1


@pytest.mark.parametrize(
    ("age_ms", "ttl_ms", "code"),
    [(2000, 1000, "EXPIRED"), (2000, 60_000, "ACCEPTED"), (2000, None, "ACCEPTED"), (-60_000, 0, "ACCEPTED")],
)
def test_a_request_that_travelled_too_long_does_nothing(
    station: Station, age_ms: int, ttl_ms: int | None, code: str
) -> None:
    sent_us = time.time_ns() // 1000 - 1000 * age_ms
    reply = station.ask("trigger", {"trigger_id": 1}, t_sent_us=sent_us, ttl_ms=ttl_ms)
    assert (reply["code"], reply["id"]) == (code, "a")
    assert station.triggers == (code == "ACCEPTED")


def test_without_the_time_it_was_sent_no_request_expires(station: Station) -> None:
    assert station.ask("trigger", {"trigger_id": 1}, ttl_ms=0)["ok"]


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"trigger_id": -1},
        {"trigger_id": 2**32},
        {"trigger_id": 1.5},
        {"trigger_id": "1"},
        {"trigger_id": None},
        {"trigger_id": True},
        {"trigger_id": 1, "part_id": ""},
        {"trigger_id": 1, "part_id": "x" * 65},
        {"trigger_id": 1, "part_id": "stra\u00dfe"},
        {"trigger_id": 1, "part_id": "a\nb"},
        {"trigger_id": 1, "part_id": 7},
        {"trigger_id": 1, "encoder": 2**53},
        {"trigger_id": 1, "encoder": -(2**53)},
    ],
)
def test_arguments_out_of_range_are_a_bad_request_under_its_id(
    station: Station, args: dict[str, Any]
) -> None:
    reply = station.ask("trigger", args)
    assert (reply["ok"], reply["code"], reply["id"]) == (False, "BAD_REQUEST", "a")
    assert reply["detail"]
    assert station.triggers == 0


DEEP = b"[" * 30_000 + b"]" * 30_000

MALFORMED = {
    "no JSON": b"\xff\xfe\x00",
    "nothing": b"",
    "cut off": b'{"p": "ctl/1", "id": "a", "ver',
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "another protocol": b'{"p": "ctl/2", "id": "a", "verb": "status"}',
    "no protocol": b'{"id": "a", "verb": "status"}',
    "no id": b'{"p": "ctl/1", "verb": "status"}',
    "an empty id": b'{"p": "ctl/1", "id": "", "verb": "status"}',
    "a long id": b'{"p": "ctl/1", "id": "%s", "verb": "status"}' % (b"x" * 65),
    "a number as id": b'{"p": "ctl/1", "id": 7, "verb": "status"}',
    "no verb": b'{"p": "ctl/1", "id": "a"}',
    "args that are a list": b'{"p": "ctl/1", "id": "a", "verb": "status", "args": []}',
    "a negative ttl": b'{"p": "ctl/1", "id": "a", "verb": "status", "ttl_ms": -1}',
    "invalid UTF-8 inside": b'{"p": "ctl/1", "id": "\xff", "verb": "status"}',
    "NaN": b'{"p": "ctl/1", "id": "a", "verb": "status", "args": {"x": NaN}}',
    "deep": DEEP,
    "deep inside": b'{"p": "ctl/1", "id": "a", "verb": "status", "args": {"x": %s}}' % DEEP,
    "too long": b'{"p": "ctl/1", "id": "a", "verb": "status", "args": {"x": "%s"}}' % (b"x" * MAX_BYTES),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=list(MALFORMED))
def test_what_cannot_be_read_is_a_bad_request_without_id(station: Station, body: bytes) -> None:
    reply = station.raw(b"", body)
    assert (reply["ok"], reply["code"], reply["id"], reply["result"]) == (False, "BAD_REQUEST", None, {})
    assert reply["detail"]
    assert station.ask("status")["ok"]


def test_a_request_of_just_the_greatest_length_is_read(station: Station) -> None:
    head, tail = b'{"p": "ctl/1", "id": "a", "verb": "status", "args": {"x": "', b'"}}'
    longest = head + b"x" * (MAX_BYTES - len(head) - len(tail)) + tail
    assert station.raw(b"", longest)["ok"]
    assert (
        station.raw(b"", longest + b" ")["detail"]
        == f"request has {MAX_BYTES + 1} bytes; expected at most 65536"
    )


STATUS = b'{"p": "ctl/1", "id": "a", "verb": "status"}'


@pytest.mark.parametrize(
    ("frames", "read"),
    [
        ([STATUS], True),  # a bare DEALER
        ([b"", STATUS], True),  # REQ
        ([b"\0\0\0\1", b"", STATUS], True),  # REQ with correlation
        ([], False),
        ([b""], False),
        ([b"", STATUS, STATUS], False),
        ([b"", b"", STATUS], False),
        ([b"", STATUS, b""], False),
        ([STATUS, STATUS], False),
        ([b"x"] * 10, False),
    ],
)
def test_each_kind_of_client_gets_its_envelope_back(
    station: Station, frames: list[bytes], read: bool
) -> None:
    reply = station.raw(*frames)
    assert (reply["ok"], reply["id"]) == ((True, "a") if read else (False, None))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["p", "id", "verb", "args", "if_state", "ttl_ms", "t_sent_us"])
VALUES = JSON | st.sampled_from(["ctl/1", "status", "trigger", "a", *VERBS])


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_frames_get_one_reply(frames: list[bytes]) -> None:
    assert Station().raw(*frames)["code"] == "BAD_REQUEST"


@given(st.dictionaries(KEYS, VALUES))
def test_any_object_gets_one_reply(request: dict[str, Any]) -> None:
    body = json.dumps({"p": "ctl/1", "id": "a", "verb": "trigger", **request}).encode()
    station = Station()
    reply = station.raw(b"", body)
    assert reply["ok"] or not station.triggers


@given(JSON)
def test_any_arguments_get_one_reply(args: Any) -> None:
    station = Station()
    body = json.dumps({"p": "ctl/1", "id": "a", "verb": "trigger", "args": args}).encode()
    assert station.raw(b"", body)["ok"] == bool(station.triggers)


BODY = (
    st.binary(max_size=300)
    | st.sampled_from([*MALFORMED.values(), STATUS])
    | st.integers(1, 1 << 18).map(lambda size: b"[" * size)
)


def test_whatever_frames_come_the_bus_goes_on_and_each_request_has_its_reply(
    launch: Callable[..., tuple[Pipeline, Witness]],
) -> None:
    pipeline, witness = launch(lambda: SyntheticSource(WEB), lambda: ScriptedDetector([0.5]))
    assert pipeline.wait_ready(30)
    numbers = itertools.count(1)
    with zmq.Context() as context, context.socket(zmq.DEALER) as vandal, context.socket(zmq.REQ) as polite:
        for client in (vandal, polite):
            client.setsockopt(zmq.LINGER, 0)
            client.connect(pipeline.endpoints[1])
        polite.setsockopt(zmq.REQ_CORRELATE, 1)

        @settings(max_examples=60)
        @given(st.lists(BODY, max_size=10))
        def fuzz(frames: list[bytes]) -> None:
            vandal.send_multipart(frames or [b""])
            number = next(numbers)
            assert witness.trigger(number)["code"] == "ACCEPTED"
            assert witness.hear_verdicts(number)[-1]["trigger_id"] == number
            assert vandal.poll(10_000)
            json.loads(vandal.recv_multipart()[-1])
            polite.send(STATUS)
            assert polite.poll(10_000)
            assert json.loads(polite.recv())["ok"]

        fuzz()
        assert not vandal.poll(0)


@pytest.mark.parametrize("noise", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 9 + b"\x7f", b"\0" * 100_000])
def test_what_speaks_no_zeromq_disturbs_no_part(
    launch: Callable[..., tuple[Pipeline, Witness]], noise: bytes
) -> None:
    pipeline, witness = launch(lambda: SyntheticSource(WEB), lambda: ScriptedDetector([0.5]))
    assert pipeline.wait_ready(30)
    for endpoint in pipeline.endpoints:
        with socket.create_connection(("127.0.0.1", int(endpoint.rsplit(":", 1)[1]))) as stranger:
            with contextlib.suppress(OSError):
                stranger.sendall(noise)
            number = len(witness.verdicts) + 1
            assert witness.trigger(number)["ok"]
            assert witness.hear_verdicts(number)[-1]["trigger_id"] == number


def test_garbage_on_the_control_socket_disturbs_no_part(
    launch: Callable[..., tuple[Pipeline, Witness]],
) -> None:
    pipeline, witness = launch(lambda: SyntheticSource(WEB), lambda: ScriptedDetector([0.5]))
    assert pipeline.wait_ready(30)
    with zmq.Context() as context, context.socket(zmq.DEALER) as vandal:
        vandal.setsockopt(zmq.LINGER, 0)
        vandal.connect(pipeline.endpoints[1])
        for number in range(1, 31):
            for body in MALFORMED.values():
                vandal.send_multipart([b"", body] if number % 2 else [body] * (number % 10 + 1))
            assert witness.trigger(number)["code"] == "ACCEPTED"
            assert len(witness.hear_verdicts(number)) == number
        vandal.send_multipart([b"", STATUS])
        replies = 0
        while True:  # one reply to each, in order
            assert vandal.poll(10_000)
            reply = json.loads(vandal.recv_multipart()[-1])
            replies += 1
            if reply["ok"]:
                break
        assert replies == 30 * len(MALFORMED) + 1
    assert [v["trigger_id"] for v in witness.verdicts] == list(range(1, 31))


def test_a_fault_inside_a_verb_costs_one_answer_and_not_the_line(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(args: ResultArgs) -> Answer:
        raise OSError("the disk is gone")

    monkeypatch.setattr(station.desk, "get_result", broken)
    reply = station.ask("get_result", {"result_id": new_ulid()})
    assert (reply["ok"], reply["code"], reply["detail"]) == (False, "INTERNAL", "OSError: the disk is gone")
    assert station.ask("status")["ok"]
