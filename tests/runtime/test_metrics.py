"""Figures of merit against scikit-learn and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.measure.metrics import auroc, bootstrap_interval, f1_max, mean_interval

F64 = NDArray[np.float64]
SAMPLES = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({label for _, label in rows}) == 2
)


@settings(deadline=None)
@given(SAMPLES)
def test_auroc_with_many_ties_is_that_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, labels = np.asarray(rows).T
    # Both are sums of a few rationals in float64.
    assert auroc(scores, labels) == pytest.approx(sklearn.roc_auc_score(labels, scores), abs=1e-12)


@settings(deadline=None)
@given(SAMPLES)
def test_f1_max_is_the_best_of_all_thresholds_tried_one_by_one(rows: list[tuple[int, bool]]) -> None:
    scores, labels = np.asarray(rows).T
    tried = {}
    for threshold in np.unique(scores):
        called = scores >= threshold
        tried[float(threshold)] = 2 * (called & (labels == 1)).sum() / (called.sum() + labels.sum())
    best = max(tried.values())
    # The same few rationals in float64; of equally good thresholds the highest.
    assert f1_max(scores, labels)[0] == pytest.approx(best, abs=1e-12)
    assert f1_max(scores, labels)[1] == max(t for t, f1 in tried.items() if f1 >= best - 1e-12)


def test_f1_max_is_that_of_scikit_learns_precision_recall_curve() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, labels = _overlapping(300, 0)
    precision, recall, _ = sklearn.precision_recall_curve(labels, scores)
    expected = np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    assert f1_max(scores, labels)[0] == pytest.approx(expected, abs=1e-9)


def test_separated_classes_give_one_and_reversed_ones_zero() -> None:
    assert auroc([1, 2, 3, 4], [0, 0, 1, 1]) == 1
    assert auroc([4, 3, 2, 1], [0, 0, 1, 1]) == 0
    assert f1_max([1, 2, 3, 4], [0, 0, 1, 1]) == (1, 3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="1 of 3 scores are not finite"):
        auroc([0.1, bad, 0.3], [0, 1, 1])


def test_a_missing_class_and_a_wrong_length_are_refused() -> None:
    with pytest.raises(ValueError, match="both classes are needed"):
        f1_max([0.1, 0.2], [1, 1])
    with pytest.raises(ValueError, match="one label per score"):
        auroc([0.1, 0.2], [1])


def test_the_bootstrap_interval_is_that_of_a_plain_loop() -> None:
    scores, labels = _overlapping(60, 1)
    rng = np.random.default_rng(9)
    good, bad = scores[labels == 0], scores[labels == 1]
    values = [
        auroc(np.concatenate([rng.choice(good, len(good)), rng.choice(bad, len(bad))]), np.sort(labels))
        for _ in range(1000)
    ]
    expected = np.quantile(values, [0.025, 0.975])
    # Two independent sets of resamples: the standard error of a 2.5 % quantile of 1000 draws with a
    # spread of 0.05 is about 0.004; four of them.
    np.testing.assert_allclose(bootstrap_interval(scores, labels), expected, atol=0.016)


def test_the_bootstrap_interval_covers_the_true_auroc_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        low, high = bootstrap_interval(*_overlapping(80, seed), resamples=300)
        covered += low <= 0.7602 <= high  # Phi(1 / sqrt 2)
    # Binomial(200, 0.95): three standard deviations are 9; the method is a little narrow at n = 40.
    assert 176 <= covered <= 199


def test_intervals_are_seeded_and_hold_the_estimate() -> None:
    scores, labels = _overlapping(200, 3)
    for metric, value in (("auroc", auroc(scores, labels)), ("f1_max", f1_max(scores, labels)[0])):
        low, high = bootstrap_interval(scores, labels, metric)  # type: ignore[arg-type]
        assert low < value < high
        assert (low, high) == bootstrap_interval(scores, labels, metric)  # type: ignore[arg-type]


def test_the_interval_of_a_mean_is_about_two_standard_errors() -> None:
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = mean_interval(values)
    # 2 * 1.96 * 2 / sqrt(400) = 0.392; the sample's spread and the resampling are each good to 5 %.
    assert high - low == pytest.approx(0.392, rel=0.15)
    assert low < values.mean() < high


def _overlapping(n: int, seed: int) -> tuple[F64, NDArray[np.int64]]:
    """n scores, half of them positive and one standard deviation higher."""
    labels = np.arange(n) % 2
    return np.random.default_rng(seed).normal(labels, 1), labels
