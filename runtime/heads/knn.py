"""The memory bank head on the CPU: distance of each cell's embedding to its nearest embeddings of good parts.

Source: PatchCore (Roth et al., CVPR 2022), sections 3.1 and 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kernels import Kernels, open_kernels, resize_matrix

from ..bundle import KnnHead
from ..errors import BundleError
from ..network import Buffers, TensorSpec

F32 = NDArray[np.float32]


class HostKnn:
    """Embeddings of one image, their distances to the bank, and the image score re-weighted as published."""

    def __init__(
        self, part: KnnHead, arrays: dict[str, F32], outputs: Sequence[TensorSpec], kernels: Kernels
    ) -> None:
        """Takes the parameters and the arrays of `head.npz`; see `KnnHead` for their names.

        Raises:
            BundleError: an array is missing or does not fit the network's outputs.
        """
        _check(part, arrays, {spec.name: spec.shape for spec in outputs})
        self._part, self._kernels = part, kernels
        self._bank = kernels.Bank(arrays["bank"])
        self._rows, self._columns = arrays["rows"], arrays["columns"]
        self.map_shape = (self._rows.shape[0], self._columns.shape[0])

    def bind(self, features: Buffers, anomaly_map: F32, score: F32, mask: F32 | None) -> None:
        """As in `Head`; a cell's weight in the score is the mask's mean around it."""
        self._features = [features[name] for name in self._part.outputs]
        self._map, self._score = anomaly_map, score
        cells = self._features[0].shape[1:3]
        self._weights = np.ones(cells, np.float32) if mask is None else resized(mask, cells)
        found = (self._weights.size, self._part.neighbours)
        self._found = np.empty(found, np.float32), np.empty(found, np.int64)

    def run(self, stream: object | None = None) -> None:
        """As in `Head`."""
        queries = embed([feature[0] for feature in self._features], self._kernels)
        distances, nearest = self._kernels.knn_distance(
            queries, self._bank, self._part.neighbours, out=self._found
        )
        cells = distances.mean(axis=1).reshape(self._weights.shape)
        self._map[...], _ = self._kernels.finish_map([cells], [self._rows], [self._columns])
        judged = (cells * self._weights).ravel()
        # argmax finds a NaN before any number, so that it reaches the score.
        worst = int(judged.argmax())
        self._score[0] = judged[worst] * self._weight(queries[worst], int(nearest[worst, 0]))

    def close(self) -> None:
        """As in `Head`: NumPy's memory goes by itself."""

    def _weight(self, query: F32, nearest: int) -> float:
        """Equation 7: 1 - softmax over the distances to the bank's own neighbourhood, at its nearest row.

        Close to 1 where the nearest good patch is itself rare, so far from all others.
        """
        rows = self._bank.rows
        count = min(self._part.support, len(rows))
        if count < 2:
            # Alone, the softmax is 1 and the weight 0: every image would be good.
            return 1.0
        _, around = self._kernels.knn_distance(rows[nearest : nearest + 1], self._bank, count)
        distances = np.linalg.norm(query - rows[around[0]], axis=1)
        own = np.linalg.norm(query - rows[nearest])
        greatest = distances.max()
        return float(1 - np.exp(own - greatest) / np.exp(distances - greatest).sum())


def embed(features: Sequence[F32], kernels: Kernels | None = None) -> F32:
    """One embedding per cell of the first, finest grid: 3x3 means of all feature maps side by side.

    Args:
        features: (h_i, w_i, C_i) float32, as the network gave them; the coarser ones are brought to the
            first one's grid by bilinear interpolation, after the averaging.
        kernels: None takes the best form there is.

    Returns:
        (h_0 * w_0, sum of C_i) float32, cells in raster order.

    Source: PatchCore, section 3.1 (locally aware patch features), mean as aggregation.
    """
    kernels = kernels or open_kernels()
    pooled = [kernels.pool_norm(feature)[0] for feature in features]
    cells = pooled[0].shape[:2]
    joined = np.concatenate([resized(scale, cells) for scale in pooled], axis=2)
    return joined.reshape(-1, joined.shape[2])


def resized(grid: F32, cells: tuple[int, ...]) -> F32:
    """(h, w) or (h, w, C) float32 brought to `cells`: bilinear where it grows, averaged where it shrinks."""
    if grid.shape[:2] == tuple(cells):
        return grid
    rows, columns = (resize_matrix(n, m).astype(np.float32) for n, m in zip(grid.shape, cells, strict=False))
    flat = grid.reshape(*grid.shape[:2], -1)
    tall = np.tensordot(rows, flat, axes=1)
    return np.ascontiguousarray(columns @ tall).reshape(*cells, *grid.shape[2:])


def _check(part: KnnHead, arrays: dict[str, F32], shapes: dict[str, tuple[int, ...]]) -> None:
    """Raises BundleError unless bank and matrices fit the network's outputs."""
    found = [shapes.get(name, ()) for name in part.outputs]
    if not found or any(len(shape) != 4 for shape in found):
        raise BundleError(f"head: outputs {part.outputs} have shapes {found}; expected (1, h, w, C) each")
    missing = {"bank", "rows", "columns"} - arrays.keys()
    if missing:
        raise BundleError(f"head.npz: no {', '.join(sorted(missing))}; export the bundle again")
    for axis, name in ((1, "rows"), (2, "columns")):
        if arrays[name].ndim != 2 or arrays[name].shape[1] != found[0][axis]:
            raise BundleError(
                f"head.npz: {name} has shape {arrays[name].shape}; expected (cells out, {found[0][axis]})"
            )
    bank, channels = arrays["bank"], sum(shape[3] for shape in found)
    if bank.ndim != 2 or bank.shape[1] != channels or not 1 <= part.neighbours <= len(bank):
        raise BundleError(
            f"head.npz: bank has shape {bank.shape}; expected ({part.neighbours} or more rows, {channels})"
        )
    if part.support < 1 or not np.isfinite(bank).all():
        raise BundleError(f"head: support {part.support}, expected >= 1, over a bank of finite numbers")
