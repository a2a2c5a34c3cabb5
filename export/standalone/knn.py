"""The memory bank head in standard operators; steps and names follow `runtime.heads.knn`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kernels import resize_matrix
from runtime.bundle import KnnHead

from .layers import FAR, Layers

F32 = NDArray[np.float32]


def lay_knn(
    graph: Layers,
    part: KnnHead,
    arrays: Mapping[str, F32],
    features: Mapping[str, str],
    shapes: Mapping[str, Sequence[int]],
) -> tuple[str, str]:
    """Anomaly map (H, W) and score (1,)."""
    height, width, _ = shapes[part.outputs[0]]
    queries, bank = _embed(graph, part, features, shapes), graph.constant("bank", arrays["bank"])
    distances, indices = graph.nearest(queries, bank, part.neighbours)
    cells = graph.mean_of(distances, 1, keepdims=0)
    anomaly_map = graph.enlarged(
        graph.reshape(cells, height, width), arrays["rows"], arrays["columns"], "finish"
    )
    worst = graph.node("ArgMax", cells, axis=0, keepdims=1)
    patch = graph.node("Gather", cells, worst, axis=0)
    rows = len(arrays["bank"])
    count = min(part.support, rows)
    if count < 2:
        return anomaly_map, patch
    nearest = graph.node("Gather", graph.cut(indices, [0], [1], [1]), worst, axis=0)
    query = graph.node("Gather", queries, worst, axis=0)
    return anomaly_map, graph.mul(patch, _weight(graph, query, bank, nearest, count, rows))


def _weight(graph: Layers, query: str, bank: str, nearest: str, count: int, rows: int) -> str:
    """(1,) equation 7 of the paper: 1 - softmax over the distances to the nearest row's own neighbourhood."""
    nearest = graph.reshape(nearest, 1)
    row = graph.node("Gather", bank, nearest, axis=0)
    around = graph.reshape(graph.squared_distances(row, bank), rows)
    places = graph.constant("bank.places", np.arange(rows, dtype=np.int64))
    around = graph.node("Where", graph.node("Equal", places, nearest), graph.scalar(-FAR), around)
    _, support = graph.top(around, count, 0, largest=False)
    others = graph.norm_of(graph.sub(query, graph.node("Gather", bank, support, axis=0)), 1)
    greatest = graph.node("ReduceMax", others, graph.ints(0, 1), keepdims=1)
    own = graph.node("Exp", graph.sub(graph.norm_of(graph.sub(query, row), 1), greatest))
    whole = graph.sum(graph.node("Exp", graph.sub(others, greatest)), 0)
    return graph.reshape(graph.sub(graph.scalar(1), graph.div(own, whole)), 1)


def _embed(
    graph: Layers, part: KnnHead, features: Mapping[str, str], shapes: Mapping[str, Sequence[int]]
) -> str:
    """(N, C) one embedding per cell of the finest grid."""
    height, width, _ = shapes[part.outputs[0]]
    scales = []
    for name in part.outputs:
        h, w, channels = shapes[name]
        pooled = graph.pool(features[name], shapes[name])
        if (h, w) != (height, width):
            down, across = (resize_matrix(n, m).astype(np.float32) for n, m in ((h, height), (w, width)))
            flat = graph.matmul(graph.constant(f"{name}.down", down), graph.reshape(pooled, h, w * channels))
            tall = graph.reshape(flat, height, w, channels)
            pooled = graph.matmul(graph.constant(f"{name}.across", across), tall)
        scales.append(graph.reshape(pooled, height * width, channels))
    return scales[0] if len(scales) == 1 else graph.concat(*scales)
