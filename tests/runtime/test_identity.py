"""Which verdict belongs to which part: duplicates, bursts, gaps and lost frames never shift an id by one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from runtime.bus.control import Control
from runtime.bus.witness import Witness
from runtime.channel import Channel
from runtime.detector import Detector
from runtime.frame import U8
from runtime.ledger import Ledger
from runtime.pipeline import Pipeline
from runtime.prediction import Prediction
from runtime.product import NoRecipes
from runtime.scripted import ScriptedDetector
from runtime.settings import Settings
from runtime.sources import FaultySource, SyntheticConfig, SyntheticSource
from runtime.sources.faulty import Fault
from runtime.state import State
from runtime.threads.desk import StationDesk
from runtime.threads.lanes import Lanes
from runtime.threads.notes import Lane, Links, Request
from runtime.threads.reporter import Reporter
from runtime.ticket import Ticket, now_us
from runtime.verdict import Outcome

Launch = Callable[..., tuple[Pipeline, Witness]]

DECODE = msgspec.json.Decoder().decode
TRIGGERS = 100_000
QUEUE = 16
WAIT_S = 30.0


class Deaf:
    """A bus that nobody hears."""

    def publish(self, topic: bytes, payload: bytes) -> None: ...


class Books:
    """Control, desk and ledger as in the publish thread; the test is capture and detection."""

    def __init__(self, settings: Settings) -> None:
        self.links = Links(Channel(QUEUE + 1, "drop_latest"), Channel(1024))
        self.ledger = Ledger()
        reporter = Reporter(Deaf(), self.ledger, settings.terms)  # type: ignore[arg-type]
        lanes = Lanes(self.links, lambda *how: None, QUEUE, "wait", True)
        lanes.prepared(Lane("detect", settings.terms, Channel(1)))
        turn = self.links.requests.get(0)
        assert not isinstance(turn, Request)
        assert turn is not None
        lanes.taken(turn)
        reporter.move(State.READY, "RECIPE_PREPARED")
        desk = StationDesk(settings, self.links, self.ledger, reporter, lanes, NoRecipes(), lambda: None)
        self._control = Control(desk, settings.provenance.boot_id)

    def trigger(self, request_id: str, args: dict[str, Any]) -> dict[str, Any]:
        """The reply, by way of the wire's bytes."""
        request = {"p": "ctl/1", "id": request_id, "verb": "trigger", "args": args}
        (*_, body) = self._control.answer([b"plc", b"", msgspec.json.encode(request)])
        reply: dict[str, Any] = DECODE(body)
        return reply

    def taken(self) -> Iterator[Ticket]:
        """What capture takes up next."""
        while (order := self.links.requests.get(0)) is not None:
            assert isinstance(order, Request)
            yield order.ticket


def numbers(dice: random.Random) -> Iterator[tuple[int, bool]]:
    """Trigger ids as a bad encoder gives them: runs, gaps, a wrap to 0, and every so often one sent again."""
    number = 2**32 - TRIGGERS // 2
    while True:
        yield number, dice.random() < 0.1
        number = (number + (1 if dice.random() < 0.95 else dice.randint(2, 9))) % 2**32


def test_a_hundred_thousand_triggers_keep_their_names(settings: Settings) -> None:
    dice, books, source = random.Random(6), Books(settings), numbers(random.Random(7))
    owed: dict[str, dict[str, Any]] = {}
    waiting: list[Ticket] = []
    accepted = refused = doubled = 0
    for batch in itertools.count():
        if accepted + refused >= TRIGGERS:
            break
        for burst in range(dice.choice((1, 2, QUEUE // 2, QUEUE, QUEUE + 2))):
            number, again = next(source)
            args = {"trigger_id": number, "part_id": f"SN {number}", "encoder": 7 * number}
            reply = books.trigger(f"{batch}.{burst}", args)
            if reply["code"] == "OVERRUN":
                refused += 1
                continue
            assert reply["code"] == "ACCEPTED"
            accepted += 1
            owed[reply["result"]["result_id"]] = args
            if again:
                doubled += 1
                duplicate = books.trigger("again", args)
                assert (duplicate["code"], duplicate["result"]) == ("DUPLICATE", reply["result"])
        waiting += books.taken()
        dice.shuffle(waiting)  # detection answers in any order, capture's refusals overtake it
        while len(waiting) > dice.randint(0, QUEUE):
            _close(books.ledger, waiting.pop(), owed)
    for ticket in waiting:
        _close(books.ledger, ticket, owed)
    assert owed == {}
    counters = books.ledger.counters
    assert (counters.triggers, counters.ok, counters.overrun) == (accepted, accepted, refused)
    assert min(refused, doubled) > 1000


def _close(ledger: Ledger, ticket: Ticket, owed: dict[str, dict[str, Any]]) -> None:
    closing = ledger.close(ticket.number, Outcome.OK, now_us())
    assert closing is not None
    named = closing.ticket
    args = {"trigger_id": named.trigger_id, "part_id": named.part_id, "encoder": named.encoder}
    assert owed.pop(named.result_id) == args
    assert ledger.close(ticket.number, Outcome.OK, now_us()) is None  # a second result changes nothing


class Reader(ScriptedDetector):
    """Reads from a frame which section of the web it shows."""

    def predict(self, image: U8) -> Prediction:
        seen = super().predict(image)
        return Prediction(float(image[0, 0]) + 256.0 * float(image[0, 1]), seen.anomaly_map, seen.to_image)


class Stamped(SyntheticSource):
    """A web whose sections carry their numbers in the first two pixels."""

    def render(self, section: int, exposure: int, out: U8) -> None:
        super().render(section, exposure, out)
        out[0, :2] = section % 256, section // 256


PARTS = 300
WEB = SyntheticConfig(width=64, height=48, rate_hz=None, buffers=16, counts_per_section=1)
KINDS = ("timeout", "incomplete", "decode")


def test_the_frame_that_is_judged_is_that_of_its_trigger_though_others_fail(launch: Launch) -> None:
    dice = random.Random(8)
    faults = [Fault(frame=n, kind=dice.choice(KINDS)) for n in range(PARTS) if dice.random() < 0.1]  # type: ignore[arg-type]
    detector: Callable[[], Detector] = Reader
    pipeline, witness = launch(lambda: FaultySource(Stamped(WEB), faults), detector, queue=4, policy="wait")
    assert pipeline.wait_ready(WAIT_S)
    section_of: dict[str, int] = {}
    for n in range(1, PARTS + 1):
        section = dice.randrange(1, 60_000)
        reply = witness.trigger(n, encoder=section)
        if reply["ok"]:
            section_of[reply["result"]["result_id"]] = section
        if dice.random() < 0.3:  # else the next one comes in a burst
            assert witness.hear(lambda: not witness.missing())
    assert witness.hear(lambda: not witness.missing())
    judged = [v for v in witness.verdicts if v["score"] is not None]
    assert PARTS // 2 < len(judged) < len(witness.verdicts)
    assert all(v["score"] == v["encoder"] == section_of[v["result_id"]] for v in judged)
