"""Reporter and clerk on a real bus: every ticket is answered once, in words the line can believe."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest

from runtime.bus.client import Client
from runtime.bus.sockets import Bus
from runtime.bus.wire import schemas
from runtime.frame import Frame, FramePool
from runtime.ids import new_ulid
from runtime.ledger import Ledger
from runtime.settings import Settings
from runtime.sink import CollectSink, View
from runtime.state import State
from runtime.terms import Terms, Thresholds
from runtime.threads.clerk import Clerk
from runtime.threads.deliver import Sinks
from runtime.threads.notes import Result
from runtime.threads.reporter import CLOCK_MEMORY_US, CLOCK_STEP_US, ClockWatch, Reporter
from runtime.ticket import Ticket, now_us
from runtime.verdict import Outcome, Verdict

ANY = "tcp://127.0.0.1:*"
WAIT_MS = 10_000
FAR_US = 60_000_000
"""A deadline that is not reached."""


class Desk:
    """A clerk with everything around it, and a client that hears and validates all it says."""

    def __init__(self, settings: Settings) -> None:
        self.bus = Bus(ANY, ANY)
        self.client = Client(*self.bus.endpoints)
        while not self.client.wait_subscribed(10):
            self.bus.wait(0)
        self.ledger = Ledger()
        self.tickets: dict[int, Ticket] = {}
        self.terms = Terms(settings.provenance, Thresholds(1.0, 0.5), FAR_US, 1000)
        self.reporter = Reporter(self.bus, self.ledger, self.terms)
        self.sink = CollectSink()
        self.sinks = Sinks([self.sink], lambda what: None)
        self.clerk = Clerk(self.ledger, self.reporter, self.sinks)
        self.pool = FramePool((4, 6), 2)
        self._schemas = {name: json.loads(data) for name, data in schemas().items()}

    def open(self, number: int = 1, left_us: int = FAR_US) -> Ticket:
        """A ticket with so long to its deadline; below 0: long past."""
        now = now_us()
        ticket = Ticket(number, now - max(0, -left_us) - 1000, now + left_us, new_ulid(), self.terms, number)
        self.tickets[number] = ticket
        self.ledger.open(ticket)
        return ticket

    def frame(self, **changes: Any) -> Frame:
        pixels = self.pool.lease()
        assert pixels is not None
        facts = {"frame_id": 7, "t_mono_us": now_us(), "t_exposure_us": 1, "t_exposure_src": "synthetic"}
        return Frame(pixels=pixels, pool=self.pool, **{**facts, **changes})

    def hear(self, *kinds: str) -> list[dict[str, Any]]:
        """The next messages, which must be of these kinds and fit their schemas."""
        bodies = []
        for kind in kinds:
            message = self.client.receive(WAIT_MS)
            assert message is not None
            assert message.kind == kind
            jsonschema.validate(message.body, self._schemas[f"{kind}-1.json"])
            bodies.append(message.body)
        return bodies

    def close(self) -> None:
        assert self.client.receive(0) is None, "more was said than the test expected"
        self.client.close()
        self.bus.close()


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    """Nothing open yet; whatever is said must be heard."""
    made = Desk(settings)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("score", "outcome", "reasons"),
    [
        (0.2, "OK", []),
        (0.7, "REVIEW", ["SCORE_OVER_THRESHOLD"]),
        (1.0, "NG", ["SCORE_OVER_THRESHOLD"]),
        (math.nan, "INVALID", ["NON_FINITE_SCORE"]),
    ],
)
def test_a_score_becomes_a_verdict_on_the_bus_and_at_the_sinks(
    desk: Desk, score: float, outcome: str, reasons: list[str]
) -> None:
    ticket = desk.open()
    desk.clerk.settle(Result(desk.tickets[1], score=score, frame=desk.frame()))
    (said,) = desk.hear("verdict")
    assert (said["verdict"], said["reasons"], said["seq"]) == (outcome, reasons, 1)
    assert (said["result_id"], said["trigger_id"]) == (ticket.result_id, 1)
    assert said["image"] == {
        "w": 6, "h": 4, "channels": 1, "frame_id": 7, "camera_id": "camera", "sha256": None,
    }  # fmt: skip
    assert desk.sinks.close()
    (kept,) = desk.sink.verdicts
    assert (kept.outcome.name, kept.ticket) == (outcome, ticket)
    assert said["counters"][outcome.lower()] == said["counters"]["triggers"] == 1


def test_a_frame_goes_back_to_its_pool_once_it_is_judged(desk: Desk) -> None:
    for number in (1, 2, 3):
        desk.open(number)
        desk.clerk.settle(Result(desk.tickets[number], frame=desk.frame()))
        desk.hear("verdict")


def test_a_reason_without_a_score_is_invalid_and_keeps_every_reason(desk: Desk) -> None:
    desk.open()
    desk.clerk.settle(Result(desk.tickets[1], reasons=("TOO_DARK", "OUT_OF_FOCUS"), frame=desk.frame()))
    (said,) = desk.hear("verdict")
    assert (said["verdict"], said["reasons"]) == ("INVALID", ["TOO_DARK", "OUT_OF_FOCUS"])
    assert (said["score"], said["pred_score"]) == (None, None)


def test_a_result_after_its_deadline_is_an_event_and_the_verdict_is_invalid(desk: Desk) -> None:
    ticket = desk.open(left_us=-1)
    desk.clerk.settle(Result(desk.tickets[1], score=0.2, frame=desk.frame()))
    event, said = desk.hear("event", "verdict")
    assert (event["event"], event["score"], event["result_id"]) == ("late_result", 0.2, ticket.result_id)
    assert event["detail"] == "ticket 1 would have been OK"
    assert (said["verdict"], said["reasons"], said["late"]) == ("INVALID", ["DEADLINE_MISSED"], True)
    assert said["lat_us"]["total"] > said["deadline_us"]


def test_a_fault_known_before_the_deadline_stays_the_first_reason(desk: Desk) -> None:
    desk.open(left_us=-1)
    desk.clerk.settle(Result(desk.tickets[1], reasons=("NO_FRAME",)))
    (said,) = desk.hear("verdict")
    assert (said["reasons"], said["image"]) == (["NO_FRAME", "DEADLINE_MISSED"], None)


def test_the_timer_answers_and_the_result_that_comes_later_is_told_but_changes_nothing(desk: Desk) -> None:
    desk.open(left_us=-1)
    desk.open(2)
    desk.clerk.close_due()
    (said,) = desk.hear("verdict")
    assert (said["trigger_id"], said["reasons"]) == (1, ["DEADLINE_MISSED"])
    desk.clerk.settle(Result(desk.tickets[1], score=0.2, frame=desk.frame()))
    (event,) = desk.hear("event")
    assert event["event"] == "late_result"
    desk.clerk.close_due()
    assert desk.ledger.inflight == 1
    assert desk.reporter.seq == 1


def test_a_drop_notice_for_a_ticket_already_answered_is_silent(desk: Desk) -> None:
    desk.open(left_us=-1)
    desk.clerk.close_due()
    desk.clerk.settle(Result(desk.tickets[1], reasons=("QUEUE_FULL",), frame=desk.frame()))
    desk.hear("verdict")


def test_whatever_is_open_can_be_answered_at_once_with_totals_that_fit_each_verdict(desk: Desk) -> None:
    for number in (1, 2, 3):
        desk.open(number)
    desk.clerk.close_all("STOPPING")
    said = desk.hear("verdict", "verdict", "verdict")
    assert [(v["trigger_id"], v["seq"], v["counters"]["invalid"]) for v in said] == [
        (1, 1, 1),
        (2, 2, 2),
        (3, 3, 3),
    ]
    assert {tuple(v["reasons"]) for v in said} == {("STOPPING",)}


def test_a_frame_with_facts_that_cannot_be_sent_is_invalid_and_the_run_goes_on(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.open(1)
    desk.clerk.settle(Result(desk.tickets[1], frame=desk.frame(t_exposure_us=2**60)))
    (said,) = desk.hear("verdict")
    assert (said["verdict"], said["reasons"], said["image"]) == ("INVALID", ["WRONG_FORMAT"], None)
    assert "expected numbers within" in caplog.text


@pytest.mark.parametrize("span", ["3", 1.5j, 2**70, -1])
def test_a_verdict_that_cannot_be_encoded_is_invalid_and_the_run_goes_on(
    desk: Desk, span: Any, caplog: pytest.LogCaptureFixture
) -> None:
    desk.open(1)
    desk.open(2)
    desk.clerk.settle(Result(desk.tickets[1], frame=desk.frame(), stage_us={"pre": span}))
    desk.clerk.settle(Result(desk.tickets[2], frame=desk.frame()))
    unsaid, said = desk.hear("verdict", "verdict")
    assert (unsaid["verdict"], unsaid["reasons"], unsaid["seq"]) == ("INVALID", ["INFER_FAILED"], 1)
    assert (said["verdict"], said["seq"]) == ("OK", 2)
    counters = said["counters"]
    assert (counters["triggers"], counters["ok"], counters["invalid"]) == (2, 1, 1)
    assert desk.ledger.inflight == 0
    assert "cannot be sent" in caplog.text


def test_spans_of_the_stages_are_those_between_the_moments(desk: Desk) -> None:
    ticket = desk.open()
    taken = ticket.opened_us + 10
    frame = desk.frame(t_mono_us=taken + 20)
    stages = {"pre": 1, "infer": 2, "post": 3}
    desk.clerk.settle(
        Result(
            desk.tickets[1],
            frame=frame,
            taken_us=taken,
            ready_us=taken + 20,
            begun_us=taken + 50,
            done_us=taken + 60,
            stage_us=stages,
        )
    )
    (said,) = desk.hear("verdict")
    lat = said["lat_us"]
    assert {k: lat[k] for k in ("wait", "acquire", "queue", "pre", "infer", "post")} == {
        "wait": 10, "acquire": 20, "queue": 30, "pre": 1, "infer": 2, "post": 3,
    }  # fmt: skip
    assert lat["total"] == lat["publish"] + 70


def test_moments_out_of_order_between_threads_give_no_negative_span(desk: Desk) -> None:
    ticket = desk.open()
    frame = desk.frame(t_mono_us=ticket.opened_us - 5)
    desk.clerk.settle(
        Result(desk.tickets[1], frame=frame, taken_us=ticket.opened_us, begun_us=ticket.opened_us)
    )
    (said,) = desk.hear("verdict")
    assert (said["lat_us"]["wait"], said["lat_us"]["acquire"]) == (0, 0)


def test_a_part_dropped_for_want_of_room_shows_in_the_health(desk: Desk) -> None:
    desk.open()
    desk.clerk.settle(Result(desk.tickets[1], reasons=("QUEUE_FULL",), frame=desk.frame()))
    (said,) = desk.hear("verdict")
    assert said["health"] == {"level": "degraded", "flags": ["SIMULATED", "QUEUE_PRESSURE"]}


class Broken:
    """A sink that fails."""

    wants_maps = False

    def send(self, verdict: Verdict, view: View) -> None:
        raise OSError("disk full")

    def close(self) -> None:
        raise OSError("disk full")


def test_a_failing_sink_neither_costs_a_verdict_nor_keeps_it_from_the_next_sink(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    collected = CollectSink()
    sinks = Sinks([Broken(), collected], told.append)
    clerk = Clerk(desk.ledger, desk.reporter, sinks)
    desk.open(1)
    desk.open(2)
    clerk.settle(Result(desk.tickets[1], frame=desk.frame()))
    clerk.settle(Result(desk.tickets[2], frame=desk.frame()))
    desk.hear("verdict", "verdict")
    assert sinks.close()
    assert sinks.failed
    assert [verdict.outcome for verdict in collected.verdicts] == [Outcome.OK, Outcome.OK]
    assert told == ["sink Broken failed"]  # once, not per part
    assert "disk full" in caplog.text


def test_a_change_of_state_names_its_cause_and_number(desk: Desk) -> None:
    desk.reporter.move(State.READY, "STARTED")
    desk.reporter.move(State.PREOPERATIONAL, "CAMERA_LOST")
    started, lost = desk.hear("state", "state")
    assert (started["from"], started["to"], started["cause"], started["code"]) == (1, 6, "STARTED", 0)
    assert (lost["from"], lost["to"], lost["cause"], lost["code"]) == (6, 1, "CAMERA_LOST", 1002)
    with pytest.raises(ValueError, match="cannot become"):
        desk.reporter.move(State.SINGLE_EXECUTION, "TRIGGER")


def test_a_heartbeat_knows_the_last_verdict_what_is_open_and_the_headroom(desk: Desk) -> None:
    desk.reporter.heartbeat(0)
    (first,) = desk.hear("hb")
    assert (first["head_seq"], first["last_frame_age_us"], first["deadline_headroom_us"]) == (0, None, None)
    desk.open(1)
    desk.open(2)
    desk.clerk.settle(Result(desk.tickets[1], frame=desk.frame()))
    (said,) = desk.hear("verdict")
    desk.reporter.heartbeat(3)
    (beat,) = desk.hear("hb")
    assert (beat["head_seq"], beat["inflight"], beat["queue_depth"]) == (1, 1, 3)
    assert beat["deadline_headroom_us"] == said["deadline_us"] - said["lat_us"]["total"]
    assert beat["last_frame_age_us"] >= 0
    assert beat["boot_id"] == first["boot_id"]
    assert beat["uptime_us"] >= first["uptime_us"]


def test_status_says_what_a_heartbeat_says_and_more(desk: Desk) -> None:
    desk.open()
    status = desk.reporter.status()
    assert (status["line"], status["state"], status["inflight"]) == ("line", 1, 1)
    assert status["deadline_us"] == FAR_US
    assert status["counters"]["triggers"] == 1
    assert (status["recipe"]["id"], status["engine"]["backend"]) == ("r", "scripted")


def stepping(offsets_us: list[int]) -> Callable[[], int]:
    """A wall clock whose distance to the monotonic one takes these values."""
    steps = iter(offsets_us)
    return lambda: next(steps)


def test_a_step_of_the_wall_clock_is_remembered_for_a_minute() -> None:
    step_us = CLOCK_STEP_US + 1
    watch = ClockWatch(stepping([0, 0, step_us, step_us, step_us]))
    assert watch.ok(0)
    assert not watch.ok(1)
    assert not watch.ok(1 + CLOCK_MEMORY_US)
    assert watch.ok(2 + CLOCK_MEMORY_US)


@pytest.mark.parametrize("direction", [1, -1])
def test_slow_corrections_of_the_wall_clock_are_fine_in_either_direction(direction: int) -> None:
    watch = ClockWatch(stepping([n * direction * CLOCK_STEP_US for n in range(6)]))
    assert all(watch.ok(n) for n in range(5))


def test_two_looks_at_this_machine_s_clock_see_no_step() -> None:
    assert ClockWatch().ok(now_us())
