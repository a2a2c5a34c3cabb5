"""The GRNR head on the CPU: neighbourhood regression towards global vectors, one map per scale, fused.

Source: arXiv 2406.07333; steps and names follow the reference kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kernels import Kernels, anchor_indices

from ..bundle import GrnrHead
from ..errors import BundleError
from ..network import Buffers, TensorSpec

F32 = NDArray[np.float32]


class HostGrnr:
    """Every step of the method on the features of one image."""

    def __init__(
        self, part: GrnrHead, arrays: dict[str, F32], outputs: Sequence[TensorSpec], kernels: Kernels
    ) -> None:
        """Takes the parameters and the arrays of `head.npz`; see `GrnrHead` for their names.

        Raises:
            BundleError: an array is missing or does not fit the network's outputs.
        """
        self._part, self._arrays, self._kernels = part, arrays, kernels
        check_scales(part, arrays, outputs)
        self.map_shape = (arrays["rows_0"].shape[0], arrays["columns_0"].shape[0])
        self._rows = [arrays[f"rows_{i}"] for i in range(len(part.outputs))]
        self._columns = [arrays[f"columns_{i}"] for i in range(len(part.outputs))]

    def bind(self, features: Buffers, anomaly_map: F32, score: F32, mask: F32 | None) -> None:
        """As in `Head`; the bundle's own mask and the recipe's are multiplied."""
        self._features = [features[name] for name in self._part.outputs]
        self._pooled = [np.empty(feature.shape[1:], np.float32) for feature in self._features]
        self._map, self._score = anomaly_map, score
        self._mask = joined_mask(self._arrays, mask)

    def run(self, stream: object | None = None) -> None:
        """As in `Head`."""
        part = self._part
        maps = [self._scale(i, feature[0]) for i, feature in enumerate(self._features)]
        self._map[...], self._score[0] = self._kernels.finish_map(
            maps, self._rows, self._columns, part.fusion, part.score, part.top, self._mask, part.profile
        )

    def close(self) -> None:
        """As in `Head`: NumPy's memory goes by itself."""

    def _scale(self, i: int, features: F32) -> F32:
        """Residual map of one scale, (h, w), its ring filled."""
        pooled, _, _ = self._kernels.pool_norm(features, out=self._pooled[i])
        ring, height, width = self._part.rings[i], pooled.shape[0], pooled.shape[1]
        errors = {"selected": self._selected, "raster": self._raster, "nearest": self._nearest}
        inner = errors[self._part.target](pooled, ring, self._arrays.get(f"bank_{i}"))
        return self._kernels.fill_border(inner, (height, width), ring, self._part.fill)

    def _selected(self, pooled: F32, ring: int, bank: F32 | None) -> F32:
        """One global vector: the mean of the most typical cells; the ring takes part, as in the paper."""
        flat = pooled.reshape(-1, pooled.shape[-1])
        distances = self._kernels.distance_rowsum(flat)
        _, target = self._kernels.select_global(flat, distances, self._part.count, "paper")
        return self._regress(pooled, target)

    def _raster(self, pooled: F32, ring: int, bank: F32 | None) -> F32:
        """The published demo: first raster cells as global vectors, ring solved on reflected padding."""
        flat = pooled.reshape(-1, pooled.shape[-1])
        _, target = self._kernels.select_global(
            flat, np.zeros(len(flat), np.float32), self._part.count, "demo"
        )
        padded = np.pad(pooled, ((1, 1), (1, 1), (0, 0)), mode="reflect")
        return self._regress(padded, target)

    def _nearest(self, pooled: F32, ring: int, bank: F32 | None) -> F32:
        """One global vector per cell inside the ring: the mean of its nearest cells in image or bank."""
        inner = _cut(pooled, ring)
        queries = inner.reshape(-1, inner.shape[-1])
        anchors = anchor_indices(len(queries), self._part.anchors)
        own = np.full(len(queries), -1)
        own[anchors] = np.arange(len(anchors))
        rows = queries[anchors] if bank is None else np.concatenate([queries[anchors], bank])
        _, nearest = self._kernels.knn_distance(queries, rows, self._part.neighbours, own)
        target = self._kernels.neighbour_mean(rows, nearest).reshape(inner.shape)
        return self._kernels.neighbour_regression(
            _cut(pooled, ring - 1), target, self._part.blend, self._part.ridge
        )

    def _regress(self, pooled: F32, target: F32) -> F32:
        return self._kernels.neighbour_regression(pooled, target, self._part.blend, self._part.ridge)


def _cut(features: F32, ring: int) -> F32:
    """Features without `ring` cells at every side."""
    return features[ring : features.shape[0] - ring, ring : features.shape[1] - ring]


def joined_mask(arrays: dict[str, F32], mask: F32 | None) -> F32 | None:
    """The bundle's own mask times the recipe's, where there are any."""
    own = arrays.get("mask")
    return own if mask is None else mask if own is None else own * mask


def check_scales(part: GrnrHead, arrays: dict[str, F32], outputs: Sequence[TensorSpec]) -> None:
    """Raises BundleError unless the head's arrays fit the network's outputs."""
    shapes = {spec.name: spec.shape for spec in outputs}
    for i, name in enumerate(part.outputs):
        _check_scale(i, name, shapes.get(name), part.rings[i], arrays)


def _check_scale(i: int, name: str, shape: tuple[int, ...] | None, ring: int, arrays: dict[str, F32]) -> None:
    """Raises BundleError unless scale i's matrices fit the grid of its network output."""
    if shape is None or len(shape) != 4 or min(shape[1:3]) < 2 * ring + 3 or ring < 1:
        raise BundleError(
            f"head: {name!r} has shape {shape}, ring {ring}; expected (1, h, w, C), ring >= 1 inside"
        )
    for axis, key in ((1, f"rows_{i}"), (2, f"columns_{i}")):
        found = arrays[key].shape if key in arrays else None
        if found is None or len(found) != 2 or found[1] != shape[axis]:
            raise BundleError(f"head.npz: {key} has shape {found}; expected (cells out, {shape[axis]})")
    bank = arrays.get(f"bank_{i}")
    if bank is not None and bank.shape[1:] != shape[3:]:
        raise BundleError(f"head.npz: bank_{i} has shape {bank.shape}; expected (rows, {shape[3]})")
