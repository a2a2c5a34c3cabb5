"""The pipeline as a whole: every trigger ends in exactly one verdict, whatever goes wrong on its way.

Real threads, channels and sockets. The witness of `launch` checks each message; the tests wait on messages
and events, never for a while.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from runtime.bus.witness import Witness
from runtime.channel import Policy
from runtime.errors import DetectorError, EngineError, PipelineError, SourceEnd, SourceLost, SourceTimeout
from runtime.frame import Frame
from runtime.ids import new_ulid
from runtime.pipeline import Pipeline
from runtime.scripted import ScriptedDetector, Step, scripted_terms
from runtime.sink import CollectSink, View
from runtime.sources import FaultySource, SyntheticConfig, SyntheticSource
from runtime.sources.faulty import Fault
from runtime.state import State
from runtime.threads.notes import Result
from runtime.ticket import Ticket
from runtime.verdict import Outcome, Verdict

Launch = Callable[..., tuple[Pipeline, Witness]]

WEB = SyntheticConfig(width=64, height=48, rate_hz=None, buffers=16)
WAIT_S = 30.0
SHORT_MS = 300
"""A deadline that is meant to be missed."""
NEVER_MS = 600_000
"""A time that must not be what ends a test."""


def web(*faults: Fault) -> FaultySource:
    return FaultySource(SyntheticSource(WEB), faults)


@dataclass
class Gate:
    """A step of the script that holds the detect thread until the test opens it."""

    score: float = 0.5
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> float:
        self.reached.set()
        assert self.opened.wait(WAIT_S)
        return self.score


def fail(error: BaseException) -> Step:
    def step() -> float:
        raise error

    return step


def launch_script(launch: Launch, *script: Step, **changes: Any) -> tuple[Pipeline, Witness]:
    pipeline, witness = launch(web, lambda: ScriptedDetector(script), **changes)
    assert pipeline.wait_ready(WAIT_S)
    return pipeline, witness


def accepted(witness: Witness, count: int, first: int = 1) -> None:
    for n in range(first, first + count):
        assert witness.trigger(n)["code"] == "ACCEPTED"


def one_by_one(witness: Witness, count: int) -> list[dict[str, Any]]:
    """Triggers and awaits `count` parts, each before the next."""
    for n in range(1, count + 1):
        accepted(witness, 1, n)
        assert len(witness.hear_verdicts(n)) == n
    return witness.verdicts


def finish(pipeline: Pipeline, witness: Witness) -> None:
    """A clean end: Halted, and the books are in order."""
    pipeline.stop()
    assert pipeline.join(WAIT_S)
    assert witness.hear_end()
    assert pipeline.state is State.HALTED
    assert witness.account(pipeline.counters()) == []


def fails(
    pipeline: Pipeline,
    witness: Witness,
    kind: type[Exception] | tuple[type[Exception], ...],
    match: str | None = None,
) -> None:
    """An end by a fault: `join` raises it, the state is Error, and the books are in order all the same."""
    with pytest.raises(kind, match=match):
        pipeline.join(WAIT_S)
    assert witness.hear_end()
    assert pipeline.state is State.ERROR
    assert witness.account(pipeline.counters()) == []


def outcomes(witness: Witness) -> list[str]:
    return [verdict["verdict"] for verdict in witness.verdicts]


def reasons(witness: Witness) -> list[str]:
    return [" ".join(verdict["reasons"]) for verdict in witness.verdicts]


# What is normal.


def test_every_trigger_gets_its_verdict_in_order(launch: Launch) -> None:
    sink = CollectSink()
    pipeline, witness = launch_script(launch, 0.5, 2.0, 0.25, sinks=[sink])
    verdicts = one_by_one(witness, 3)
    finish(pipeline, witness)
    assert outcomes(witness) == ["OK", "NG", "OK"]
    assert [v["trigger_id"] for v in verdicts] == [1, 2, 3]
    assert [v["score"] for v in verdicts] == [0.5, 2.0, 0.25]
    assert [v.seq for v in sink.verdicts] == [1, 2, 3]
    assert [(s["to"], s["cause"]) for s in witness.states] == [
        (State.INITIALIZED, "STARTED"),
        (State.READY, "RECIPE_PREPARED"),
        *[(State.SINGLE_EXECUTION, "TRIGGER"), (State.READY, "DONE")] * 3,
        (State.PREOPERATIONAL, "STOPPING"),
        (State.HALTED, "STOPPED"),
    ]


def test_running_free_every_frame_of_the_source_is_a_part(launch: Launch) -> None:
    source = Ending(20)
    pipeline, witness = launch(
        lambda: source, ScriptedDetector, trigger="free_run", policy="wait", stop_timeout_ms=NEVER_MS
    )
    assert pipeline.join(WAIT_S)
    assert witness.hear_end()
    assert witness.account(pipeline.counters()) == []
    assert [v["image"]["frame_id"] for v in witness.verdicts] == list(range(20))
    assert set(outcomes(witness)) == {"OK"}
    assert witness.states[-2]["cause"] == "SOURCE_END"
    assert witness.states[-1]["to"] == State.HALTED


def test_running_free_no_trigger_is_taken(launch: Launch) -> None:
    pipeline, witness = launch(lambda: Ending(10**9), ScriptedDetector, trigger="free_run", policy="wait")
    assert pipeline.wait_ready(WAIT_S)
    assert witness.trigger(1)["code"] == "WRONG_STATE"
    witness.ask("shutdown")
    assert pipeline.join(WAIT_S)
    assert witness.hear_end()
    assert witness.account(pipeline.counters()) == []


def test_a_trigger_before_ready_is_refused_and_owes_nothing(launch: Launch) -> None:
    opened = threading.Event()

    def open_source() -> FaultySource:
        assert opened.wait(WAIT_S)
        return web()

    pipeline, witness = launch(open_source, ScriptedDetector)
    assert witness.trigger(1)["code"] == "NOT_READY"
    opened.set()
    assert pipeline.wait_ready(WAIT_S)
    accepted(witness, 1)
    assert len(witness.hear_verdicts(1)) == 1
    finish(pipeline, witness)


def test_a_trigger_sent_twice_is_one_part(launch: Launch) -> None:
    gate = Gate()
    pipeline, witness = launch_script(launch, gate)
    first, while_open = witness.trigger(7), witness.trigger(7)
    gate.opened.set()
    assert len(witness.hear_verdicts(1)) == 1
    after = witness.trigger(7)
    assert [reply["code"] for reply in (first, while_open, after)] == ["ACCEPTED", "DUPLICATE", "DUPLICATE"]
    assert first["result"] == while_open["result"] == after["result"]
    finish(pipeline, witness)
    assert len(witness.verdicts) == 1


def test_two_stations_live_in_one_process(launch: Launch) -> None:
    gate = Gate()
    held, hears_held = launch_script(launch, gate, deadline_ms=SHORT_MS)
    free, hears_free = launch_script(launch, 0.5)
    accepted(hears_held, 1)
    assert gate.reached.wait(WAIT_S)
    one_by_one(hears_free, 3)
    assert outcomes(hears_free) == ["OK"] * 3
    assert reasons_of(hears_held, 1) == ["DEADLINE_MISSED"]
    gate.opened.set()
    finish(held, hears_held)
    finish(free, hears_free)


def reasons_of(witness: Witness, count: int) -> list[str]:
    """The reasons of the first `count` verdicts, awaited."""
    assert len(witness.hear_verdicts(count)) >= count
    return reasons(witness)


# The detector.


def test_a_frame_that_cannot_be_judged_is_invalid_and_the_run_goes_on(launch: Launch) -> None:
    pipeline, witness = launch_script(launch, 0.5, fail(DetectorError("no")), 2.0)
    one_by_one(witness, 3)
    finish(pipeline, witness)
    assert outcomes(witness) == ["OK", "INVALID", "NG"]
    assert reasons(witness)[1] == "INFER_FAILED"


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, -0.5])
def test_a_score_that_is_no_score_is_invalid(launch: Launch, score: float) -> None:
    pipeline, witness = launch_script(launch, score, 0.5)
    one_by_one(witness, 2)
    finish(pipeline, witness)
    assert outcomes(witness) == ["INVALID", "OK"]
    assert reasons(witness)[0] == "NON_FINITE_SCORE"
    assert witness.verdicts[0]["score"] is None


def test_while_the_detector_hangs_every_part_is_answered_at_its_deadline(launch: Launch) -> None:
    gate = Gate(score=0.25)
    pipeline, witness = launch_script(launch, gate, 0.5, deadline_ms=SHORT_MS)
    accepted(witness, 3)
    assert reasons_of(witness, 3) == ["DEADLINE_MISSED"] * 3
    assert not gate.opened.is_set()  # answered while it still hangs
    gate.opened.set()
    assert witness.hear(lambda: bool(witness.events))
    late = witness.events[0]
    assert (late["event"], late["score"]) == ("late_result", 0.25)
    assert late["detail"] == "ticket 1 would have been OK"
    finish(pipeline, witness)
    assert outcomes(witness) == ["INVALID"] * 3


def test_a_detector_that_stays_hung_is_left_behind_and_said_so(launch: Launch) -> None:
    gate = Gate()
    pipeline, witness = launch_script(launch, gate, stop_timeout_ms=200, policy="wait", queue=1)
    # With detection, in the queue, and in the hands of capture, which waits for room.
    for n in range(1, 4):
        assert poll(lambda: witness.trigger(n)["ok"])  # noqa: B023
    assert gate.reached.wait(WAIT_S)
    pipeline.stop()
    fails(pipeline, witness, PipelineError, "thread detect did not end in time")
    gate.opened.set()
    assert reasons(witness) == ["STOPPING"] * 3
    assert [event["event"] for event in witness.events] == ["thread_hung"]


# The queue.


@pytest.mark.parametrize(("policy", "lost"), [("drop_oldest", [2, 3]), ("drop_latest", [4, 5]), ("wait", [])])
def test_what_a_full_queue_drops_is_answered_and_the_rest_is_judged(
    launch: Launch, policy: Policy, lost: list[int]
) -> None:
    gate = Gate()
    pipeline, witness = launch_script(launch, gate, policy=policy, queue=2)
    accepted(witness, 1)
    assert gate.reached.wait(WAIT_S)
    for n in range(2, 6):  # two fit; each is with the queue or answered before the next one comes
        accepted(witness, 1, n)
        dropped = max(0, n - 3) if lost else 0
        assert len(witness.hear_verdicts(dropped)) == dropped
        waiting = min(n - 1, 2)
        assert poll(lambda: witness.status()["queue_depth"] == waiting)  # noqa: B023
    gate.opened.set()
    assert len(witness.hear_verdicts(5)) == 5
    finish(pipeline, witness)
    full = [v["trigger_id"] for v in witness.verdicts if v["reasons"] == ["QUEUE_FULL"]]
    assert full == lost
    assert outcomes(witness).count("OK") == 5 - len(lost)


def poll(condition: Callable[[], bool]) -> bool:
    """Whether a condition that is asked over the wire comes true."""
    return any(condition() for _ in range(10_000))


def test_a_trigger_that_finds_no_room_is_refused_and_counted(launch: Launch) -> None:
    gate = Gate()
    pipeline, witness = launch_script(launch, gate, policy="wait", queue=1)
    codes = [witness.trigger(n)["code"] for n in range(1, 20)]
    assert gate.reached.wait(WAIT_S)
    # In detection, in the queue of frames, in capture's hands, in the queue of triggers: four at most.
    assert 1 <= codes.count("ACCEPTED") <= 4
    assert codes.count("OVERRUN") == 19 - codes.count("ACCEPTED")
    assert "QUEUE_PRESSURE" in witness.status()["health"]["flags"]
    gate.opened.set()
    finish(pipeline, witness)
    assert pipeline.counters().overrun == codes.count("OVERRUN")


# The source.


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("timeout", "NO_FRAME"),
        ("incomplete", "INCOMPLETE_FRAME"),
        ("format", "WRONG_FORMAT"),
        ("decode", "DECODE_ERROR"),
        ("lost", "CAMERA_LOST"),
    ],
)
def test_a_part_without_a_good_frame_is_invalid_and_says_why(launch: Launch, kind: Any, reason: str) -> None:
    sources = iter([web(Fault(frame=1, kind=kind)), web()])
    pipeline, witness = launch(lambda: next(sources), ScriptedDetector)
    assert pipeline.wait_ready(WAIT_S)
    one_by_one(witness, 2)
    if kind == "lost":
        assert witness.hear(lambda: witness.states[-1]["cause"] == "CAMERA_BACK")
        assert [event["event"] for event in witness.events] == ["camera_lost", "camera_back"]
    accepted(witness, 1, 3)
    assert len(witness.hear_verdicts(3)) == 3
    finish(pipeline, witness)
    assert outcomes(witness) == ["OK", "INVALID", "OK"]
    assert reasons(witness)[1] == reason
    assert witness.verdicts[1]["image"] is None


def test_a_part_that_gets_no_frame_is_answered_at_the_frame_timeout(launch: Launch) -> None:
    pipeline, witness = launch(Dark, ScriptedDetector, frame_timeout_ms=SHORT_MS)
    assert pipeline.wait_ready(WAIT_S)
    one_by_one(witness, 1)
    finish(pipeline, witness)
    verdict = witness.verdicts[0]
    assert verdict["reasons"] == ["NO_FRAME"]
    # A read is given whole milliseconds, rounded down.
    assert 1000 * (SHORT_MS - 1) <= verdict["lat_us"]["total"] < verdict["deadline_us"]
    assert not verdict["late"]


def test_while_the_source_hangs_every_part_is_answered_at_its_deadline(launch: Launch) -> None:
    source = web(Fault(frame=0, kind="hang", seconds=WAIT_S))
    pipeline, witness = launch(lambda: source, ScriptedDetector, deadline_ms=SHORT_MS)
    assert pipeline.wait_ready(WAIT_S)
    accepted(witness, 2)
    assert reasons_of(witness, 2) == ["DEADLINE_MISSED"] * 2
    source.close()  # ends the hang
    finish(pipeline, witness)


def test_a_source_that_hangs_at_the_stop_is_left_behind_and_said_so(launch: Launch) -> None:
    source = web(Fault(frame=0, kind="hang", seconds=WAIT_S))
    pipeline, witness = launch(lambda: source, ScriptedDetector, stop_timeout_ms=200)
    assert pipeline.wait_ready(WAIT_S)
    accepted(witness, 2)
    pipeline.stop()
    fails(pipeline, witness, PipelineError, "thread capture did not end in time")
    source.close()
    assert reasons(witness) == ["STOPPING"] * 2


def test_a_lost_source_is_opened_again_until_the_stop(launch: Launch) -> None:
    tries = threading.Semaphore(0)
    sources = iter([web(Fault(frame=0, kind="lost"))])

    def open_source() -> FaultySource:
        tries.release()
        source = next(sources, None)
        if source is None:
            raise SourceLost("still gone")
        return source

    pipeline, witness = launch(open_source, ScriptedDetector)
    assert pipeline.wait_ready(WAIT_S)
    accepted(witness, 1)
    assert reasons_of(witness, 1) == ["CAMERA_LOST"]
    assert all(tries.acquire(timeout=WAIT_S) for _ in range(3))
    assert witness.trigger(2)["code"] == "NOT_READY"
    assert "CAMERA_LOST" in witness.status()["health"]["flags"]
    finish(pipeline, witness)


def test_a_camera_lost_and_back_while_the_network_loads_gives_no_ready(launch: Launch) -> None:
    """Ready is what the golden images give, never the camera alone."""
    back, loaded = threading.Event(), threading.Event()

    class Glitch(FaultySource):
        """Lost at the first look, unless it was opened again."""

        def check(self) -> None:
            if not again:
                again.append(True)
                raise SourceLost("cable")
            back.set()

    again: list[bool] = []

    def open_detector() -> ScriptedDetector:
        assert loaded.wait(WAIT_S)
        return ScriptedDetector()

    pipeline, witness = launch(lambda: Glitch(SyntheticSource(WEB), ()), open_detector)
    assert back.wait(WAIT_S)
    assert witness.trigger(1)["code"] == "NOT_READY"
    loaded.set()
    assert pipeline.wait_ready(WAIT_S)
    accepted(witness, 1, first=2)
    assert reasons_of(witness, 1) == [""]
    finish(pipeline, witness)


def test_at_the_end_of_the_source_every_accepted_part_is_answered(launch: Launch) -> None:
    source = Ending(1)
    pipeline, witness = launch(lambda: source, ScriptedDetector, stop_timeout_ms=NEVER_MS)
    assert pipeline.wait_ready(WAIT_S)
    one_by_one(witness, 2)
    assert source.closing.wait(WAIT_S)
    accepted(witness, 2, first=3)  # nobody is left to take them up
    source.closed.set()
    assert pipeline.join(WAIT_S)
    assert witness.hear_end()
    assert witness.account(pipeline.counters()) == []
    assert reasons(witness) == ["", "NO_FRAME", "STOPPING", "STOPPING"]


class Dark:
    """A camera that exposes nothing: each read waits as long as it may."""

    shape = (48, 64)

    def trigger(self, encoder: int | None) -> None: ...

    def read(self, timeout_ms: int) -> Frame:
        threading.Event().wait(timeout_ms / 1000)
        raise SourceTimeout(f"no frame within {timeout_ms} ms")

    def close(self) -> None: ...


class Ending(SyntheticSource):
    """A web that ends after some sections; where parts are triggered it closes when the test says so."""

    def __init__(self, sections: int) -> None:
        super().__init__(WEB)
        self._left = sections
        self._triggered = False
        self.closing, self.closed = threading.Event(), threading.Event()

    def trigger(self, encoder: int | None) -> None:
        super().trigger(encoder)
        self._triggered = True

    def close(self) -> None:
        self.closing.set()
        assert not self._triggered or self.closed.wait(WAIT_S)

    def read(self, timeout_ms: int) -> Frame:
        if self._left == 0:
            raise SourceEnd("the web is over")
        self._left -= 1
        return super().read(timeout_ms)


# The sinks.


class BadSink(CollectSink):
    """Takes nothing and cannot be closed."""

    def send(self, verdict: Verdict, view: View) -> None:
        raise OSError("disk full")

    def close(self) -> None:
        raise OSError("disk full")


def test_a_failing_sink_costs_no_verdict_and_no_other_sink(
    launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    good = CollectSink()
    pipeline, witness = launch_script(launch, 0.5, 2.0, sinks=[BadSink(), good])
    one_by_one(witness, 2)
    assert witness.hear(lambda: bool(witness.events))
    assert witness.events[0]["event"] == "sink_failed"
    assert witness.events[0]["detail"] == "sink BadSink failed"
    finish(pipeline, witness)
    assert outcomes(witness) == ["OK", "NG"]
    assert [v.outcome for v in good.verdicts] == [Outcome.OK, Outcome.NG]


class Greedy(CollectSink):
    """Releases frames that are not its own."""

    def send(self, verdict: Verdict, view: View) -> None:
        super().send(verdict, view)
        if view.frame is not None:
            view.frame.release()


def test_a_sink_that_releases_what_is_not_its_own_is_told_of_and_costs_no_verdict(
    launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline, witness = launch_script(launch, 0.5, sinks=[Greedy()])
    one_by_one(witness, 3)
    assert witness.hear(lambda: bool(witness.events))
    assert witness.events[0]["event"] == "sink_failed"
    assert "released twice" in caplog.text
    finish(pipeline, witness)
    assert outcomes(witness) == ["OK"] * 3


class Stuck(CollectSink):
    """Holds its first verdict until the test lets go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.let_go = threading.Event(), threading.Event()

    def send(self, verdict: Verdict, view: View) -> None:
        self.reached.set()
        assert self.let_go.wait(WAIT_S)
        super().send(verdict, view)


def test_a_sink_that_holds_on_delays_no_verdict_and_misses_none(launch: Launch) -> None:
    sink, source = Stuck(), SyntheticSource(WEB)
    pipeline, witness = launch(lambda: source, lambda: ScriptedDetector([0.5]), sinks=[sink])
    assert pipeline.wait_ready(WAIT_S)
    one_by_one(witness, 20)  # more than there are buffers
    assert sink.reached.wait(WAIT_S)
    assert not sink.verdicts
    assert witness.hear(lambda: bool(witness.events))
    assert witness.events[0]["event"] == "sink_failed"
    assert poll(lambda: "SINK" in witness.status()["health"]["flags"])
    sink.let_go.set()
    finish(pipeline, witness)
    assert [v.seq for v in sink.verdicts] == list(range(1, 21))
    assert outcomes(witness) == ["OK"] * 20
    assert all_free(source)


# The stop.


def test_a_stop_finishes_what_is_in_flight(launch: Launch) -> None:
    gate = Gate()
    pipeline, witness = launch_script(launch, gate, queue=4)
    accepted(witness, 4)
    assert gate.reached.wait(WAIT_S)
    witness.ask("shutdown")
    assert witness.trigger(5)["code"] == "NOT_READY"
    gate.opened.set()
    finish(pipeline, witness)
    assert outcomes(witness) == ["OK"] * 4


def test_a_stop_while_opening_ends_without_a_part(launch: Launch) -> None:
    opened = threading.Event()

    def open_detector() -> ScriptedDetector:
        assert opened.wait(WAIT_S)
        return ScriptedDetector()

    pipeline, witness = launch(web, open_detector)
    pipeline.stop()
    assert witness.trigger(1)["code"] == "NOT_READY"
    opened.set()
    assert not pipeline.wait_ready(WAIT_S)
    finish(pipeline, witness)


# Faults of our own.


def test_a_bug_in_detection_ends_the_run_and_every_part_is_invalid(launch: Launch) -> None:
    gate, source = Gate(), SyntheticSource(WEB)
    pipeline, witness = launch(
        lambda: source,
        lambda: ScriptedDetector([gate, fail(ZeroDivisionError("a bug"))]),
        policy="wait",
        queue=1,
        stop_timeout_ms=NEVER_MS,
    )
    assert pipeline.wait_ready(WAIT_S)
    for n in range(1, 5):
        assert poll(lambda: witness.trigger(n)["ok"])  # noqa: B023
    gate.opened.set()
    fails(pipeline, witness, ZeroDivisionError, "a bug")
    assert all_free(source)
    assert outcomes(witness) == ["OK", "INVALID", "INVALID", "INVALID"]
    assert set(reasons(witness)[1:]) == {"INFER_FAILED"}
    # The state goes out before the verdicts that it causes.
    last = witness.states[-1]
    assert (last["to"], last["cause"], last["head_seq"]) == (State.ERROR, "INFER_FAILED", 1)


def test_a_detector_that_ends_its_thread_by_exit_is_a_fault_too(launch: Launch) -> None:
    pipeline, witness = launch_script(launch, fail(SystemExit(3)))
    accepted(witness, 1)
    fails(pipeline, witness, PipelineError, "thread detect was ended by SystemExit")
    assert reasons(witness) == ["INFER_FAILED"]


@pytest.mark.parametrize("score", ["0.5 mm", None])
def test_a_score_that_is_no_number_is_a_fault(launch: Launch, score: Any) -> None:
    pipeline, witness = launch_script(launch, lambda: score)
    accepted(witness, 1)
    fails(pipeline, witness, (TypeError, ValueError))
    assert outcomes(witness) == ["INVALID"]


def test_a_bug_in_capture_ends_the_run_and_every_part_is_invalid(launch: Launch) -> None:
    source = Broken()
    pipeline, witness = launch(lambda: source, ScriptedDetector)
    assert pipeline.wait_ready(WAIT_S)
    accepted(witness, 3)
    source.opened.set()
    fails(pipeline, witness, ZeroDivisionError, "a bug")
    assert reasons(witness) == ["CAMERA_LOST"] * 3
    assert witness.order[-4:] == ["state", "verdict", "verdict", "verdict"]
    assert witness.states[-1]["to"] == State.ERROR


def test_a_bug_in_publishing_ends_the_run_and_every_part_has_one_verdict(launch: Launch) -> None:
    gate, source = Gate(), SyntheticSource(WEB)
    pipeline, witness = launch(lambda: source, lambda: ScriptedDetector([gate]))
    assert pipeline.wait_ready(WAIT_S)
    accepted(witness, 4)
    nobody_s = Ticket(10**6, 0, 0, new_ulid(), scripted_terms())
    pipeline._links.inbox.put(Result(nobody_s, ("NO_FRAME",)))
    gate.opened.set()
    fails(pipeline, witness, ValueError, "was never opened")
    assert len(outcomes(witness)) == 4
    assert all_free(source)


def test_frames_stamped_with_a_time_that_no_message_carries_are_invalid(
    launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    source = Absurd(WEB)
    pipeline, witness = launch(lambda: source, ScriptedDetector)
    assert pipeline.wait_ready(WAIT_S)
    one_by_one(witness, 3)
    finish(pipeline, witness)
    assert reasons(witness) == ["WRONG_FORMAT"] * 3
    assert all_free(source)


@pytest.mark.parametrize("error", [EngineError("no such engine"), MemoryError()])
def test_a_detector_that_does_not_open_is_an_error_before_the_first_part(
    launch: Launch, error: Exception
) -> None:
    def open_detector() -> ScriptedDetector:
        raise error

    pipeline, witness = launch(web, open_detector)
    assert not pipeline.wait_ready(WAIT_S)
    fails(pipeline, witness, type(error))
    assert witness.states[-1]["cause"] == "ENGINE_UNAVAILABLE"


def test_a_source_that_does_not_open_is_an_error_before_the_first_part(launch: Launch) -> None:
    def open_source() -> FaultySource:
        raise SourceLost("no camera 0")

    pipeline, witness = launch(open_source, ScriptedDetector)
    assert not pipeline.wait_ready(WAIT_S)
    fails(pipeline, witness, SourceLost, "no camera 0")
    assert witness.states[-1]["cause"] == "CAMERA_LOST"


class Broken(SyntheticSource):
    """A source with a bug, which it shows when the test says so."""

    def __init__(self) -> None:
        super().__init__(WEB)
        self.opened = threading.Event()

    def read(self, timeout_ms: int) -> Frame:
        assert self.opened.wait(WAIT_S)
        raise ZeroDivisionError("a bug")


class Absurd(SyntheticSource):
    """Stamps its frames with a time that no message can carry."""

    def read(self, timeout_ms: int) -> Frame:
        frame = super().read(timeout_ms)
        frame.t_exposure_us = 2**60
        return frame


def test_no_buffer_is_lost_however_a_frame_ends(launch: Launch) -> None:
    source = SyntheticSource(WEB)
    script: list[Step] = [0.5, 2.0, fail(DetectorError("no")), math.nan]
    pipeline, witness = launch(lambda: source, lambda: ScriptedDetector(script * 10), queue=4)
    assert pipeline.wait_ready(WAIT_S)
    one_by_one(witness, 40)
    finish(pipeline, witness)
    assert all_free(source)


def all_free(source: SyntheticSource) -> bool:
    """Whether every buffer of the source has come back."""
    return all(source._exposures.pool.lease() is not None for _ in range(WEB.buffers))
