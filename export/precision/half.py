"""FP16 written into the graph: every tensor has its type, so that no builder is asked for a precision.

TensorRT calls this strong typing. A node computes in FP16 or, where it is named an island, in FP32; Casts
stand where an island begins and ends. Weights come once per type that a node wants them in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HALF, FULL = int(TensorProto.FLOAT16), int(TensorProto.FLOAT)
_SUFFIX = {HALF: "half", FULL: "full"}


def to_half(model: onnx.ModelProto, islands: Collection[str] = ()) -> onnx.ModelProto:
    """The network with FP16 input, outputs, weights and arithmetic, but for its islands.

    Args:
        model: FP32 throughout, with one output per node, as `build_network` lays it.
        islands: names of nodes that compute in FP32.

    Returns:
        The checked model; its names and shapes are those of `model`.
    """
    return _Typed(model).lay(islands)


def emulate_half(model: onnx.ModelProto, islands: Collection[str] = ()) -> onnx.ModelProto:
    """`to_half` in FP32 for a CPU: takes and gives FP32, computes in FP32, rounds where FP16 would.

    ONNX Runtime computes an FP16 network on most CPUs in FP32 and leaves out the rounding between two
    layers, which hides what cancellation costs. Casts that stand in the graph itself it keeps.
    """
    return _Emulated(model).lay(islands)


class _Typed:
    """The new graph while it is laid, node by node in the old one's order."""

    io = HALF

    def __init__(self, model: onnx.ModelProto) -> None:
        self._old = model
        self._constants = {constant.name: constant for constant in model.graph.initializer}
        self._outputs = {output.name for output in model.graph.output}
        self._types = {image.name: self.io for image in model.graph.input}
        self._nodes: list[onnx.NodeProto] = []
        self._kept: dict[str, onnx.TensorProto] = {}

    def lay(self, islands: Collection[str]) -> onnx.ModelProto:
        """The whole graph, checked."""
        for node in self._old.graph.node:
            self._add(node, FULL if node.name in islands else HALF)
        old = self._old.graph
        ends = _typed(old.input, self.io), _typed(old.output, self.io)
        graph = helper.make_graph(self._nodes, old.name, *ends, list(self._kept.values()))
        model = helper.make_model(graph, opset_imports=list(self._old.opset_import))
        model.ir_version, model.producer_name = self._old.ir_version, self._old.producer_name
        onnx.checker.check_model(model, full_check=True)
        return model

    def _add(self, node: onnx.NodeProto, wanted: int) -> None:
        """Lays a node that computes in the type `wanted`."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self._as(name, wanted) for name in node.input]
        self._nodes.append(copy)
        (name,) = node.output
        self._types[name] = wanted
        if wanted == FULL and name in self._outputs:
            self._cast(_renamed(copy), name, HALF)

    def _as(self, name: str, wanted: int) -> str:
        """The name under which a tensor is there in a type; a Cast or a second constant makes it so."""
        if name in self._constants:
            return self._constant(self._constants[name], wanted)
        if self._types[name] == wanted:
            return name
        other = f"{name}_{_SUFFIX[wanted]}"
        if other not in self._types:
            self._cast(name, other, wanted)
        return other

    def _cast(self, name: str, other: str, wanted: int) -> None:
        self._nodes.append(helper.make_node("Cast", [name], [other], name=f"cast_to_{other}", to=wanted))
        self._types[other] = wanted

    def _constant(self, constant: onnx.TensorProto, wanted: int) -> str:
        if constant.data_type != FULL or wanted == FULL:
            self._kept[constant.name] = constant
            return str(constant.name)
        name = f"{constant.name}_half"
        if name not in self._kept:
            self._kept[name] = numpy_helper.from_array(self._stored(rounded(constant)), name)
        return name

    def _stored(self, half: np.ndarray) -> np.ndarray:
        return half


class _Emulated(_Typed):
    """The same graph in FP32: a Cast to FP16 becomes a rounding, and each FP16 node is followed by one."""

    io = FULL

    def _add(self, node: onnx.NodeProto, wanted: int) -> None:
        super()._add(node, wanted)
        if wanted == HALF:
            self._cast(_renamed(self._nodes[-1]), node.output[0], HALF)

    def _cast(self, name: str, other: str, wanted: int) -> None:
        """FP16 values travel as FP32: only the way to FP16 rounds."""
        if wanted == HALF:
            super()._cast(name, f"{other}_rounded", HALF)
            name = f"{other}_rounded"
        super()._cast(name, other, FULL)
        self._types[other] = wanted

    def _stored(self, half: np.ndarray) -> np.ndarray:
        return half.astype(np.float32)


def rounded(constant: onnx.TensorProto) -> np.ndarray:
    """A constant's values in FP16; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        half: np.ndarray = numpy_helper.to_array(constant).astype(np.float16)
    return half


def _renamed(node: onnx.NodeProto) -> str:
    """Frees the name of a node's output for what will be made of it."""
    exact = f"{node.output[0]}_exact"
    node.output[:] = [exact]
    return exact


def _typed(values: Iterable[onnx.ValueInfoProto], dtype: int) -> list[onnx.ValueInfoProto]:
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in values}
    return [helper.make_tensor_value_info(name, dtype, shape) for name, shape in shapes.items()]
