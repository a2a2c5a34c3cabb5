"""The GRNR head in standard operators; steps and names follow `runtime.heads.grnr`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kernels import anchor_indices
from runtime.bundle import GrnrHead

from .finish import lay_border, lay_finish
from .layers import Layers
from .regression import lay_regression

F32 = NDArray[np.float32]
Shape = tuple[int, int, int]


def lay_grnr(
    graph: Layers,
    part: GrnrHead,
    arrays: Mapping[str, F32],
    features: Mapping[str, str],
    shapes: Mapping[str, Sequence[int]],
) -> tuple[str, str]:
    """Anomaly map (H, W) and score (1,)."""
    maps = []
    for i, name in enumerate(part.outputs):
        height, width, channels = shapes[name]
        pooled, ring = graph.pool(features[name], shapes[name]), part.rings[i]
        errors = TARGETS[part.target]
        inner, size = errors(graph, part, pooled, (height, width, channels), ring, arrays.get(f"bank_{i}"))
        maps.append(lay_border(graph, inner, size, (height, width), ring, part.fill))
    return lay_finish(graph, part, arrays, maps)


def _selected(
    graph: Layers, part: GrnrHead, pooled: str, shape: Shape, ring: int, bank: F32 | None
) -> tuple[str, tuple[int, int]]:
    """One global vector: the mean of the cells that are nearest to all others."""
    height, width, channels = shape
    cells = height * width
    flat = graph.reshape(pooled, cells, channels)
    places = np.arange(cells, dtype=np.int64)
    column, row = graph.constant("cells.column", places[:, None]), graph.constant("cells.row", places[None])
    distances = graph.sqrt(graph.squared_distances(flat, flat))
    distances = graph.node("Where", graph.node("Equal", column, row), graph.scalar(0), distances)
    _, typical = graph.top(graph.sum(distances, 1, keepdims=0), part.count, 0, largest=False)
    target = graph.mean_of(graph.node("Gather", flat, typical, axis=0), 0)
    return lay_regression(graph, pooled, shape, target, part.blend, part.ridge)


def _raster(
    graph: Layers, part: GrnrHead, pooled: str, shape: Shape, ring: int, bank: F32 | None
) -> tuple[str, tuple[int, int]]:
    """The published demo: the first raster cells as global vectors, on reflected padding."""
    height, width, channels = shape
    flat = graph.reshape(pooled, height * width, channels)
    target = graph.mean_of(graph.cut(flat, [0], [part.count], [0]), 0)
    padded = graph.node("Pad", pooled, graph.ints(1, 1, 0, 1, 1, 0), mode="reflect")
    return lay_regression(graph, padded, (height + 2, width + 2, channels), target, part.blend, part.ridge)


def _nearest(
    graph: Layers, part: GrnrHead, pooled: str, shape: Shape, ring: int, bank: F32 | None
) -> tuple[str, tuple[int, int]]:
    """One global vector per cell inside the ring: the mean of its nearest cells in image or bank."""
    inner, (height, width, channels) = _inside(graph, pooled, shape, ring)
    queries = graph.reshape(inner, height * width, channels)
    anchors = anchor_indices(height * width, part.anchors)
    own = np.full(height * width, -1, np.int64)
    own[anchors] = np.arange(len(anchors))
    rows, count = graph.node("Gather", queries, graph.ints(*anchors.tolist()), axis=0), len(anchors)
    if bank is not None:
        # Named by size: two scales may have banks.
        good = graph.constant(f"good_{len(bank)}x{channels}_{rows}", bank)
        rows, count = graph.node("Concat", rows, good, axis=0), count + len(bank)
    _, indices = graph.nearest(queries, rows, part.neighbours, own, count)
    target = graph.mean_of(graph.node("Gather", rows, indices, axis=0), 1, keepdims=0)
    around, size = _inside(graph, pooled, shape, ring - 1)
    return lay_regression(graph, around, size, target, part.blend, part.ridge)


TARGETS = {"selected": _selected, "raster": _raster, "nearest": _nearest}
"""Where the global vectors come from -> what lays the regression towards them."""


def _inside(graph: Layers, pooled: str, shape: Shape, ring: int) -> tuple[str, Shape]:
    """Features without `ring` cells at every side."""
    height, width, channels = shape
    inner = graph.cut(pooled, [ring, ring], [height - ring, width - ring], [0, 1])
    return inner, (height - 2 * ring, width - 2 * ring, channels)
