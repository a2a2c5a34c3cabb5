"""Range checks that the source configs share."""

from __future__ import annotations

import math


def check_stream(rate_hz: float | None, buffers: int) -> None:
    """Raises ValueError unless the rate is above 0 and at most 10 kHz, and buffers are 1..256."""
    if rate_hz is not None and not 0 < rate_hz <= 10_000:
        raise ValueError(f"rate_hz is {rate_hz}; expected above 0 and at most 10000, or leave it out")
    if not 1 <= buffers <= 256:
        raise ValueError(f"buffers is {buffers}; expected 1..256")


def check_range(what: str, low_high: tuple[float, float], least: float, most: float) -> None:
    """Raises ValueError unless least <= low <= high <= most."""
    low, high = low_high
    if not (math.isfinite(low) and math.isfinite(high) and least <= low <= high <= most):
        raise ValueError(f"{what} is [{low}, {high}]; expected low <= high within {least}..{most}")
