"""Every ticket is closed exactly once, and the totals always add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runtime.ids import new_ulid
from runtime.ledger import Counters, Ledger
from runtime.scripted import scripted_terms
from runtime.ticket import Ticket
from runtime.verdict import Outcome

TERMS = scripted_terms()


def ticket(number: int, deadline_us: int, opened_us: int = 0) -> Ticket:
    return Ticket(number, opened_us, deadline_us, new_ulid(), TERMS)


@pytest.mark.parametrize("outcome", Outcome)
def test_a_result_in_time_counts_as_what_it_is(outcome: Outcome) -> None:
    ledger = Ledger()
    ledger.open(ticket(1, 100))
    closing = ledger.close(1, outcome, 100)
    assert closing is not None
    assert (closing.ticket.number, closing.late) == (1, False)
    assert getattr(ledger.counters, outcome.name.lower()) == 1
    assert ledger.inflight == 0


def test_a_result_after_the_deadline_counts_as_invalid() -> None:
    ledger = Ledger()
    ledger.open(ticket(1, 100))
    closing = ledger.close(1, Outcome.OK, 101)
    assert closing is not None
    assert closing.late
    assert ledger.counters == Counters(triggers=1, ok=0, ng=0, invalid=1, review=0, overrun=0)


def test_a_second_result_is_too_late_to_matter() -> None:
    ledger = Ledger()
    ledger.open(ticket(1, 100))
    assert ledger.close(1, Outcome.NG, 10) is not None
    assert ledger.close(1, Outcome.OK, 11) is None
    assert astuple(ledger.counters) == (1, 0, 1, 0, 0, 0)


def test_a_result_for_a_ticket_that_never_was_is_a_bug() -> None:
    ledger = Ledger()
    with pytest.raises(ValueError, match="result for ticket 1, which was never opened"):
        ledger.close(1, Outcome.OK, 0)


@pytest.mark.parametrize("number", [0, 3, 5])
def test_numbers_must_rise(number: int) -> None:
    ledger = Ledger()
    ledger.open(ticket(5, 100))
    with pytest.raises(ValueError, match=f"ticket {number} after 5: numbers must rise"):
        ledger.open(ticket(number, 100))
    assert ledger.counters.triggers == 1


def test_deadlines_come_due_earliest_first_and_exactly_on_time() -> None:
    ledger = Ledger()
    for number, deadline_us in enumerate((300, 100, 200), 1):
        ledger.open(ticket(number, deadline_us))
    assert ledger.next_deadline_us() == 100
    assert list(ledger.close_due(99)) == []
    assert [due.number for due in ledger.close_due(200)] == [2, 3]
    assert ledger.next_deadline_us() == 300
    assert list(ledger.close_due(200)) == []


def test_tickets_close_one_by_one_as_they_are_answered() -> None:
    ledger = Ledger()
    for number in (1, 2, 3):
        ledger.open(ticket(number, 100))
    totals = [(due.number, ledger.counters.invalid, ledger.inflight) for due in ledger.close_due(100)]
    assert totals == [(1, 1, 2), (2, 2, 1), (3, 3, 0)]
    for number in (4, 5):
        ledger.open(ticket(number, 100))
    totals = [(rest.number, ledger.counters.invalid, ledger.inflight) for rest in ledger.close_all()]
    assert totals == [(4, 4, 1), (5, 5, 0)]


def test_the_next_deadline_is_that_of_a_ticket_still_open() -> None:
    ledger = Ledger()
    ledger.open(ticket(1, 100))
    ledger.open(ticket(2, 200))
    ledger.close(1, Outcome.OK, 50)
    assert ledger.next_deadline_us() == 200
    ledger.close(2, Outcome.OK, 50)
    assert ledger.next_deadline_us() is None


def test_a_refused_trigger_is_counted_and_is_in_no_other_total() -> None:
    ledger = Ledger()
    ledger.refuse()
    assert ledger.counters == Counters(triggers=0, ok=0, ng=0, invalid=0, review=0, overrun=1)


class LedgerMachine(RuleBasedStateMachine):
    """Anything may happen in any order; the model is a plain dict and a plain count."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.now_us, self.number, self.refused = 0, 0, 0
        self.open: dict[int, Ticket] = {}
        self.totals: Counter[Outcome] = Counter()

    @rule(step=st.integers(1, 3), patience_us=st.integers(0, 50))
    def take_on(self, step: int, patience_us: int) -> None:
        self.number += step
        self.open[self.number] = ticket(self.number, self.now_us + patience_us, self.now_us)
        self.ledger.open(self.open[self.number])

    @precondition(lambda self: self.number > 0)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def settle(self, data: st.DataObject, outcome: Outcome) -> None:
        number = data.draw(st.integers(1, self.number))
        closing = self.ledger.close(number, outcome, self.now_us)
        expected = self.open.pop(number, None)
        assert (closing and closing.ticket) == expected
        if closing is not None:
            assert closing.late == (self.now_us > closing.ticket.deadline_us)
            self.totals[Outcome.INVALID if closing.late else outcome] += 1

    @rule(passed_us=st.integers(0, 40))
    def wait(self, passed_us: int) -> None:
        self.now_us += passed_us

    @rule()
    def close_due(self) -> None:
        due = list(self.ledger.close_due(self.now_us))
        expected = [t for t in self.open.values() if t.deadline_us <= self.now_us]
        assert due == sorted(expected, key=lambda t: (t.deadline_us, t.number))
        self._closed(due)

    @rule()
    def close_all(self) -> None:
        rest = list(self.ledger.close_all())
        assert rest == list(self.open.values())
        self._closed(rest)

    @rule()
    def refuse(self) -> None:
        self.ledger.refuse()
        self.refused += 1

    @invariant()
    def the_totals_add_up(self) -> None:
        counters = self.ledger.counters
        counted = (counters.ok, counters.ng, counters.invalid, counters.review)
        assert counted == tuple(self.totals[outcome] for outcome in Outcome)
        assert counters.triggers == sum(counted) + len(self.open)
        assert counters.overrun == self.refused
        assert self.ledger.inflight == len(self.open)
        deadlines = [t.deadline_us for t in self.open.values()]
        assert self.ledger.next_deadline_us() == min(deadlines, default=None)

    def _closed(self, tickets: list[Ticket]) -> None:
        self.totals[Outcome.INVALID] += len(tickets)
        for each in tickets:
            del self.open[each.number]


TestEveryTicketIsClosedExactlyOnce = LedgerMachine.TestCase
TestEveryTicketIsClosedExactlyOnce.settings = settings(max_examples=60, stateful_step_count=40)
