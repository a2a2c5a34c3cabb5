"""A detector that does as it is told, and its terms: for tests, and to measure without a network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from .frame import U8, Frame
from .prediction import MapToImage, Prediction
from .provenance import EngineFacts, Provenance, RecipeFacts
from .terms import Terms, Thresholds

Step = float | Callable[[], float]
"""A score, or something to do first that gives one: raise, sleep, wait for an event."""


def scripted_terms(thresholds: Thresholds = Thresholds(1.0), deadline_us: int = 20_000_000) -> Terms:  # noqa: B008
    """Terms of a station that sees no real parts."""
    recipe, engine = RecipeFacts("r", "1", 0, "0" * 64), EngineFacts("e", "0" * 64, "scripted", "cpu")
    provenance = Provenance("line", "station", recipe, engine, "camera", True)
    return Terms(provenance, thresholds, deadline_us, deadline_us // 2000)


class ScriptedDetector:
    """Goes through a script of scores, one per frame; the last one is repeated."""

    depth = 1

    def __init__(self, script: Sequence[Step] = (0.0,), map_shape: tuple[int, int] = (4, 4)) -> None:
        self._steps = itertools.chain(script, itertools.repeat(script[-1]))
        self._map = np.zeros(map_shape, np.float32)
        self._seen: list[Prediction] = []
        self.closed = False

    def submit(self, frame: Frame) -> None:
        """As in `Detector`."""
        self._seen.append(self.predict(frame.pixels))

    def collect(self) -> Prediction:
        """As in `Detector`."""
        return self._seen.pop(0)

    def predict(self, image: U8) -> Prediction:
        """The next score of the script; the map holds it in every cell."""
        step = next(self._steps)
        score = step() if callable(step) else step
        self._map.fill(score)
        height, width = image.shape[:2]
        rows, columns = self._map.shape
        stages = {"pre": 0, "infer": 0, "post": 0}
        return Prediction(score, self._map, MapToImage(0, 0, width / columns, height / rows), stages)

    def close(self) -> None:
        """As in `Detector`."""
        self.closed = True
