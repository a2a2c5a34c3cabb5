"""A picture of what a detector saw: image, ground truth and map of a few samples, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.detector import Detector
from runtime.images.dataset import Sample
from runtime.images.files import load_image, save_image

U8 = NDArray[np.uint8]

SIDE = 128
SHOWN = 8


def save_sheet(detector: Detector, samples: Sequence[Sample], path: Path) -> None:
    """Writes a PNG of SHOWN samples, evenly picked; all maps on one scale, black the least value."""
    picked = [samples[i] for i in np.linspace(0, len(samples) - 1, min(len(samples), SHOWN)).astype(int)]
    images = [load_image(sample.path) for sample in picked]
    maps = [detector.predict(image).anomaly_map.copy() for image in images]
    low, high = min(m.min() for m in maps), max(m.max() for m in maps)
    rows = []
    for sample, image, found in zip(picked, images, maps, strict=True):
        heat = cv2.applyColorMap(np.uint8(255 * (found - low) / max(high - low, 1e-9)), cv2.COLORMAP_INFERNO)
        truth = (
            np.zeros((SIDE, SIDE), np.uint8) if sample.mask is None else load_image(sample.mask, colour=False)
        )
        rows.append(np.hstack([_tile(image), _tile(truth), _tile(heat)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(path, np.vstack(rows))


def _tile(pixels: NDArray[np.uint8]) -> U8:
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small if small.ndim == 3 else cv2.cvtColor(small, cv2.COLOR_GRAY2BGR), np.uint8)
