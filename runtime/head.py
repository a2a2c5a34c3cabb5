"""From feature maps to one anomaly map and one score: the interface; implementations stand in `heads/`."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .network import Buffers

F32 = NDArray[np.float32]

HeadForm = Literal["cuda", "native", "reference"]
"""What a user may ask for; cuda is never chosen unasked."""
HEAD_FORMS: tuple[HeadForm, ...] = ("cuda", "native", "reference")


class Head(Protocol):
    """Bound once to feature buffers and results, run many times; the same contract as `Network`."""

    map_shape: tuple[int, int]
    """(h, w) of the anomaly map."""

    def bind(self, features: Buffers, anomaly_map: F32, score: F32, mask: F32 | None) -> None:
        """Fixes the memory.

        Args:
            features: (1, h, w, C) float32 by name of the network's output.
            anomaly_map: (h, w) float32, written by `run`.
            score: (1,) float32, written by `run`.
            mask: (h, w) float32, 0..1, multiplied into the map before the score; None: all ones.
        """

    def run(self, stream: object | None = None) -> None:
        """Reads the features, writes map and score; a NaN in the features gives a NaN score."""

    def close(self) -> None:
        """Gives back what the head holds beyond NumPy's memory."""
