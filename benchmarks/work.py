"""How many multiplications a network does for one image, read off its graph."""

from __future__ import annotations

import math

import onnx


def gmac(network: bytes) -> float:
    """Multiplications of the convolutions and matrix products of a static ONNX network, in 1e9."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(network))
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            total += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type == "MatMul":
            total += math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return total / 1e9
