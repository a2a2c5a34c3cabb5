"""Figures of merit for scores: AUROC and F1-max with bootstrap intervals.

Everything rests on counts per distinct score, so that ties are right and resampling is one multinomial draw.
A score at or above a threshold is a positive, as in `decide`. Non-finite scores are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
CountMetric = Callable[[F64, F64], F64]
"""(..., K) positives and negatives per distinct score, ascending -> (...) values."""

RESAMPLES = 2000
LEVEL = 0.95


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Probability that a positive scores above a negative; a tie counts one half.

    Args:
        scores: (n,), finite.
        labels: (n,), true or 1 = positive (defective).

    Raises:
        ValueError: a score is not finite, the lengths differ, or a class is empty.
    """
    _, positives, negatives = count_scores(scores, labels)
    return float(auroc_of_counts(positives, negatives))


def f1_max(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Largest F1 over all thresholds, and the highest threshold that reaches it.

    Args and errors as in `auroc`; the threshold is one of the scores.
    """
    values, positives, negatives = count_scores(scores, labels)
    curve = _f1_curve(positives, negatives)
    best = len(curve) - 1 - int(np.argmax(curve[::-1]))
    return float(curve[best]), float(values[best])


def bootstrap_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    metric: Literal["auroc", "f1_max"] = "auroc",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % percentile interval; positives and negatives are resampled separately, n of n each.

    Takes images as independent: several shots of one part make it too narrow. Where every positive scores
    above every negative it has no width, which says nothing about images not in the set.
    """
    _, positives, negatives = count_scores(scores, labels)
    rng = np.random.default_rng(seed)
    values = []
    # Blocks of 4M counts (32 MB a piece), whatever the number of scores.
    block = max(1, (1 << 22) // len(positives))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn = (_resample(rng, positives, count), _resample(rng, negatives, count))
        values.append(COUNT_METRICS[metric](*drawn))
    return percentiles(np.concatenate(values))


def mean_interval(values: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of (n,) values, n >= 1."""
    data = np.asarray(values, np.float64)
    weights = bootstrap_weights(np.zeros(len(data), np.int64), resamples, seed)
    return percentiles(weights @ data / len(data))


def bootstrap_weights(strata: I64, resamples: int, seed: int) -> F64:
    """How often each item is drawn, (resamples, n), each stratum resampled to its own size."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((resamples, len(strata)))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        even = np.full(len(members), 1 / len(members))
        weights[:, members] = rng.multinomial(len(members), even, resamples)
    return weights


def percentiles(values: F64) -> tuple[float, float]:
    """The central 95 % of resampled values."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def count_scores(scores: ArrayLike, labels: ArrayLike) -> tuple[F64, F64, F64]:
    """Distinct scores, ascending, and how many positives and negatives have each; errors as in `auroc`."""
    values = np.asarray(scores, np.float64).ravel()
    truth = np.asarray(labels).ravel().astype(bool)
    if values.shape != truth.shape:
        raise ValueError(f"{values.size} scores and {truth.size} labels; expected one label per score")
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {values.size} scores are not finite")
    if truth.all() or not truth.any():
        raise ValueError(f"{int(truth.sum())} of {truth.size} labels are positive; both classes are needed")
    distinct, index = np.unique(values, return_inverse=True)
    shape = len(distinct)
    positives = np.bincount(index[truth], minlength=shape).astype(np.float64)
    return distinct, positives, np.bincount(index[~truth], minlength=shape).astype(np.float64)


def auroc_of_counts(positives: F64, negatives: F64) -> F64:
    """AUROC from counts per distinct score; see `CountMetric`."""
    below = np.cumsum(negatives, axis=-1) - negatives / 2
    pairs = positives.sum(axis=-1) * negatives.sum(axis=-1)
    return _f64((positives * below).sum(axis=-1) / pairs)


def f1_max_of_counts(positives: F64, negatives: F64) -> F64:
    """F1-max from counts per distinct score; see `CountMetric`."""
    return _f64(_f1_curve(positives, negatives).max(axis=-1))


def from_above(counts: F64) -> F64:
    """How many lie at or above each score, same shape."""
    return _f64(np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1])


def _f1_curve(positives: F64, negatives: F64) -> F64:
    """F1 at each threshold: 2 TP / (called positive + truly positive)."""
    hits = from_above(positives)
    called = hits + from_above(negatives)
    return _f64(2 * hits / (called + positives.sum(axis=-1)[..., None]))


def _resample(rng: np.random.Generator, counts: F64, resamples: int) -> F64:
    """(resamples, K) counts of as many draws with replacement as there are items."""
    total = int(counts.sum())
    return rng.multinomial(total, counts / total, resamples).astype(np.float64)


def _f64(values: Any) -> F64:
    """The same values, typed: NumPy's operators lose the dtype under some versions of its stubs."""
    return np.asarray(values, np.float64)


COUNT_METRICS: dict[str, CountMetric] = {"auroc": auroc_of_counts, "f1_max": f1_max_of_counts}
