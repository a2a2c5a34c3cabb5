"""Judges the images of a data set and sums up how well good and defective ones are told apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..detector import Detector
from ..errors import ConfigError, DetectorError
from ..frame import U8
from ..images.dataset import Sample, load_truth
from ..images.files import load_image
from ..prediction import Prediction
from ..terms import Thresholds
from ..verdict import decide
from .figures import ImageResult, Summary, summarise
from .pixel_metrics import PixelStatistics

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Evaluation:
    """Collects judged images; keeps counts and scores, never maps."""

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        """Starts empty; `thresholds` also tell what a recipe makes of the set."""
        self.results: list[ImageResult] = []
        self._thresholds = thresholds
        self._pixels = PixelStatistics()
        self._inspected = self._seen = 0

    def add(
        self, sample: Sample, shape: tuple[int, int], prediction: Prediction, ms: float = 0
    ) -> ImageResult:
        """Counts one judged image of (H, W) = `shape`.

        Raises:
            ConfigError: the ground truth cannot be read or has another size.
            DetectorError: a score or map value is not finite.
        """
        scores, inspected = to_pixels(prediction, shape)
        own = None
        if sample.has_pixel_truth:
            try:
                own = self._pixels.add(scores, load_truth(sample, shape), inspected)
            except ValueError as error:
                raise DetectorError(f"{sample.path}: {error}; this image cannot be judged") from None
        self._inspected += int(inspected.sum())
        self._seen += inspected.size
        outcome = None
        if self._thresholds is not None:
            outcome = decide(prediction.score, self._thresholds).outcome.name
        result = ImageResult(sample, prediction.score, own, outcome, ms)
        self.results.append(result)
        return result

    def summary(self) -> Summary:
        """All figures of the images added so far, at least one."""
        return summarise(self.results, self._pixels, self._thresholds, 1 - self._inspected / self._seen)


def evaluate(
    detector: Detector,
    samples: Iterable[Sample],
    thresholds: Thresholds | None = None,
    each: Callable[[Sample, U8, Prediction], None] | None = None,
) -> Evaluation:
    """Judges every sample; `each` sees image and prediction before the next one overwrites the map.

    Raises:
        InspectionError: an image or mask cannot be read or judged, with its path; nothing is skipped.
    """
    evaluation = Evaluation(thresholds)
    for sample in samples:
        image, prediction, ms = judge_file(detector, sample.path)
        evaluation.add(sample, (image.shape[0], image.shape[1]), prediction, ms)
        if each is not None:
            each(sample, image, prediction)
    return evaluation


def judge_file(detector: Detector, path: Path) -> tuple[U8, Prediction, float]:
    """Image of a file, its prediction and how long the detector took, ms.

    Raises:
        InspectionError: it cannot be read or judged, or its score is not finite and >= 0.
    """
    image = load_image(path)
    start = time.perf_counter()
    try:
        prediction = detector.predict(image)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    ms = (time.perf_counter() - start) * 1000
    if not 0 <= prediction.score < float("inf"):
        raise DetectorError(f"{path}: score is {prediction.score}; this image cannot be judged")
    return image, prediction, ms


def to_pixels(prediction: Prediction, shape: tuple[int, int]) -> tuple[F32, Mask]:
    """The anomaly map at every pixel of the source image, linear between the centres of its cells.

    Args:
        prediction: its map (h, w) lies in the image as `to_image` says.
        shape: (H, W) of the source image.

    Returns:
        scores: (H, W) float32, beyond the outermost centres the nearest cell's.
        inspected: (H, W) bool, true where the pixel's centre lies in a cell.
    """
    at, (rows, columns) = prediction.to_image, prediction.anomaly_map.shape
    top, below, inside_y = _between(shape[0], rows, at.y0, at.dy)
    left, beside, inside_x = _between(shape[1], columns, at.x0, at.dx)
    cells = prediction.anomaly_map
    lines = cells[top] + below[:, None] * (cells[np.minimum(top + 1, rows - 1)] - cells[top])
    right = np.minimum(left + 1, columns - 1)
    scores = lines[:, left] + beside * (lines[:, right] - lines[:, left])
    return np.asarray(scores, np.float32), np.logical_and.outer(inside_y, inside_x)


def _between(pixels: int, cells: int, start: float, step: float) -> tuple[NDArray[np.intp], F32, Mask]:
    """Along one axis: the cell before each pixel's centre, how far to the next (0..1), and if inspected."""
    where = (np.arange(pixels) + 0.5 - start) / step
    clipped = np.clip(where - 0.5, 0, cells - 1)
    first = np.floor(clipped).astype(np.intp)
    return first, (clipped - first).astype(np.float32), (where >= 0) & (where < cells)
