"""A small builder over onnx.helper: fixed names, static shapes, the same bytes for the same inputs."""

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

F32 = NDArray[np.float32]
Shape = tuple[int, ...]

OPSET = 18
IR_VERSION = 10
"""Read by every ONNX Runtime from 1.20 on; onnx itself would write its newest."""


class Graph:
    """Nodes and initialisers in the order they were added; tensors are handled by name, NCHW."""

    def __init__(self, model: onnx.ModelProto | None = None) -> None:
        """Starts empty, or with all that a model holds, whose outputs can then be taken as inputs by name."""
        self._nodes: list[onnx.NodeProto] = [] if model is None else list(model.graph.node)
        constants = [] if model is None else list(model.graph.initializer)
        self._constants: dict[str, onnx.TensorProto] = {tensor.name: tensor for tensor in constants}

    def node(self, op: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add one node with one output; returns the output's name."""
        name = name or f"{op.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def append(self, node: onnx.NodeProto) -> None:
        """Add a node as it is; its names must be free."""
        self._nodes.append(node)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add an initialiser; the same name again must mean the same tensor and is added once."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def scalar(self, value: float) -> str:
        """A float32 constant of shape ()."""
        return self.constant(f"scalar_{value:g}", np.array(value, np.float32))

    def ints(self, *values: int) -> str:
        """An int64 vector, as Slice and Pad want their arguments."""
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def conv(
        self, x: str, weights: Mapping[str, F32], name: str, stride: int = 1, pad: int = 0, group: int = 1
    ) -> str:
        """Convolution with `<name>.weight` (OIHW) and, where there is one, `<name>.bias` of `weights`."""
        kernel = weights[f"{name}.weight"]
        inputs = [x, self.constant(f"{name}.weight", kernel)]
        if f"{name}.bias" in weights:
            inputs.append(self.constant(f"{name}.bias", weights[f"{name}.bias"]))
        return self.node(
            "Conv",
            *inputs,
            kernel_shape=list(kernel.shape[2:]),
            strides=[stride, stride],
            pads=[pad] * 4,
            group=group,
        )

    def norm(self, x: str, weights: Mapping[str, F32], name: str) -> str:
        """`x * <name>.scale + <name>.shift`, both (C, 1, 1) in `weights`."""
        scaled = self.mul(x, self.constant(f"{name}.scale", weights[f"{name}.scale"]))
        return self.add(scaled, self.constant(f"{name}.shift", weights[f"{name}.shift"]))

    def linear(self, x: str, weights: Mapping[str, F32], name: str) -> str:
        """`x W^T + b` along the last axis, with `<name>.weight` (outputs, inputs) and `<name>.bias`."""
        kernel = self.constant(f"{name}.weight", weights[f"{name}.weight"].T)
        return self.add(
            self.node("MatMul", x, kernel), self.constant(f"{name}.bias", weights[f"{name}.bias"])
        )

    def layer_norm(self, x: str, weights: Mapping[str, F32], name: str, epsilon: float) -> str:
        """Layer normalisation along the last axis, with `<name>.weight` and `<name>.bias`."""
        scale, shift = (
            self.constant(f"{name}.{key}", weights[f"{name}.{key}"]) for key in ("weight", "bias")
        )
        return self.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon)

    def gelu(self, x: str) -> str:
        """The exact form, by the error function; the operator Gelu came with a later opset."""
        gate = self.add(self.node("Erf", self.mul(x, self.scalar(0.5**0.5))), self.scalar(1))
        return self.mul(self.mul(x, self.scalar(0.5)), gate)

    def mean(self, *tensors: str) -> str:
        """Mean of tensors of one shape."""
        return self.node("Mean", *tensors)

    def reshape(self, x: str, *shape: int) -> str:
        return self.node("Reshape", x, self.ints(*shape))

    def transpose(self, x: str, *order: int) -> str:
        return self.node("Transpose", x, perm=list(order))

    def split(self, x: str, *sizes: int) -> list[str]:
        """Parts of the given sizes along the last axis."""
        ends = np.cumsum((0, *sizes)).tolist()
        return [
            self.node("Slice", x, self.ints(start), self.ints(end), self.ints(-1))
            for start, end in pairwise(ends)
        ]

    def relu(self, x: str) -> str:
        return self.node("Relu", x)

    def clip(self, x: str, low: float, high: float) -> str:
        return self.node("Clip", x, self.scalar(low), self.scalar(high))

    def add(self, a: str, b: str) -> str:
        return self.node("Add", a, b)

    def sub(self, a: str, b: str) -> str:
        return self.node("Sub", a, b)

    def mul(self, a: str, b: str) -> str:
        return self.node("Mul", a, b)

    def div(self, a: str, b: str) -> str:
        return self.node("Div", a, b)

    def sqrt(self, x: str) -> str:
        return self.node("Sqrt", x)

    def concat(self, *tensors: str) -> str:
        """Side by side along the channels."""
        return self.node("Concat", *tensors, axis=1)

    def max_pool(self, x: str, kernel: int, stride: int, pad: int) -> str:
        return self.node(
            "MaxPool", x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, ceil_mode=0
        )

    def average_pool(self, x: str, block: int) -> str:
        """Mean over blocks of `block` x `block`, which do not overlap; block 1 adds nothing."""
        if block == 1:
            return x
        return self.node("AveragePool", x, kernel_shape=[block] * 2, strides=[block] * 2)

    def reflect_pad(self, x: str, pad: int) -> str:
        """`pad` rows and columns on each side, mirrored about the outermost pixel; 0 adds nothing."""
        if pad == 0:
            return x
        return self.node("Pad", x, self.ints(0, 0, pad, pad, 0, 0, pad, pad), mode="reflect")

    def crop(self, x: str, top: int, size: tuple[int, int]) -> str:
        """The (height, width) window `size` that starts `top` cells from the upper and left border."""
        ends = (top + size[0], top + size[1])
        return self.node("Slice", x, self.ints(top, top), self.ints(*ends), self.ints(2, 3))

    def model(
        self,
        name: str,
        inputs: Mapping[str, Shape],
        outputs: Mapping[str, Shape],
        types: Mapping[str, int] = MappingProxyType({}),
    ) -> onnx.ModelProto:
        """The checked model; inputs and outputs have static shapes and are float32, but for `types`."""
        given, made = (
            [helper.make_tensor_value_info(n, types.get(n, TensorProto.FLOAT), s) for n, s in side.items()]
            for side in (inputs, outputs)
        )
        graph = helper.make_graph(self._nodes, name, given, made, list(self._constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        model.producer_name = "gonogo"
        onnx.checker.check_model(model, full_check=True)
        return model
