"""MobileNetV2 1.0, with the names of torchvision: `features.0.0`, `features.K.conv.0.0`, ..."""

from collections.abc import Iterator
from dataclasses import dataclass

from .backbone import Backbone, Tap
from .graph import Graph
from .weights import Convolution, Layout, Weights

TAPS = {3: "layer1", 6: "layer2", 13: "layer3"}
"""The last block at stride 4, 8 and 16: its linear output, without a ReLU (features.3, .6 and .13)."""


@dataclass(frozen=True)
class _Block:
    """An inverted residual: 1x1 expansion (not in block 1), 3x3 per channel, linear 1x1."""

    number: int
    inputs: int
    outputs: int
    stride: int
    expansion: int

    @property
    def inner(self) -> int:
        return self.inputs * self.expansion

    @property
    def prefix(self) -> str:
        return f"features.{self.number}.conv"


def _blocks() -> Iterator[_Block]:
    # Table 2 of the paper, (t, c, n, s), as far as the last tap.
    number, inputs = 1, 32
    for expansion, outputs, count, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
    ):
        for repeat in range(count):
            yield _Block(number, inputs, outputs, stride if repeat == 0 else 1, expansion)
            number, inputs = number + 1, outputs


def _layout() -> Layout:
    convolutions = [Convolution("features.0.0", (32, 3, 3, 3), "features.0.1")]
    for block in _blocks():
        path, step = block.prefix, 0
        if block.expansion > 1:
            shape = (block.inner, block.inputs, 1, 1)
            convolutions.append(Convolution(f"{path}.0.0", shape, f"{path}.0.1"))
            step = 1
        convolutions += [
            Convolution(f"{path}.{step}.0", (block.inner, 1, 3, 3), f"{path}.{step}.1"),
            Convolution(f"{path}.{step + 1}", (block.outputs, block.inner, 1, 1), f"{path}.{step + 2}"),
        ]
    unused = tuple(f"features.{number}." for number in range(14, 19))
    return Layout(tuple(convolutions), ignored=(*unused, "classifier."))


def _layers(graph: Graph, image: str, weights: Weights) -> Iterator[tuple[str, str]]:
    """Source: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018."""
    x = _relu6(graph, graph.conv(image, weights, "features.0.0", stride=2, pad=1))
    for block in _blocks():
        x = _block(graph, x, weights, block)
        if block.number in TAPS:
            yield TAPS[block.number], x


def _block(graph: Graph, x: str, weights: Weights, block: _Block) -> str:
    y, step = x, 0
    if block.expansion > 1:
        y = _relu6(graph, graph.conv(y, weights, f"{block.prefix}.0.0"))
        step = 1
    depthwise = f"{block.prefix}.{step}.0"
    y = _relu6(graph, graph.conv(y, weights, depthwise, block.stride, pad=1, group=block.inner))
    y = graph.conv(y, weights, f"{block.prefix}.{step + 1}")
    return graph.add(x, y) if block.stride == 1 and block.inputs == block.outputs else y


def _relu6(graph: Graph, x: str) -> str:
    return graph.clip(x, 0, 6)


MOBILENET_V2 = Backbone(
    taps={"layer1": Tap(4, 24), "layer2": Tap(8, 32), "layer3": Tap(16, 96)}, layers=_layers, layout=_layout()
)
