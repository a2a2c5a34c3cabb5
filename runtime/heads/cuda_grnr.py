"""The GRNR head on a GPU: features up, five launches for a pair of scales, map and score down, one graph.

Source: arXiv 2406.07333; steps and names follow the reference kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kernels import anchor_indices
from kernels.cuda import (
    MOST_NEIGHBOURS,
    MOST_SELECTED,
    Bands,
    ErrorMap,
    Judge,
    KnnScale,
    Launch,
    PoolScale,
    RegressionScale,
    RowsumScale,
    SelectScale,
    bands,
    distance_rowsum,
    finish_map,
    finish_scratch,
    knn_distance,
    knn_scratch,
    neighbour_regression,
    pool,
    pool_norm_scratch,
    rowsum_scratch,
    select_global,
)
from kernels.device import Device
from kernels.workspace import Workspace

from ..bundle import GrnrHead
from ..errors import EngineError
from ..network import Buffers, TensorSpec
from .grnr import check_scales, joined_mask

F16 = NDArray[np.float16]
F32 = NDArray[np.float32]

SPARE = 4
"""Candidates for a cell's neighbours beyond those that are taken."""


@dataclass(frozen=True)
class _Scale:
    """What one scale's launches are made of; of `knn`, `rowsum` and `select` those that its target needs."""

    pool: PoolScale
    regression: RegressionScale
    errors: ErrorMap
    knn: KnnScale | None = None
    rowsum: RowsumScale | None = None
    select: SelectScale | None = None


class CudaGrnr:
    """Every step of the method on the features of one image, enqueued on one stream."""

    def __init__(
        self, part: GrnrHead, arrays: dict[str, F32], outputs: Sequence[TensorSpec], device: Device
    ) -> None:
        """Takes the parameters and the arrays of `head.npz`; closes the device in `close`.

        Raises:
            BundleError: an array is missing or does not fit the network's outputs.
            EngineError: more neighbours or cells than the kernels take.
        """
        check_scales(part, arrays, outputs)
        if part.neighbours > MOST_NEIGHBOURS or part.count > MOST_SELECTED:
            raise EngineError(
                f"head cuda: takes at most {MOST_NEIGHBOURS} neighbours and {MOST_SELECTED} typical cells, "
                f"the bundle has {part.neighbours} and {part.count}; take head native"
            )
        self._part, self._arrays, self._device = part, arrays, device
        self.map_shape = (arrays["rows_0"].shape[0], arrays["columns_0"].shape[0])
        self.launches: list[Launch] = []
        """All kernels of one image in order, once bound: the graph without uploads and downloads."""

    def bind(self, features: Buffers, anomaly_map: F32, score: F32, mask: F32 | None) -> None:
        """As in `Head`; all memory is asked for here, the kernels compiled, and the graph captured.

        Features may be float16 too, as a network in FP16 gives them.

        Raises:
            EngineError: no compiler, or the GPU refuses.
        """
        try:
            self._bind([features[name] for name in self._part.outputs], mask)
        except self._device.fault as error:
            raise EngineError(f"head cuda: {error}") from error
        self._map, self._score = anomaly_map, score

    def _bind(self, features: list[F32], mask: F32 | None) -> None:
        space = Workspace(self._device)
        self._stream = space.stream
        self._features = features
        self._up = [(self._device.pinned(f.nbytes), space.empty(f.shape, f.dtype)) for f in features]
        size = 4 * self.map_shape[0] * self.map_shape[1]
        self._down = [(self._device.pinned(n), self._device.memory(n)) for n in (size, 4)]
        self.launches = self._plan(space, joined_mask(self._arrays, mask))
        for launch in self.launches:
            self._device.load(launch)
        # Once without a graph: what the driver does at first use must not happen during the capture.
        self._enqueue()
        self._stream.sync()
        self._graph = self._stream.capture(self._enqueue) if self._device.graphs else None

    def run(self, stream: object | None = None) -> None:
        """As in `Head`; waits, without spinning, until map and score are there.

        Raises:
            EngineError: the GPU failed; no later run can succeed.
        """
        try:
            for (staged, _), feature in zip(self._up, self._features, strict=True):
                staged.view(feature.shape, feature.dtype)[...] = feature
            self._enqueue() if self._graph is None else self._graph.launch()
            self._stream.mark().wait()
        except self._device.fault as error:
            raise EngineError(f"head cuda: the GPU failed: {error}") from error
        (found, _), (score, _) = self._down
        self._map[...] = found.view(self.map_shape, np.float32)
        self._score[...] = score.view((1,), np.float32)

    def close(self) -> None:
        """As in `Head`."""
        self._device.close()

    def _enqueue(self) -> None:
        for staged, feature in self._up:
            self._stream.copy(feature, staged)
        for launch in self.launches:
            self._stream.launch(launch)
        for found, result in self._down:
            self._stream.copy(found, result)

    def _plan(self, space: Workspace, mask: F32 | None) -> list[Launch]:
        """All launches in order: pooling, the global vectors, the regression for each pair; then the map."""
        part, launches = self._part, []
        half = self._features[0].dtype == np.float16
        scales = [self._scale(i, space) for i in range(len(part.outputs))]
        for first in range(0, len(scales), 2):
            pair = scales[first : first + 2]
            launches.append(pool(*(scale.pool for scale in pair), half=half))
            launches += _vectors(pair, space)
            regressions = (scale.regression for scale in pair)
            launches.append(neighbour_regression(*regressions, blend=part.blend, ridge=part.ridge))
        (_, found), (_, score) = self._down
        judge = Judge(
            score=score,
            scratch=space.empty(finish_scratch(self.map_shape), np.float32),
            counter=space.counters(1),
            mask=None if mask is None else space.constant(mask),
            kind=part.score,
            top=part.top,
            profile=part.profile,
        )
        return launches + finish_map([s.errors for s in scales], found, judge, part.fill, part.fusion)

    def _scale(self, i: int, space: Workspace) -> _Scale:
        (_, height, width, channels), target = self._features[i].shape, self._part.target
        shape, ring = (height, width, channels), self._part.rings[i]
        pooled, lower = space.empty(shape, np.float16), space.empty(shape, np.float16)
        mean = space.empty(channels, np.float32)
        partials, counters = pool_norm_scratch(shape)
        scratch = (space.empty(partials, np.float32), space.counters(counters))
        # Cells at each side without an error: inside the ring, with a full window, or none.
        edge = {"nearest": ring, "selected": 1, "raster": 0}[target]
        rows, columns = height - 2 * edge, width - 2 * edge
        errors = space.empty((rows, columns), np.float32)
        axes = (self._bands(f"{axis}_{i}", space) for axis in ("rows", "columns"))
        common = (
            PoolScale(self._up[i][1], pooled, lower, mean, *scratch, shape),
            RegressionScale(pooled, lower, errors, shape, edge),
            ErrorMap(errors, rows, columns, ring - edge, ring, *axes),
        )
        if target == "nearest":
            return self._nearest(_Scale(*common), ring, self._arrays.get(f"bank_{i}"), space)
        return self._global(_Scale(*common), space)

    def _nearest(self, scale: _Scale, ring: int, bank: F32 | None, space: Workspace) -> _Scale:
        """One global vector per cell inside the ring: the mean of its nearest cells in image or bank."""
        height, width, channels = scale.pool.shape
        cells = np.arange(height * width, dtype=np.int32).reshape(height, width)
        inner = cells[ring : height - ring, ring : width - ring].ravel()
        anchors = anchor_indices(len(inner), self._part.anchors)
        exclude = np.full(len(inner), -1, np.int32)
        exclude[anchors] = np.arange(len(anchors))
        own, bank_count = space.constant(inner[anchors]), 0 if bank is None else len(bank)
        high, low = (None, None) if bank is None else (space.constant(part) for part in halves(bank))
        # A few more than are taken: the regression measures them anew, as FP16 ranks near ones at random.
        kept = min(self._part.neighbours + SPARE, len(anchors) + bank_count - 1, MOST_NEIGHBOURS)
        indices = space.empty((len(inner), kept), np.int32)
        knn = KnnScale(
            features=scale.pool.pooled,
            indices=indices,
            n=len(inner),
            channels=channels,
            k=kept,
            cells=space.constant(inner),
            own=own,
            own_count=len(anchors),
            bank=high,
            bank_count=bank_count,
            exclude=space.constant(exclude),
            centre=scale.pool.mean,
        )
        regression = replace(
            scale.regression,
            nearest=indices,
            kept=kept,
            count=self._part.neighbours,
            own=own,
            own_count=len(anchors),
            bank=high,
            bank_lower=low,
        )
        return replace(scale, knn=knn, regression=regression)

    def _global(self, scale: _Scale, space: Workspace) -> _Scale:
        """One global vector: the mean of the most typical cells ("selected"), or of the first ("raster")."""
        height, width, channels = scale.pool.shape
        n, pooled = height * width, scale.pool.pooled
        distances, rowsum = None, None
        if self._part.target == "selected":
            distances = space.empty(n, np.float32)
            scratch = (space.empty(rowsum_scratch(n), np.float32), space.counters(1))
            rowsum = RowsumScale(pooled, scale.pool.mean, distances, *scratch, n, channels)
        vector, count = space.empty(channels, np.float32), self._part.count
        indices = space.empty(count, np.int32)
        select = SelectScale(pooled, distances, indices, vector, n, channels, count)
        regression = replace(scale.regression, target=vector)
        return replace(scale, rowsum=rowsum, select=select, regression=regression)

    def _bands(self, name: str, space: Workspace) -> Bands:
        found = bands(self._arrays[name])
        return replace(found, first=space.constant(found.first), weights=space.constant(found.weights))


def halves(values: F32) -> tuple[F16, F16]:
    """Each number in FP16, and what that leaves out, times 2048: 22 bits together."""
    high = values.astype(np.float16)
    return high, ((values - high) * 2048).astype(np.float16)


def _vectors(pair: Sequence[_Scale], space: Workspace) -> list[Launch]:
    """The launches that find the global vectors of one or two scales."""
    knns = [scale.knn for scale in pair if scale.knn]
    if knns:
        with_scratch = [_with_lists(*both, space) for both in zip(knns, knn_scratch(*knns), strict=True)]
        return [knn_distance(*with_scratch)]
    rowsums = [scale.rowsum for scale in pair if scale.rowsum]
    launches = [distance_rowsum(*rowsums)] if rowsums else []
    return [*launches, select_global(*(scale.select for scale in pair if scale.select))]


def _with_lists(knn: KnnScale, sizes: tuple[int, int], space: Workspace) -> KnnScale:
    numbers, counters = sizes
    return replace(
        knn,
        list_scores=space.empty(numbers, np.float32),
        list_rows=space.empty(numbers, np.int32),
        counters=space.counters(counters),
    )
