"""The threshold from good scores and what is claimed about it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime.errors import ConfigError
from runtime.measure.calibration import beta_cdf, beta_quantile, calibrate, needed_images
from runtime.terms import Thresholds
from runtime.verdict import Outcome, decide


@pytest.mark.parametrize(
    ("rate", "needed"), [(0.01, 99), (0.05, 19), (0.1, 9), (0.001, 999), (0.5, 1), (0.3, 3)]
)
def test_a_rate_needs_at_least_one_minus_p_over_p_images(rate: float, needed: int) -> None:
    assert needed_images(rate) == needed
    scores = [float(i + 1) for i in range(needed)]
    assert calibrate(scores, rate).order <= needed
    with pytest.raises(ConfigError, match=f"needs at least {needed} good images"):
        calibrate(scores[1:], rate)


def test_too_few_images_say_which_rate_they_support() -> None:
    with pytest.raises(ConfigError, match=r"needs at least 99 good images; 9 can support a rate of 0\.1:"):
        calibrate([1.0] * 9, 0.01)
    assert calibrate([1.0] * 9, 0.1).expected == 0.1


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan"), 1.5])
def test_a_rate_outside_zero_to_one_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="expected a rate between 0 and 1"):
        calibrate([1.0, 2.0], rate)


def test_the_order_is_the_smallest_that_keeps_the_expected_rate() -> None:
    found = calibrate([float(i) for i in range(1, 250)], 0.01)
    # ceil(250 * 0.99) = 248: of 249 scores one lies above.
    assert (found.images, found.order) == (249, 248)
    assert found.expected == 2 / 250
    assert found.threshold == math.nextafter(248, math.inf)


def test_the_score_at_the_threshold_itself_is_still_ok_and_the_next_float32_is_not() -> None:
    score = float(np.float32(0.37))
    found = calibrate([score] * 19, 0.05)
    thresholds = Thresholds(found.threshold)
    assert decide(score, thresholds).outcome is Outcome.OK
    above = float(np.nextafter(np.float32(score), np.float32(1)))
    assert decide(above, thresholds).outcome is Outcome.NG


def test_the_order_of_the_scores_does_not_matter() -> None:
    scores = np.random.default_rng(0).gamma(4, 1, 120).tolist()
    assert calibrate(scores, 0.02) == calibrate(scores[::-1], 0.02)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_a_score_that_is_not_finite_or_negative_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="negative or not finite"):
        calibrate([1.0, bad], 0.5)


def test_the_median_good_part_reads_a_quarter_on_the_normalised_scale() -> None:
    scores = np.linspace(1, 2, 199).tolist()
    found = calibrate(scores, 0.01)
    pred = decide(found.median, Thresholds(found.threshold, score_scale=found.score_scale)).pred_score
    assert pred == pytest.approx(0.25, abs=1e-9)  # float64 rounding


def test_scores_without_spread_leave_the_scale_to_the_default() -> None:
    found = calibrate([0.5] * 39, 0.05)
    assert (found.score_scale, found.order, found.rejected) == (None, 38, 0)


@pytest.mark.parametrize(
    ("q", "a", "b", "expected"),
    [
        (0.5, 1, 1, 0.5),
        (0.975, 1, 99, 1 - 0.025 ** (1 / 99)),  # b alone: 1 - (1 - x)^b
        (0.025, 99, 1, 0.025 ** (1 / 99)),
        (0.5, 2, 2, 0.5),
        (0.95, 2, 3, 0.7513953),  # tables of Beta(2, 3)
        (0.025, 2, 248, 0.000974213),  # scipy.stats.beta.ppf
    ],
)
def test_beta_quantiles_are_the_known_ones(q: float, a: int, b: int, expected: float) -> None:
    assert beta_quantile(q, a, b) == pytest.approx(expected, rel=1e-5)  # digits of the table


@pytest.mark.parametrize(("a", "b"), [(1, 1), (1, 99), (2, 248), (50, 51), (900, 101), (10, 9990)])
def test_the_beta_distribution_is_that_of_scipy(a: int, b: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    for x in (1e-4, 0.01, 0.2, 0.5, 0.9, 0.999):
        # lgamma of 10^4 is 8e4 with 2^-53 relative error: 1e-11 in the exponent.
        assert beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), abs=1e-10)
    for q in (0.025, 0.975):
        assert beta_quantile(q, a, b) == pytest.approx(stats.beta.ppf(q, a, b), abs=1e-9)


def test_the_true_rate_has_the_stated_mean_and_lies_in_the_interval_as_often_as_stated() -> None:
    rng = np.random.default_rng(1)
    rates, inside = [], 0
    for _ in range(2000):
        found = calibrate(rng.exponential(1, 99).tolist(), 0.02)
        rate = math.exp(-found.threshold)
        rates.append(rate)
        inside += found.low <= rate <= found.high
    # Standard deviation of one rate about 0.014, of the mean 0.0003; of the count sqrt(2000 .05 .95) = 10.
    assert np.mean(rates) == pytest.approx(found.expected, abs=0.0012)
    assert abs(inside - 1900) < 40
