"""What heads are made of, in standard operators; tensors by name, shapes as each line says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from ..networks.graph import Graph

F32 = NDArray[np.float32]

FAR = 1e30
"""A squared distance that is never among the smallest; finite, so that no NaN comes of it."""


class Layers(Graph):
    """A graph with products, sorting and the distances that heads share."""

    def matmul(self, a: str, b: str) -> str:
        return self.node("MatMul", a, b)

    def reshape(self, x: str, *shape: int, name: str | None = None) -> str:
        return self.node("Reshape", x, self.ints(*shape), name=name)

    def cut(self, x: str, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int]) -> str:
        """x[start:end] along each of `axes`."""
        return self.node("Slice", x, self.ints(*starts), self.ints(*ends), self.ints(*axes))

    def sum(self, x: str, axis: int, keepdims: int = 1) -> str:
        return self.node("ReduceSum", x, self.ints(axis), keepdims=keepdims)

    def mean_of(self, x: str, axis: int, keepdims: int = 1) -> str:
        return self.node("ReduceMean", x, self.ints(axis), keepdims=keepdims)

    def norm_of(self, x: str, axis: int) -> str:
        """Euclidean length along an axis, which stays with length 1."""
        return self.sqrt(self.sum(self.mul(x, x), axis))

    def top(self, x: str, count: int, axis: int, largest: bool) -> tuple[str, str]:
        """The `count` largest or smallest values, the first of them first, and where they are."""
        name = f"topk_{len(self._nodes)}"
        outputs = [f"{name}.values", f"{name}.indices"]
        inputs = [x, self.ints(count)]
        self.append(
            helper.make_node("TopK", inputs, outputs, name=name, axis=axis, largest=int(largest), sorted=1)
        )
        return outputs[0], outputs[1]

    def pool(self, features: str, shape: Sequence[int]) -> str:
        """(h, w, C) from (1, h, w, C): means over 3x3 cells, what lies outside counts as 0."""
        planes = self.transpose(features, 0, 3, 1, 2)
        pooled = self.node(
            "AveragePool",
            planes,
            kernel_shape=[3, 3],
            strides=[1, 1],
            pads=[1, 1, 1, 1],
            count_include_pad=1,
        )
        return self.reshape(self.transpose(pooled, 0, 2, 3, 1), *shape)

    def nearest(
        self, queries: str, bank: str, count: int, own: NDArray[np.int64] | None = None, rows: int = 0
    ) -> tuple[str, str]:
        """Distances (N, k) to the k nearest rows of a bank (M, C), ascending, and their indices.

        `own` (N,): the row that is the query itself and does not count, -1 for none; `rows` is M then.
        """
        squares = self.squared_distances(queries, bank)
        if own is not None:
            column = self.constant(f"own_{len(self._nodes)}", own[:, None])
            row = self.constant(f"rows_{rows}", np.arange(rows, dtype=np.int64)[None])
            squares = self.node("Where", self.node("Equal", column, row), self.scalar(FAR), squares)
        values, indices = self.top(squares, count, 1, largest=False)
        return self.sqrt(values), indices

    def squared_distances(self, queries: str, bank: str) -> str:
        """(N, M) of |a|^2 + |b|^2 - 2 a.b about the bank's mean, as `kernels.knn_distance`."""
        centre = self.mean_of(bank, 0)
        a, b = self.sub(queries, centre), self.sub(bank, centre)
        sizes = self.sum(self.mul(a, a), 1), self.transpose(self.sum(self.mul(b, b), 1), 1, 0)
        product = self.matmul(a, self.transpose(b, 1, 0))
        # Rounding can push a true zero slightly negative.
        return self.relu(self.sub(self.add(*sizes), self.mul(product, self.scalar(2))))

    def enlarged(self, cells: str, rows: F32, columns: F32, name: str) -> str:
        """A_h M A_w^T."""
        tall = self.matmul(self.constant(f"{name}.rows", rows), cells)
        return self.matmul(tall, self.constant(f"{name}.columns", np.ascontiguousarray(columns.T)))
