"""The station's answers to control: what each verb of `ctl/1` reads or changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from ..bus.control import Answer
from ..bus.requests import RecipeArgs, ReplayArgs, ResultArgs, SimulateArgs, TriggerArgs
from ..bus.ring import CHUNK
from ..bus.wire import Kind
from ..health import FLAGS
from ..ids import new_ulid
from ..ledger import Ledger
from ..product import NoSuchRecipe, Recipes, Wanted, WrongRecipe
from ..settings import Settings
from ..state import RUNNING, State, state_name
from ..ticket import Ticket, now_us
from .lanes import Change, Lanes
from .notes import Links, Request
from .reporter import Reporter


class StationDesk:
    """As `Desk` in runtime/bus/control.py; lives in the publish thread, and each verb returns at once."""

    def __init__(
        self,
        settings: Settings,
        links: Links,
        ledger: Ledger,
        reporter: Reporter,
        lanes: Lanes,
        recipes: Recipes,
        shut_down: Callable[[], None],
    ) -> None:
        self._settings, self._links, self._ledger, self._reporter = settings, links, ledger, reporter
        self._lanes, self._recipes, self._shut_down = lanes, recipes, shut_down

    @property
    def state(self) -> State:
        """State now."""
        return self._reporter.state

    def now_us(self) -> int:
        """Monotonic clock, us."""
        return now_us()

    # What only reads.

    def hello(self) -> dict[str, Any]:
        """Who this is."""
        source = self._settings.provenance
        schemas = [f"{kind}/1" for kind in get_args(Kind)]
        return {"line": source.line, "station": source.station, "schemas": schemas}

    def status(self) -> Answer:
        """State, health, counters and names."""
        mode = "free_run" if self._lanes.free else "software"
        return Answer("OK", {**self._reporter.status(), "queue_depth": self._lanes.depth, "trigger": mode})

    def snapshot(self) -> Answer:
        """What a subscriber begins with: the status, and which verdicts can be had again."""
        ring = self._reporter.ring
        more = {"oldest_seq": ring.oldest_seq, "last_verdict": ring.last()}
        return Answer("OK", {**self.status().result, **more})

    def replay(self, args: ReplayArgs) -> Answer:
        """Verdicts once more, the first `CHUNK` of those asked for; what is gone is left out."""
        ours, ring = self._settings.provenance.boot_id, self._reporter.ring
        if args.boot_id not in (None, ours):
            return Answer("NOT_FOUND", {}, f"verdicts of boot {args.boot_id} are gone; this is boot {ours}")
        first = max(args.first, ring.oldest_seq or args.first)
        last = min(args.last, first + CHUNK - 1, self._reporter.seq)
        items = ring.again(range(first, last + 1))
        head = {"oldest_seq": ring.oldest_seq, "head_seq": self._reporter.seq}
        return Answer("OK", {"items": items, **head})

    def get_result(self, args: ResultArgs) -> Answer:
        """One verdict by its name."""
        found = self._reporter.ring.find(args.result_id)
        if found is None:
            return Answer("NOT_FOUND", {}, f"no verdict {args.result_id} among the last ones of this boot")
        return Answer("OK", {"verdict": found})

    # What makes parts.

    def accept(self, args: TriggerArgs) -> Ticket | str:
        """A ticket for a trigger, or the code of its refusal."""
        if self.state is State.CONTINUOUS_EXECUTION:
            return "WRONG_STATE"
        if self.state not in RUNNING:
            return "NOT_READY"
        opened_us, terms = now_us(), self._lanes.terms
        ticket = Ticket(
            number=next(self._links.numbers),
            opened_us=opened_us,
            deadline_us=opened_us + terms.deadline_us,
            result_id=new_ulid(),
            terms=terms,
            trigger_id=args.trigger_id,
            part_id=args.part_id,
            encoder=args.encoder,
        )
        room = self._settings.queue + self._lanes.turning
        requests = self._links.requests
        if len(requests) >= room or requests.put(Request(ticket), 0) is not None:
            self._ledger.refuse()
            self._reporter.health.pressed(opened_us)
            return "OVERRUN"
        self._ledger.open(ticket)
        if self.state is State.READY:
            self._reporter.move(State.SINGLE_EXECUTION, "TRIGGER")
        return ticket

    def start(self) -> Answer:
        """Ready becomes a free run."""
        if self.state is not State.READY:
            return self._wrong_state(State.READY)
        self._lanes.run_free(True)
        self._reporter.move(State.CONTINUOUS_EXECUTION, "START")
        return Answer("ACCEPTED", {}, "every frame is a part from here on")

    def stop(self) -> Answer:
        """A free run becomes Ready, once capture has finished its frame; what is in flight is judged."""
        if self.state not in RUNNING:
            return self._wrong_state(*sorted(RUNNING))
        if self.state is State.CONTINUOUS_EXECUTION:
            self._lanes.run_free(False)
        return Answer("ACCEPTED", {}, "what is in flight is finished")

    # What changes the station.

    def prepare_recipe(self, args: RecipeArgs, request_id: str) -> Answer:
        """Begins to prepare a recipe beside the one at work; the end is told by an event."""
        if self.state not in RUNNING:
            return self._wrong_state(*sorted(RUNNING))
        if self._lanes.change is not None:
            return Answer("BUSY", {}, "another recipe is being prepared")
        try:
            load = self._recipes.find(Wanted(args.id, args.version, args.sha256))
        except NoSuchRecipe as error:
            return Answer("NOT_FOUND", {}, str(error))
        except WrongRecipe as error:
            return Answer("HASH_MISMATCH", {}, str(error))
        self._lanes.change = Change(self._lanes.open(load), request_id)
        return Answer("ACCEPTED", {}, "an event recipe_prepared or recipe_refused follows")

    def simulate(self, args: SimulateArgs) -> Answer:
        """Whether parts from now on count as real ones."""
        if self._settings.provenance.simulated and not args.on:
            return Answer("DENIED", {}, "the source shows no real parts")
        self._lanes.simulate(args.on)
        return Answer("ACCEPTED", {}, "in force for the next part")

    def clear_fault(self) -> Answer:
        """Confirms a fault that somebody has looked at; what is still so stays."""
        self._reporter.health.confirm()
        health = self._reporter.health.at(now_us())
        faults = [flag for flag in health.flags if FLAGS[flag] == "fault"]
        if faults or self.state is State.ERROR:
            return Answer("STILL_ACTIVE", {}, ", ".join(faults) or "a fault has ended the run")
        return Answer("OK")

    def shutdown(self) -> Answer:
        """Finishes what is in flight and ends the run."""
        self._shut_down()
        return Answer("ACCEPTED", {}, "finishing what is in flight")

    def _wrong_state(self, *allowed: State) -> Answer:
        names = " or ".join(map(state_name, allowed))
        return Answer("WRONG_STATE", {}, f"state is {state_name(self.state)}; expected {names}")
