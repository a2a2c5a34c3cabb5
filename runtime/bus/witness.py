"""A client that trusts nothing: it checks every message of a station against what the station owes.

For tests and benchmarks of a running station. It counts by itself, from what it sent and what it heard.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from ..ledger import Counters
from .client import Client, Message

ENDS = (2, 3)
"""State numbers after which nothing comes: Halted and Error (which still answers what is open)."""


class Witness:
    """Sends triggers, hears everything, and keeps what was not as it must be in `faults`; one thread."""

    def __init__(self, bus: str, control: str) -> None:
        """Connects to a station's two endpoints; the first message is awaited by `wait_subscribed`."""
        self._client = Client(bus, control)
        self._owed: dict[str, int] = {}
        self._told: Counter[str] = Counter()
        self.verdicts: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.order: list[str] = []
        """Kinds of the messages in the order they came, heartbeats left out."""
        self.faults: list[str] = []
        """What no station may do, in words."""

    def wait_subscribed(self, timeout_ms: int = 5000) -> bool:
        """As in `Client`."""
        return self._client.wait_subscribed(timeout_ms)

    def trigger(self, trigger_id: int, encoder: int | None = None) -> dict[str, Any]:
        """Sends a trigger and returns the reply; from an accepted one on, a verdict is owed."""
        reply = self._client.trigger(trigger_id, encoder=encoder)
        if reply["ok"]:
            self._owed[reply["result"]["result_id"]] = trigger_id
        return reply

    def status(self) -> dict[str, Any]:
        """As in `Client`."""
        return self._client.status()

    def ask(self, verb: str, **args: object) -> dict[str, Any]:
        """The reply to any other request."""
        return self._client.request(verb, args)

    def hear(self, enough: Callable[[], bool], timeout_s: float = 10.0) -> bool:
        """Takes messages until there is `enough`; False when that was not so within `timeout_s`."""
        until_s = time.monotonic() + timeout_s
        while not enough():
            message = self._client.receive(round(1000 * max(0.0, until_s - time.monotonic())))
            if message is None:
                return False
            self._take(message)
        return True

    def hear_verdicts(self, count: int, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """The verdicts so far, as soon as there are `count`; fewer when they do not come in time."""
        self.hear(lambda: len(self.verdicts) >= count, timeout_s)
        return self.verdicts

    def hear_end(self, timeout_s: float = 10.0) -> bool:
        """Takes messages until the station is Halted, or in Error with every answer given."""
        return self.hear(lambda: self._ended() and not self.missing(), timeout_s)

    def missing(self) -> list[int]:
        """Trigger ids that were accepted and have no verdict."""
        return [trigger_id for result_id, trigger_id in self._owed.items() if not self._told[result_id]]

    def account(self, counters: Counters) -> list[str]:
        """Everything that is wrong at the end of a run, given the station's own totals; empty: nothing."""
        outcomes = Counter(verdict["verdict"] for verdict in self.verdicts)
        heard = {name: outcomes[name.upper()] for name in ("ok", "ng", "invalid", "review")}
        counted = {name: getattr(counters, name) for name in heard}
        found = [*self.faults, *(f"trigger {n} has no verdict" for n in self.missing())]
        if heard != counted or counters.triggers != len(self.verdicts):
            found.append(f"counters are {counters}; heard {len(self.verdicts)} verdicts, {heard}")
        return found

    def close(self) -> None:
        """Closes the sockets."""
        self._client.close()

    def _ended(self) -> bool:
        return bool(self.states) and self.states[-1]["to"] in ENDS

    def _take(self, message: Message) -> None:
        if message.kind == "hb":
            self._check_beat(message.body)
            return
        self.order.append(message.kind)
        kept = {"verdict": self.verdicts, "state": self.states, "event": self.events}
        if message.kind == "verdict":
            self._check_verdict(message.body)
        kept[message.kind].append(message.body)

    def _check_verdict(self, verdict: dict[str, Any]) -> None:
        outcome, seq, result_id = verdict["verdict"], verdict["seq"], verdict["result_id"]
        self._told[result_id] += 1
        overdue = verdict["late"] or verdict["lat_us"]["total"] > verdict["deadline_us"]
        rules = {
            f"seq {seq} after {len(self.verdicts)} verdicts": seq == len(self.verdicts) + 1,
            f"{result_id} has more than one verdict": self._told[result_id] == 1,
            f"seq {seq}: {outcome} after its deadline": not overdue or outcome == "INVALID",
            f"seq {seq}: {outcome} with reasons {verdict['reasons']}": (outcome == "OK")
            == (not verdict["reasons"]),
            f"seq {seq}: {outcome} without image or score": outcome == "INVALID"
            or None not in (verdict["image"], verdict["score"]),
            f"seq {seq}: score {verdict['score']} against {verdict['threshold']} is OK": outcome != "OK"
            or verdict["score"] < verdict["threshold"],
        }
        self.faults += [fault for fault, kept in rules.items() if not kept]

    def _check_beat(self, beat: dict[str, Any]) -> None:
        totals = beat["counters"]
        closed = sum(totals[name] for name in ("ok", "ng", "invalid", "review"))
        if totals["triggers"] != closed + beat["inflight"] or closed != beat["head_seq"]:
            self.faults.append(f"heartbeat does not add up: {beat}")
        if beat["head_seq"] != len(self.verdicts):
            self.faults.append(f"heartbeat at seq {beat['head_seq']}, heard {len(self.verdicts)} verdicts")
