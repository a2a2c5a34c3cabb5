"""The verbs of `ctl/1` at a running station: modes, recipes, replay, faults. Real threads and sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from runtime.bus.witness import Witness
from runtime.errors import ConfigError, DetectorError
from runtime.pipeline import Pipeline
from runtime.product import NoSuchRecipe, Product, Wanted, WrongRecipe
from runtime.provenance import RecipeFacts
from runtime.scripted import ScriptedDetector, Step
from runtime.settings import Settings
from runtime.sources import SyntheticConfig, SyntheticSource
from runtime.state import State
from runtime.terms import Thresholds

Launch = Callable[..., tuple[Pipeline, Witness]]

WEB = SyntheticConfig(width=64, height=48, rate_hz=None, buffers=16)
WAIT_S = 30.0


def web() -> SyntheticSource:
    return SyntheticSource(WEB)


def slow_web() -> SyntheticSource:
    return SyntheticSource(SyntheticConfig(width=64, height=48, rate_hz=100, buffers=16))


@dataclass
class Shelf:
    """Recipes by name: what threshold, and a detector that may be held back or broken."""

    settings: Settings
    opened: threading.Event = field(default_factory=threading.Event)
    """Recipes are not open before this is set."""
    script: tuple[Step, ...] = (0.5,)

    def find(self, wanted: Wanted) -> Callable[[], Product]:
        if wanted.id == "absent":
            raise NoSuchRecipe("no recipe absent")
        if wanted.sha256 is not None:
            raise WrongRecipe("it holds something else")
        return lambda: self.load(wanted)

    def load(self, wanted: Wanted) -> Product:
        assert self.opened.wait(WAIT_S)
        if wanted.id == "broken":
            raise ConfigError("broken.yaml: treshold: unknown key")
        if wanted.id == "buggy":
            raise ZeroDivisionError("a bug")
        recipe = RecipeFacts(wanted.id, "2", 2, "1" * 64)
        terms = self.settings.terms
        terms = replace(
            terms, provenance=replace(terms.provenance, recipe=recipe), thresholds=Thresholds(0.1)
        )
        return Product(terms, lambda: ScriptedDetector(self.script), self.warm_up(wanted))

    def warm_up(self, wanted: Wanted) -> Callable[[Any], None]:
        def judge_golden(detector: Any) -> None:
            if wanted.id == "unfit":
                raise DetectorError("selftest: ng.png scores 0.1, not fit to judge")

        return judge_golden


@pytest.fixture
def shelf(settings: Settings) -> Shelf:
    """Every recipe open at once."""
    made = Shelf(settings)
    made.opened.set()
    return made


def ready(
    launch: Launch, source: Callable[[], SyntheticSource] = web, **more: Any
) -> tuple[Pipeline, Witness]:
    pipeline, witness = launch(source, ScriptedDetector, **more)
    assert pipeline.wait_ready(WAIT_S)
    return pipeline, witness


def judge(witness: Witness, *numbers: int) -> list[dict[str, Any]]:
    """Triggers parts one after the other and returns their verdicts."""
    before = len(witness.verdicts)
    for n in numbers:
        assert witness.trigger(n)["code"] == "ACCEPTED"
        assert len(witness.hear_verdicts(len(witness.verdicts) + 1)) == before + 1
        before += 1
    return witness.verdicts[-len(numbers) :]


def state_is(witness: Witness, state: State) -> bool:
    return witness.hear(lambda: bool(witness.states) and witness.states[-1]["to"] == state)


def caused(witness: Witness, cause: str) -> bool:
    """Whether the state changes because of that."""
    return witness.hear(lambda: bool(witness.states) and witness.states[-1]["cause"] == cause)


def event(witness: Witness, name: str) -> dict[str, Any]:
    """The first event of that name, awaited."""
    assert witness.hear(lambda: any(e["event"] == name for e in witness.events))
    return next(e for e in witness.events if e["event"] == name)


# Modes.


def test_start_makes_every_frame_a_part_and_stop_leads_back_to_triggers(launch: Launch) -> None:
    pipeline, witness = ready(launch, slow_web, policy="wait")
    assert [v["trigger_id"] for v in judge(witness, 1, 2)] == [1, 2]
    assert caused(witness, "DONE")
    assert witness.ask("start")["code"] == "ACCEPTED"
    assert witness.trigger(3)["code"] == "WRONG_STATE"
    assert witness.ask("start")["code"] == "WRONG_STATE"
    free = witness.hear_verdicts(7)[2:]
    assert {v["trigger_id"] for v in free} == {None}
    assert witness.status()["trigger"] == "free_run"
    assert witness.ask("stop")["code"] == "ACCEPTED"
    assert caused(witness, "STOP")
    assert witness.trigger(4)["code"] == "ACCEPTED"
    assert witness.hear(lambda: witness.verdicts[-1]["trigger_id"] == 4)
    pipeline.stop()
    assert pipeline.join(WAIT_S)
    assert witness.hear_end()
    assert witness.account(pipeline.counters()) == []


def test_a_station_of_free_run_begins_by_itself_and_may_be_stopped_for_triggers(launch: Launch) -> None:
    _, witness = ready(launch, slow_web, policy="wait", trigger="free_run")
    assert state_is(witness, State.CONTINUOUS_EXECUTION)
    assert [(s["to"], s["cause"]) for s in witness.states[-3:]] == [
        (State.INITIALIZED, "STARTED"),
        (State.READY, "RECIPE_PREPARED"),
        (State.CONTINUOUS_EXECUTION, "START"),
    ]
    witness.ask("stop")
    assert caused(witness, "STOP")
    assert witness.trigger(1)["code"] == "ACCEPTED"


def test_while_parts_are_in_flight_the_state_is_single_execution_and_more_are_taken(launch: Launch) -> None:
    held = threading.Event()

    def hold() -> float:
        assert held.wait(WAIT_S)
        return 0.5

    pipeline, witness = launch(web, lambda: ScriptedDetector([hold]))
    assert pipeline.wait_ready(WAIT_S)
    replies = [witness.trigger(n) for n in (1, 2)]
    assert [(r["code"], r["state"]) for r in replies] == [("ACCEPTED", State.SINGLE_EXECUTION)] * 2
    assert witness.ask("start")["code"] == "WRONG_STATE"
    held.set()
    assert caused(witness, "DONE")
    assert [v["trigger_id"] for v in witness.verdicts] == [1, 2]
    assert [s["to"] for s in witness.states].count(State.SINGLE_EXECUTION) == 1


# Recipes.


def test_a_recipe_is_changed_between_two_triggers_and_the_event_names_the_request(
    launch: Launch, shelf: Shelf
) -> None:
    _, witness = ready(launch, recipes=shelf)
    (before,) = judge(witness, 1)
    reply = witness.ask("prepare_recipe", id="other")
    assert reply["code"] == "ACCEPTED"
    told = event(witness, "recipe_prepared")
    assert (told["request_id"], told["severity"]) == (reply["id"], "info")
    assert witness.status()["recipe"]["no"] == 2
    (after,) = judge(witness, 2)
    assert [(v["recipe"]["id"], v["threshold"], v["verdict"]) for v in (before, after)] == [
        ("r", 1.0, "OK"),
        ("other", 0.1, "NG"),
    ]


def test_while_a_recipe_is_prepared_parts_are_judged_by_the_old_one(launch: Launch, shelf: Shelf) -> None:
    shelf.opened.clear()
    _, witness = ready(launch, recipes=shelf)
    assert witness.ask("prepare_recipe", id="other")["code"] == "ACCEPTED"
    assert witness.ask("prepare_recipe", id="third")["code"] == "BUSY"
    assert {v["recipe"]["id"] for v in judge(witness, 1, 2, 3)} == {"r"}
    shelf.opened.set()
    event(witness, "recipe_prepared")
    assert judge(witness, 4)[0]["recipe"]["id"] == "other"


@pytest.mark.parametrize("name", ["broken", "buggy", "unfit"])
def test_a_recipe_that_does_not_work_changes_nothing(launch: Launch, shelf: Shelf, name: str) -> None:
    _, witness = ready(launch, recipes=shelf)
    reply = witness.ask("prepare_recipe", id=name)
    told = event(witness, "recipe_refused")
    assert (told["request_id"], told["severity"], told["code"]) == (reply["id"], "error", 7001)
    assert told["detail"]
    (verdict,) = judge(witness, 1)
    assert (verdict["recipe"]["id"], verdict["verdict"]) == ("r", "OK")
    assert witness.ask("prepare_recipe", id="other")["code"] == "ACCEPTED"
    event(witness, "recipe_prepared")


def test_a_recipe_that_is_not_there_or_another_is_refused_at_once(launch: Launch, shelf: Shelf) -> None:
    _, witness = ready(launch, recipes=shelf)
    assert witness.ask("prepare_recipe", id="absent")["code"] == "NOT_FOUND"
    assert witness.ask("prepare_recipe", id="other", sha256="2" * 64)["code"] == "HASH_MISMATCH"
    assert judge(witness, 1)[0]["recipe"]["id"] == "r"


def test_in_free_run_a_recipe_is_changed_between_two_frames(launch: Launch, shelf: Shelf) -> None:
    _, witness = ready(launch, slow_web, recipes=shelf, policy="wait", trigger="free_run")
    assert witness.hear(lambda: len(witness.verdicts) >= 3)
    witness.ask("prepare_recipe", id="other")
    assert witness.hear(lambda: witness.verdicts[-1]["recipe"]["id"] == "other")
    assert witness.hear(lambda: len(witness.verdicts) >= 10)
    by_frame = sorted(witness.verdicts, key=lambda v: v["image"]["frame_id"])
    names = [v["recipe"]["id"] for v in by_frame]
    assert names == sorted(names, key=["r", "other"].index)
    assert all((v["recipe"]["id"] == "other") == (v["threshold"] == 0.1) for v in by_frame)
    assert {v["verdict"] for v in by_frame} <= {"OK", "NG"}


def test_recipes_change_under_load_and_none_judges_a_part_accepted_under_another(
    launch: Launch, shelf: Shelf
) -> None:
    pipeline, witness = ready(launch, recipes=shelf, policy="wait")
    expected: dict[str, str] = {}
    for change in range(20):
        witness.events.clear()
        assert witness.ask("prepare_recipe", id=f"recipe{change}")["code"] == "ACCEPTED"
        for n in range(1_000_000):
            in_force = witness.status()["recipe"]["id"]
            reply = witness.trigger(1000 * change + n)
            if reply["ok"]:
                expected[reply["result"]["result_id"]] = in_force
            witness.hear(lambda: False, 0.001)
            if any(e["event"] == "recipe_prepared" for e in witness.events):
                break
    assert witness.hear(lambda: not witness.missing())
    for verdict in witness.verdicts:
        assert verdict["verdict"] in ("OK", "NG")
        # What was in force when it was asked for, or what came into force until it was accepted.
        number = expected[verdict["result_id"]].removeprefix("recipe").replace("r", "-1")
        assert int(verdict["recipe"]["id"].removeprefix("recipe").replace("r", "-1")) - int(number) in (0, 1)
        assert verdict["threshold"] == (1.0 if verdict["recipe"]["id"] == "r" else 0.1)
    pipeline.stop()
    assert pipeline.join(WAIT_S)
    assert witness.hear_end()
    assert witness.account(pipeline.counters()) == []


def test_a_stop_while_a_recipe_is_prepared_waits_for_nobody(launch: Launch, shelf: Shelf) -> None:
    shelf.opened.clear()
    pipeline, witness = ready(launch, recipes=shelf, stop_timeout_ms=600_000)
    reply = witness.ask("prepare_recipe", id="other")
    witness.ask("shutdown")
    assert witness.hear_end()
    assert event(witness, "recipe_refused")["request_id"] == reply["id"]
    shelf.opened.set()
    assert pipeline.join(WAIT_S)
    assert pipeline.state is State.HALTED


# Replay.


def test_verdicts_are_had_again_by_number_and_by_name_as_they_went_out(launch: Launch) -> None:
    _, witness = ready(launch)
    assert witness.ask("snapshot")["result"]["last_verdict"] is None
    sent = judge(witness, *range(1, 6))
    snapshot = witness.ask("snapshot")["result"]
    assert (snapshot["oldest_seq"], snapshot["head_seq"]) == (1, 5)
    assert snapshot["last_verdict"] == {**sent[-1], "replayed": True}
    reply = witness.ask("replay", **{"from": 2, "to": 4})["result"]
    assert reply["items"] == [{**v, "replayed": True} for v in sent[1:4]]
    assert (reply["oldest_seq"], reply["head_seq"]) == (1, 5)
    assert witness.ask("replay", **{"from": 4, "to": 99})["result"]["items"][-1]["seq"] == 5
    assert witness.ask("replay", **{"from": 9, "to": 5})["result"]["items"] == []
    assert witness.ask("replay", **{"from": 1, "to": 5, "boot_id": "0" * 16})["code"] == "NOT_FOUND"
    found = witness.ask("get_result", result_id=sent[2]["result_id"])
    assert found["result"]["verdict"] == {**sent[2], "replayed": True}
    assert witness.ask("get_result", result_id="0" * 26)["code"] == "NOT_FOUND"


# Simulation and faults.


def test_simulate_marks_every_part_from_then_on(launch: Launch, settings: Settings) -> None:
    real = replace(settings.provenance, simulated=False)
    _, witness = ready(launch, provenance=real)
    assert judge(witness, 1)[0]["simulated"] is False
    assert witness.ask("simulate", on=True)["code"] == "ACCEPTED"
    (marked,) = judge(witness, 2)
    assert (marked["simulated"], "SIMULATED" in marked["health"]["flags"]) == (True, True)
    assert witness.status()["simulated"] is True
    witness.ask("simulate", on=False)
    assert judge(witness, 3)[0]["simulated"] is False


def test_a_station_without_real_parts_cannot_be_told_that_they_are_real(launch: Launch) -> None:
    _, witness = ready(launch)
    assert witness.ask("simulate", on=False)["code"] == "DENIED"
    assert judge(witness, 1)[0]["simulated"] is True


def test_a_streak_of_invalid_parts_is_a_fault_until_somebody_has_looked(launch: Launch) -> None:
    def fail() -> float:
        raise DetectorError("no")

    pipeline, witness = launch(web, lambda: ScriptedDetector([*[fail] * 5, 0.5]))
    assert pipeline.wait_ready(WAIT_S)
    judge(witness, 1, 2, 3, 4, 5)
    assert witness.status()["health"]["level"] == "fault"
    assert witness.ask("clear_fault")["code"] == "OK"
    assert "INVALID_STREAK" not in witness.status()["health"]["flags"]
    assert judge(witness, 6)[0]["verdict"] == "OK"


def test_hello_says_what_may_be_asked(launch: Launch) -> None:
    _, witness = ready(launch)
    result = witness.ask("hello")["result"]
    assert (result["line"], result["station"], result["protocol"]) == ("line", "station", "ctl/1")
    assert result["schemas"] == ["verdict/1", "state/1", "hb/1", "event/1"]
