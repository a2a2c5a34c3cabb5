"""How much of a network's work is in FP16: a graph of islands is none."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx


def half_share(model: onnx.ModelProto, islands: Collection[str]) -> float:
    """Share of the multiplications in convolutions and matrix products that FP16 does, 0..1."""
    shapes = _shapes(model)
    work = {
        node.name: _products(node, shapes)
        for node in model.graph.node
        if node.op_type in ("Conv", "MatMul", "Gemm")
    }
    whole = sum(work.values())
    return 1.0 - sum(work[name] for name in work if name in islands) / whole if whole else 1.0


def _products(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Multiplications of one node: every output value is a sum over a kernel (OIHW) or a row."""
    first, second = (shapes[name] for name in node.input[:2])
    length = np.prod(second[1:]) if node.op_type == "Conv" else first[-1]
    return int(np.prod(shapes[node.output[0]]) * length)


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    found = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}
    return {**found, **{constant.name: tuple(constant.dims) for constant in graph.initializer}}
