"""Preprocess + network + head as one thing that turns an image into a prediction; owns all memory."""

from __future__ import annotations

import itertools
import time
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kernels import Kernels

from .bundle import Preprocessing
from .frame import Frame
from .head import Head
from .network import Network
from .prediction import MapToImage, Prediction
from .recipe import Region

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


class Detector(Protocol):
    """Whatever turns an image into a prediction; opened and used by one thread."""

    depth: int
    """Frames in flight between `submit` and `collect`; 1 on a CPU."""

    def submit(self, frame: Frame) -> None:
        """Starts on a frame; its pixels must stay until `collect` returned."""

    def collect(self) -> Prediction:
        """Waits for the oldest submitted frame; the map is overwritten `depth` frames later."""

    def predict(self, image: U8) -> Prediction:
        """`submit` and `collect` for one image, (H, W) or (H, W, 3) BGR uint8."""

    def close(self) -> None:
        """Frees network and head."""


class HostDetector:
    """The detector of every CPU backend: NumPy buffers, one frame at a time."""

    depth = 1

    def __init__(
        self,
        preprocessing: Preprocessing,
        network: Network,
        head: Head,
        kernels: Kernels,
        region: Region | None = None,
        mask: F32 | None = None,
    ) -> None:
        """Allocates every buffer and binds network and head to them.

        Args:
            kernels: the form of preprocessing; a head brings its own.
            region: crop in source pixels, applied before the resize.
            mask: (h, w) float32 on the head's grid, multiplied in before the score.
        """
        self._preprocessing, self._network, self._head = preprocessing, network, head
        self._preprocess = kernels.preprocess
        self._region = None if region is None else (region.x, region.y, region.width, region.height)
        self._buffers = {spec.name: np.zeros(spec.shape, np.float32) for spec in network.specs}
        self._map = np.zeros(head.map_shape, np.float32)
        self._score = np.zeros(1, np.float32)
        self._pending: Prediction | None = None
        network.bind(self._buffers)
        features = {spec.name: self._buffers[spec.name] for spec in network.specs[1:]}
        head.bind(features, self._map, self._score, mask)

    def submit(self, frame: Frame) -> None:
        """As in `Detector`; on a CPU the work is done here."""
        self._pending = self.predict(frame.pixels)

    def collect(self) -> Prediction:
        """As in `Detector`.

        Raises:
            ValueError: nothing was submitted.
        """
        prediction, self._pending = self._pending, None
        if prediction is None:
            raise ValueError("collect without submit")
        return prediction

    def predict(self, image: U8) -> Prediction:
        """As in `Detector`.

        Raises:
            ValueError: the region reaches outside the image, or the image has another dtype or rank.
        """
        clock = [time.perf_counter_ns()]
        how = self._preprocessing
        target = self._buffers[self._network.specs[0].name][0]
        self._preprocess(image, how.size, how.mean, how.std, self._region, target)
        clock.append(time.perf_counter_ns())
        self._network.run()
        clock.append(time.perf_counter_ns())
        self._head.run()
        clock.append(time.perf_counter_ns())
        spans = (int(b - a) // 1000 for a, b in itertools.pairwise(clock))
        stages = dict(zip(("pre", "infer", "post"), spans, strict=True))
        return Prediction(float(self._score[0]), self._map, self._to_image(image), stages)

    def close(self) -> None:
        """As in `Detector`."""
        self._head.close()
        self._network.close()

    def _to_image(self, image: U8) -> MapToImage:
        """Where the map lies: the bundle gives its extent as fractions of the inspected region."""
        x, y, width, height = self._region or (0, 0, image.shape[1], image.shape[0])
        left, top, right, bottom = self._preprocessing.map_extent
        rows, columns = self._head.map_shape
        dx, dy = (right - left) * width / columns, (bottom - top) * height / rows
        return MapToImage(x + left * width, y + top * height, dx, dy)
