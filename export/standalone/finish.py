"""From cell errors to map and score in standard operators; steps and names follow `kernels.finish`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kernels.finish import faded, top_count
from runtime.bundle import GrnrHead

from .layers import Layers

F32 = NDArray[np.float32]


def lay_border(
    graph: Layers, errors: str, size: tuple[int, int], grid: tuple[int, int], ring: int, fill: str
) -> str:
    """The full grid (h, w) from its inner cells, with a border ring overwritten."""
    cut = ring - (grid[0] - size[0]) // 2
    kept = graph.cut(errors, [cut, cut], [size[0] - cut, size[1] - cut], [0, 1])
    pads = graph.ints(ring, ring, ring, ring)
    if fill == "edge":
        return graph.node("Pad", kept, pads, mode="edge")
    inside = np.zeros(grid, bool)
    inside[ring : grid[0] - ring, ring : grid[1] - ring] = True
    mask = graph.constant(f"inside_{grid[0]}x{grid[1]}_{ring}", inside)
    least = graph.node("ReduceMin", errors, graph.ints(0, 1), keepdims=1)
    return graph.node("Where", mask, graph.node("Pad", kept, pads), least)


def lay_finish(
    graph: Layers, part: GrnrHead, arrays: Mapping[str, F32], maps: Sequence[str]
) -> tuple[str, str]:
    """Anomaly map (H, W) and score (1,) from the maps of all scales."""
    scales = [
        graph.enlarged(cells, arrays[f"rows_{i}"], arrays[f"columns_{i}"], f"finish_{i}")
        for i, cells in enumerate(maps)
    ]
    fused = scales[0]
    for scale in scales[1:]:
        fused = graph.mul(fused, scale) if part.fusion == "product" else graph.add(fused, scale)
    if part.fusion == "mean":
        fused = graph.div(fused, graph.scalar(len(scales)))
    height, width = len(arrays["rows_0"]), len(arrays["columns_0"])
    judged = graph.div(fused, _profile(graph, fused, height, width)) if part.profile else fused
    if "mask" in arrays:
        judged = graph.mul(judged, graph.constant("mask", arrays["mask"]))
    return fused, _score(graph, part, graph.reshape(judged, height * width), height * width)


def _score(graph: Layers, part: GrnrHead, judged: str, cells: int) -> str:
    if part.score == "max":
        return graph.node("ReduceMax", judged, graph.ints(0), keepdims=1)
    if part.score == "std":
        difference = graph.sub(judged, graph.mean_of(judged, 0))
        return graph.sqrt(graph.mean_of(graph.mul(difference, difference), 0))
    largest, _ = graph.top(judged, top_count(part.top, cells), 0, largest=True)
    return graph.mean_of(largest, 0)


def _profile(graph: Layers, anomaly_map: str, height: int, width: int) -> str:
    """(H, W) `kernels.border_profile`; ones where the median of the map is 0."""
    centre = _median(graph, graph.reshape(anomaly_map, height * width, 1), 0, height * width)
    down = _faded(graph, graph.div(_median(graph, anomaly_map, 1, width), centre), height)
    flat = graph.transpose(_median(graph, anomaly_map, 0, height), 1, 0)
    across = graph.transpose(_faded(graph, graph.div(flat, centre), width), 1, 0)
    raised = graph.node("Greater", centre, graph.scalar(0))
    return graph.node("Where", raised, graph.node("Max", down, across), graph.scalar(1))


def _median(graph: Layers, x: str, axis: int, length: int) -> str:
    """Along an axis of that length, which stays with length 1."""
    half = length // 2 + 1
    largest, _ = graph.top(x, half, axis, largest=True)
    middle = 1 if length % 2 else 2
    return graph.mean_of(graph.cut(largest, [half - middle], [half], [axis]), axis)


def _faded(graph: Layers, ratio: str, length: int) -> str:
    """(n, 1) of what is raised, smoothed along the axis and faded towards the inside."""
    # What is above 1 goes through one matrix; its columns are what the kernel makes of each row alone.
    columns = [faded(1 + row) - 1 for row in np.eye(length)]
    fade = graph.constant(f"profile_{length}", np.stack(columns, 1).astype(np.float32))
    raised = graph.relu(graph.sub(ratio, graph.scalar(1)))
    return graph.add(graph.matmul(fade, raised), graph.scalar(1))
