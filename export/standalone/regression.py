"""GRNR's core in standard operators: 8x8 systems of all cells, eliminated step by step.

Source: `kernels.regression`, where the equations are.
"""

from __future__ import annotations

import numpy as np

from kernels.regression import NEIGHBOURS, NOISE_VARIANCE

from .layers import Layers

SIZE = len(NEIGHBOURS)


def lay_regression(
    graph: Layers, features: str, shape: tuple[int, int, int], target: str, blend: float, ridge: float
) -> tuple[str, tuple[int, int]]:
    """Residual of each cell with a full 3x3 window, (h - 2, w - 2), and that size.

    Args:
        features: (h, w, C).
        target: (N, C) one global vector per cell, or (1, C).
    """
    rows, columns, channels = shape[0] - 2, shape[1] - 2, shape[2]
    cells = rows * columns

    def window(dy: int, dx: int) -> str:
        """(N, 1, C) the features of the cell that lies so far from each."""
        starts, ends = (1 + dy, 1 + dx), (1 + dy + rows, 1 + dx + columns)
        return graph.reshape(graph.cut(features, starts, ends, [0, 1]), cells, 1, channels)

    around = graph.concat(*(window(dy, dx) for dy, dx in NEIGHBOURS))
    own = window(0, 0)
    wanted = graph.add(
        graph.mul(own, graph.scalar(1 - blend)),
        graph.mul(graph.reshape(target, -1, 1, channels), graph.scalar(blend)),
    )
    system = _system(graph, around, wanted, channels, ridge)
    weights = _solve(graph, system)
    rebuilt = graph.matmul(graph.transpose(weights, 0, 2, 1), around)
    residual = graph.norm_of(graph.sub(own, rebuilt), 2)
    return graph.reshape(residual, rows, columns), (rows, columns)


def _system(graph: Layers, around: str, wanted: str, channels: int, ridge: float) -> str:
    """(N, 8, 9): the Gram matrix with its ridge, and the right side as ninth column."""
    gram = graph.matmul(around, graph.transpose(around, 0, 2, 1))
    right = graph.matmul(around, graph.transpose(wanted, 0, 2, 1))
    diagonal = graph.sum(graph.mul(around, around), 2)
    mean = graph.mul(graph.mean_of(diagonal, 1), graph.scalar(ridge))
    eps = graph.node("Max", mean, graph.scalar(channels * NOISE_VARIANCE))
    eye = graph.constant("regression.eye", np.eye(SIZE, dtype=np.float32))
    return graph.node("Concat", graph.add(gram, graph.mul(eps, eye)), right, axis=2)


def _solve(graph: Layers, system: str) -> str:
    """(N, 8, 1) solutions of (N, 8, 9), by elimination without pivoting, as `kernels.regression`."""
    pivots, rest = [], system
    for j in range(SIZE):
        row = graph.cut(rest, [0], [1], [1])
        pivots.append(row)
        if j < SIZE - 1:
            below = graph.cut(rest, [1], [SIZE - j], [1])
            factor = graph.div(graph.cut(below, [j], [j + 1], [2]), graph.cut(row, [j], [j + 1], [2]))
            rest = graph.sub(below, graph.mul(factor, row))
    known = ""
    for j in reversed(range(SIZE)):
        right = graph.cut(pivots[j], [SIZE], [SIZE + 1], [2])
        if known:
            right = graph.sub(right, graph.matmul(graph.cut(pivots[j], [j + 1], [SIZE], [2]), known))
        value = graph.div(right, graph.cut(pivots[j], [j], [j + 1], [2]))
        known = graph.node("Concat", value, known, axis=1) if known else value
    return known
