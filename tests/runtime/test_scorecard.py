"""The line's own count: nothing is passed, forgiven or forgotten by mistake."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.demo.scorecard import GRACE_US, Part, Scorecard
from runtime.sources.defects import Defect

DEADLINE_US = 100_000
SPOT = (Defect("spot", 10, 10, 40, -0.3),)


def _card(*truths: bool, period_us: int = 10_000) -> Scorecard:
    """A card with a part every 10 ms from 1000 us on; True: with a defect."""
    card = Scorecard(DEADLINE_US)
    for n, defective in enumerate(truths):
        card.issue(Part(n + 1, SPOT if defective else (), 1000 + n * period_us))
    return card


def _verdict(trigger_id: int | None, outcome: str = "OK") -> dict[str, Any]:
    return {"trigger_id": trigger_id, "verdict": outcome}


@pytest.mark.parametrize(
    ("defective", "outcome", "escapes", "false_rejects"),
    [
        (False, "OK", 0, 0),
        (False, "NG", 0, 1),
        (False, "REVIEW", 0, 1),
        (False, "INVALID", 0, 1),
        (True, "OK", 1, 0),
        (True, "NG", 0, 0),
        (True, "INVALID", 0, 0),
        (False, "anything else", 0, 1),
    ],
)
def test_only_an_ok_passes_a_part(defective: bool, outcome: str, escapes: int, false_rejects: int) -> None:
    card = _card(defective)
    card.take(_verdict(1, outcome), 2000)
    score = card.score()
    assert (score.escapes, score.false_rejects) == (escapes, false_rejects)
    assert (score.triggers, score.verdicts) == (1, 1)


def test_an_ok_after_the_deadline_passes_nothing() -> None:
    card = _card(True, False, period_us=0)
    card.take(_verdict(1), 1000 + DEADLINE_US + 1)
    card.take(_verdict(2), 1000 + DEADLINE_US)
    score = card.score()
    assert (score.late, score.escapes, score.false_rejects) == (1, 0, 0)
    assert not score.kept


def test_a_second_answer_is_counted_and_changes_nothing() -> None:
    card = _card(False)
    card.take(_verdict(1, "NG"), 2000)
    card.take(_verdict(1, "OK"), 3000)
    score = card.score()
    assert (score.duplicated, score.verdicts, score.false_rejects) == (1, 1, 1)
    assert not score.kept


@pytest.mark.parametrize("trigger_id", [None, 0, 2, 77])
def test_an_answer_to_no_part_is_one_too_many(trigger_id: int | None) -> None:
    card = _card(False)
    card.take(_verdict(trigger_id), 2000)
    assert (card.score().duplicated, card.score().verdicts, card.score().missing) == (1, 0, 1)


def test_a_part_without_an_answer_is_missing_at_the_end_and_while_it_runs_after_a_while() -> None:
    card = _card(False, False)
    card.take(_verdict(2), 12_000)
    patience_us = DEADLINE_US + GRACE_US
    assert card.waiting() == 1
    assert card.score(now_us=1000 + patience_us).missing == 0
    assert card.score(now_us=1001 + patience_us).missing == 1
    assert card.score().missing == 1
    assert not card.score().kept


def test_latencies_are_ones_that_were_seen() -> None:
    card = _card(*[False] * 1000)
    for n in range(1000):
        card.take(_verdict(n + 1), 1000 + n * 10_000 + (n + 1) * 10)
    figures = card.score().latency_ms
    # Nearest rank of 10, 20 .. 10000 us.
    assert (figures.p50, figures.p99, figures.p999) == (5.0, 9.9, 9.99)
    assert card.score().fps == 100.0


def test_before_the_first_verdict_there_are_no_figures() -> None:
    score = Scorecard(DEADLINE_US).score()
    assert score.latency_ms.p50 is None
    assert score.fps == 0
    assert score.kept


def test_the_list_has_no_gap() -> None:
    card = _card(False)
    with pytest.raises(ValueError, match="part 3 after 1"):
        card.issue(Part(3, (), 0))
