"""Quantiles of measured latencies, and how many samples each of them takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}
"""Name -> share of the samples at or below it."""


class Quantiles(msgspec.Struct, frozen=True):
    """Latencies in ms. None: too few samples for this one; infinite (null in JSON): never done."""

    samples: int
    p50: float | None
    p95: float | None
    p99: float | None
    p99_9: float | None
    max: float | None


def needed_samples(share: float) -> int:
    """How many samples a quantile takes: from here on the greatest of them lies above it in 95 of 100 runs.

    1 - share ** n >= 0.95; with fewer, not even the maximum says where the quantile is.
    """
    return math.ceil(math.log(0.05) / math.log(share))


def quantiles(latencies_us: Sequence[float]) -> Quantiles:
    """Nearest-rank quantiles: each is a latency that was measured, none an average of two."""
    ordered = sorted(latencies_us)
    count = len(ordered)
    values = {
        name: ordered[math.ceil(share * count) - 1] / 1000 if count >= needed_samples(share) else None
        for name, share in QUANTILES.items()
    }
    return Quantiles(count, **values, max=ordered[-1] / 1000 if ordered else None)
