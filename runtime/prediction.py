"""What a detector saw in one frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MapToImage:
    """Where the anomaly map lies in the source image: x = x0 + column * dx, y = y0 + row * dy, in pixels.

    A cell covers [x, x + dx) x [y, y + dy); what lies outside all cells was not inspected.
    """

    x0: float
    y0: float
    dx: float
    dy: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """Score and anomaly map of one frame, in the same unit; larger is more anomalous."""

    score: float
    """Image score, >= 0 in the bundle's unit; NaN or infinite when the network failed."""
    anomaly_map: F32
    """(h, w) float32 on the head's grid; belongs to the detector and is overwritten by its next frame."""
    to_image: MapToImage
    stage_us: dict[str, int] = field(default_factory=dict)
    """Durations of `pre`, `infer` (network) and `post` (head), us, monotonic clock."""
