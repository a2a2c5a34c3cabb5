"""The distance head on the CPU: how far feature maps lie from what the network made of them, scales fused.

Source: reconstruction and student-teacher methods, such as INP-Former (arXiv 2503.02424).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kernels import Kernels

from ..bundle import DistanceMapHead
from ..errors import BundleError
from ..network import Buffers, TensorSpec

F32 = NDArray[np.float32]


class HostDistanceMap:
    """One map per pair of outputs, all of them brought to the same grid and fused."""

    def __init__(
        self, part: DistanceMapHead, arrays: dict[str, F32], outputs: Sequence[TensorSpec], kernels: Kernels
    ) -> None:
        """Takes the parameters and the arrays of `head.npz`; see `DistanceMapHead` for their names.

        Raises:
            BundleError: a pair is missing or of two shapes, or a matrix does not fit it.
        """
        shapes = {spec.name: spec.shape for spec in outputs}
        if not part.pairs:
            raise BundleError("head: no pairs of outputs; export the bundle again")
        for i, pair in enumerate(part.pairs):
            _check_pair(i, pair, shapes, arrays)
        self._part, self._kernels = part, kernels
        self._rows = [arrays[f"rows_{i}"] for i in range(len(part.pairs))]
        self._columns = [arrays[f"columns_{i}"] for i in range(len(part.pairs))]
        self.map_shape = (self._rows[0].shape[0], self._columns[0].shape[0])

    def bind(self, features: Buffers, anomaly_map: F32, score: F32, mask: F32 | None) -> None:
        """As in `Head`."""
        self._pairs = [(features[a], features[b]) for a, b in self._part.pairs]
        self._cells = [np.empty(a.shape[1:3], np.float32) for a, _ in self._pairs]
        self._map, self._score, self._mask = anomaly_map, score, mask

    def run(self, stream: object | None = None) -> None:
        """As in `Head`."""
        part = self._part
        for (first, second), cells in zip(self._pairs, self._cells, strict=True):
            cells[...] = self._kernels.distance_map(first[0], second[0], part.distance)
        self._map[...], self._score[0] = self._kernels.finish_map(
            self._cells, self._rows, self._columns, part.fusion, part.score, part.top, self._mask
        )

    def close(self) -> None:
        """As in `Head`: NumPy's memory goes by itself."""


def _check_pair(
    i: int, pair: tuple[str, str], shapes: dict[str, tuple[int, ...]], arrays: dict[str, F32]
) -> None:
    """Raises BundleError unless both outputs are of one shape, and the matrices fit its grid."""
    first, second = (shapes.get(name) for name in pair)
    if first is None or first != second or len(first) != 4:
        raise BundleError(f"head: pair {pair} has shapes {first} and {second}; expected one (1, h, w, C)")
    for axis, key in ((1, f"rows_{i}"), (2, f"columns_{i}")):
        found = arrays[key].shape if key in arrays else None
        target = arrays.get(key.replace(f"_{i}", "_0"))
        out = None if target is None else len(target)
        if found is None or len(found) != 2 or found[1] != first[axis] or found[0] != out:
            raise BundleError(f"head.npz: {key} has shape {found}; expected ({out or 'H'}, {first[axis]})")
