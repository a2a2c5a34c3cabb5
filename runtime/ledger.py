"""Who is owed an answer: every ticket is closed exactly once, whatever happens to its frame."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from .ticket import Ticket
from .verdict import Outcome


@dataclass(frozen=True, slots=True)
class Counters:
    """Totals since boot; triggers = ok + ng + invalid + review + tickets still open."""

    triggers: int
    """Tickets opened."""
    ok: int
    ng: int
    invalid: int
    review: int
    overrun: int
    """Triggers refused because the queue was full; no ticket, hence in no other total."""


@dataclass(frozen=True, slots=True)
class Closing:
    """A ticket that was just closed by a result."""

    ticket: Ticket
    late: bool
    """The result came after the deadline: it was counted, and must be published, as INVALID."""


class Ledger:
    """The open tickets of one boot. Pure bookkeeping: the clock is passed in, nothing is sent."""

    def __init__(self) -> None:
        self._open: dict[int, Ticket] = {}
        self._deadlines: list[tuple[int, int]] = []
        self._last_number = 0
        self._closed: Counter[Outcome] = Counter()
        self._triggers = 0
        self._overrun = 0

    def open(self, ticket: Ticket) -> None:
        """Takes on a debt.

        Raises:
            ValueError: the number does not rise, so it might have been used before.
        """
        if ticket.number <= self._last_number:
            raise ValueError(f"ticket {ticket.number} after {self._last_number}: numbers must rise")
        self._last_number = ticket.number
        self._triggers += 1
        self._open[ticket.number] = ticket
        heapq.heappush(self._deadlines, (ticket.deadline_us, ticket.number))

    def close(self, number: int, outcome: Outcome, now_us: int) -> Closing | None:
        """Closes a ticket by a result or a drop notice; None when it was closed before: too late to matter.

        Raises:
            ValueError: no ticket of that number was ever opened.
        """
        if number > self._last_number:
            raise ValueError(f"result for ticket {number}, which was never opened")
        ticket = self._open.pop(number, None)
        if ticket is None:
            return None
        late = now_us > ticket.deadline_us
        self._closed[Outcome.INVALID if late else outcome] += 1
        return Closing(ticket, late)

    def amend(self, closing: Closing, outcome: Outcome) -> None:
        """Counts a ticket as INVALID that was just closed with `outcome`: its verdict could not be sent."""
        self._closed[Outcome.INVALID if closing.late else outcome] -= 1
        self._closed[Outcome.INVALID] += 1

    def close_due(self, now_us: int) -> Iterator[Ticket]:
        """Closes, as INVALID, every ticket whose deadline has come; the earliest first.

        One at a time, as they are taken: the totals of a verdict hold that verdict and no later one.
        """
        while (next_us := self.next_deadline_us()) is not None and next_us <= now_us:
            yield self._close_unanswered(self._deadlines[0][1])

    def close_all(self) -> Iterator[Ticket]:
        """Closes, as INVALID, whatever is still open, in order of opening, one at a time."""
        while self._open:
            yield self._close_unanswered(next(iter(self._open)))

    def refuse(self) -> None:
        """Counts a trigger that found the queue full; it gets a reply but no ticket."""
        self._overrun += 1

    def next_deadline_us(self) -> int | None:
        """Earliest deadline of the open tickets, monotonic us; None when nothing is owed."""
        while self._deadlines and self._deadlines[0][1] not in self._open:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def _close_unanswered(self, number: int) -> Ticket:
        self._closed[Outcome.INVALID] += 1
        return self._open.pop(number)

    @property
    def inflight(self) -> int:
        """Tickets still open."""
        return len(self._open)

    @property
    def counters(self) -> Counters:
        """Totals now."""
        ok, ng, invalid, review = (self._closed[outcome] for outcome in Outcome)
        return Counters(self._triggers, ok, ng, invalid, review, self._overrun)
