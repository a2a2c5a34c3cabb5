"""The decision: nothing but a finite score below every threshold is OK."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.health import Health
from runtime.ids import new_ulid
from runtime.scripted import scripted_terms
from runtime.terms import Thresholds
from runtime.ticket import Ticket, now_us
from runtime.verdict import FrameFacts, Judgement, Latency, Outcome, Verdict, decide, invalid

ANY = st.floats(allow_nan=True, allow_infinity=True)
POSITIVE = st.floats(min_value=1e-300, max_value=1e300)


@pytest.mark.parametrize(
    ("score", "outcome"),
    [
        (0.0, Outcome.OK),
        (math.nextafter(0.3, 0), Outcome.OK),
        (0.3, Outcome.REVIEW),
        (math.nextafter(0.5, 0), Outcome.REVIEW),
        (0.5, Outcome.NG),
        (9.0, Outcome.NG),
        (math.nan, Outcome.INVALID),
        (math.inf, Outcome.INVALID),
        (-math.inf, Outcome.INVALID),
        (-1e-9, Outcome.INVALID),
    ],
)
def test_a_score_is_judged_and_equality_is_on_the_safe_side(score: float, outcome: Outcome) -> None:
    judgement = decide(score, Thresholds(0.5, review_threshold=0.3))
    assert judgement.outcome is outcome
    assert (judgement.reasons == ()) == (outcome is Outcome.OK)


def test_without_a_review_band_there_is_no_review() -> None:
    assert [decide(s, Thresholds(0.5)).outcome for s in (0.4999, 0.5)] == [Outcome.OK, Outcome.NG]


@given(score=ANY, threshold=ANY, review=st.none() | ANY, scale=st.none() | ANY)
def test_whatever_the_numbers_are_ok_means_a_finite_score_below_every_threshold(
    score: float, threshold: float, review: float | None, scale: float | None
) -> None:
    try:
        judgement = decide(score, Thresholds(threshold, review, scale))
    except ValueError:
        return  # refused: thresholds that no recipe can hold
    if judgement.outcome is Outcome.OK:
        assert math.isfinite(score)
        assert score < threshold
        assert review is None or score < review
    assert judgement.pred_score is None or 0 <= judgement.pred_score <= 1


@given(score=st.floats(0, 1e300), threshold=POSITIVE, scale=st.none() | POSITIVE)
def test_pred_score_is_half_at_the_threshold_and_ng_at_half_or_above(
    score: float, threshold: float, scale: float | None
) -> None:
    thresholds = Thresholds(threshold, score_scale=scale)
    at_threshold = decide(threshold, thresholds)
    assert (at_threshold.outcome, at_threshold.pred_score) == (Outcome.NG, 0.5)
    judgement = decide(score, thresholds)
    assert judgement.pred_score is not None
    assert 0 <= judgement.pred_score <= 1
    assert (judgement.outcome is Outcome.NG) == (score >= threshold)
    assert judgement.outcome is Outcome.OK or judgement.pred_score >= 0.5


@pytest.mark.parametrize(("scale", "expected"), [(None, 0.25), (1.0, 0.0), (4.0, 0.375)])
def test_pred_score_follows_the_scale_of_the_recipe(scale: float | None, expected: float) -> None:
    assert decide(0.5, Thresholds(1.0, score_scale=scale)).pred_score == expected


def test_invalid_says_why_and_has_no_pred_score() -> None:
    judgement = invalid("NO_FRAME", Thresholds(0.5))
    assert judgement == Judgement(Outcome.INVALID, ("NO_FRAME",), None, 0.5, None)


@pytest.mark.parametrize(
    "change",
    [
        {"reasons": ("NO_FRAME",)},
        {"outcome": Outcome.NG},
        {"outcome": Outcome.NG, "reasons": ("NOT_A_REASON",)},
        {"score": math.nan},
        {"score": -0.1},
        {"score": None},
        {"threshold": math.inf},
        {"pred_score": math.nan},
        {"pred_score": 1.5},
        {"outcome": Outcome.REVIEW, "reasons": ("SCORE_OVER_THRESHOLD",), "score": None},
    ],
)
def test_a_judgement_that_contradicts_itself_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"reasons|without a score|finite"):
        replace(Judgement(Outcome.OK, (), 0.1, 0.5, 0.1), **change)


@pytest.fixture
def verdict() -> Verdict:
    """An OK in time."""
    opened_us = now_us()
    return Verdict(
        seq=1,
        judgement=decide(0.1, Thresholds(0.5)),
        ticket=Ticket(1, opened_us, opened_us + 1000, new_ulid(), scripted_terms()),
        frame=FrameFacts(0, 64, 48, 1, 0, 1, "synthetic", opened_us),
        lat_us=Latency(0, 0, 0, 0, 0, 0, 0, 1000),
        late=False,
        t_pub_us=1,
        clock_ok=True,
        health=Health("ok", ()),
    )


def test_a_verdict_at_its_very_deadline_is_in_time(verdict: Verdict) -> None:
    assert (verdict.outcome, verdict.deadline_us, verdict.score) == (Outcome.OK, 1000, 0.1)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"lat_us": Latency(0, 0, 0, 0, 0, 0, 0, 1001)}, "OK after 1001 of 1000 us: must be INVALID"),
        ({"late": True}, "must be INVALID"),
        ({"frame": None}, "OK without a frame"),
        ({"seq": 0}, "seq, times and durations"),
        ({"seq": 2**53 + 1}, "seq, times and durations"),
        ({"t_pub_us": -1}, "seq, times and durations"),
        ({"lat_us": Latency(-1, 0, 0, 0, 0, 0, 0, 1)}, "seq, times and durations"),
    ],
)
def test_a_verdict_that_the_line_could_not_believe_cannot_be_made(
    verdict: Verdict, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(verdict, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"frame_id": 2**53},
        {"gap": -1},
        {"t_exposure_us": -1},
        {"t_mono_us": 2**53},
        {"t_exposure_src": "guess"},
    ],
)
def test_facts_of_a_frame_that_cannot_be_sent_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"frame \d+: expected numbers within"):
        replace(FrameFacts(0, 64, 48, 1, 0, 1, "synthetic", 0), **change)


def test_a_late_verdict_is_invalid_and_says_that_it_is_late(verdict: Verdict) -> None:
    lat_us = Latency(0, 0, 0, 0, 0, 0, 0, 1001)
    judgement = invalid("DEADLINE_MISSED", Thresholds(0.5))
    assert replace(verdict, judgement=judgement, late=True, lat_us=lat_us).outcome is Outcome.INVALID
    with pytest.raises(ValueError, match="must be INVALID"):
        replace(verdict, judgement=judgement, late=False, lat_us=lat_us)
