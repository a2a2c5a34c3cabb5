"""Multiplications are counted as by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.work import gmac
from export.networks.graph import Graph


def test_convolutions_and_products_are_counted_as_by_hand() -> None:
    graph = Graph()
    weights = {"c.weight": np.zeros((4, 3, 5, 5), np.float32), "g.weight": np.zeros((4, 1, 3, 3), np.float32)}
    x = graph.conv("image", weights, "c", stride=2, pad=2)
    x = graph.relu(graph.conv(x, weights, "g", pad=1, group=4))
    x = graph.reshape(x, 1, 4, 48)
    matrix = graph.constant("m", np.zeros((48, 10), np.float32))
    graph.node("MatMul", x, matrix, name="out")
    data = graph.model("t", {"image": (1, 3, 12, 16)}, {"out": (1, 4, 10)}).SerializeToString()
    by_hand = 6 * 8 * 4 * 3 * 25 + 6 * 8 * 4 * 9 + 4 * 10 * 48
    assert gmac(data) == pytest.approx(by_hand / 1e9)
