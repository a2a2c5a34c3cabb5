"""ResNet-18 and Wide-ResNet-50-2, with the names of torchvision (timm's are the same)."""

from collections.abc import Iterator

from .backbone import Backbone, Tap
from .graph import Graph
from .weights import Convolution, Layout, Weights

_Step = tuple[str, int, int]
"""One convolution of a block: name, kernel, stride."""


def _basic_steps(stride: int) -> tuple[_Step, ...]:
    return ("conv1", 3, stride), ("conv2", 3, 1)


def _bottleneck_steps(stride: int) -> tuple[_Step, ...]:
    # torchvision puts the stride into the 3x3, the paper into the first 1x1.
    return ("conv1", 1, 1), ("conv2", 3, stride), ("conv3", 1, 1)


class ResNet:
    """The stem and layers 1 to 3 of a ResNet; each tap is the output after the last ReLU.

    Source: He et al., Deep Residual Learning, CVPR 2016; Zagoruyko and Komodakis, Wide Residual
    Networks, BMVC 2016 (width 2: the inner channels of each bottleneck are doubled).
    """

    def __init__(self, blocks: tuple[int, int, int], bottleneck: bool, width: int = 1) -> None:
        self.blocks = blocks
        self.steps = _bottleneck_steps if bottleneck else _basic_steps
        self.inner = [64 * width * 2**layer for layer in range(3)]
        self.outer = [64 * (4 if bottleneck else 1) * 2**layer for layer in range(3)]

    def backbone(self) -> Backbone:
        taps = {f"layer{n + 1}": Tap(4 * 2**n, self.outer[n]) for n in range(3)}
        layout = Layout(tuple(self._convolutions()), ignored=("layer4.", "fc."))
        return Backbone(taps, self._layers, layout)

    def _convolutions(self) -> Iterator[Convolution]:
        yield Convolution("conv1", (64, 3, 7, 7), "bn1")
        channels = 64
        for layer, block, stride in self._all_blocks():
            prefix = f"layer{layer + 1}.{block}"
            steps, inputs = self.steps(stride), channels
            for number, (name, kernel, _) in enumerate(steps, 1):
                outputs = self.outer[layer] if number == len(steps) else self.inner[layer]
                yield Convolution(
                    f"{prefix}.{name}", (outputs, inputs, kernel, kernel), f"{prefix}.bn{number}"
                )
                inputs = outputs
            if block == 0 and (stride, channels) != (1, self.outer[layer]):
                shape = (self.outer[layer], channels, 1, 1)
                yield Convolution(f"{prefix}.downsample.0", shape, f"{prefix}.downsample.1")
            channels = self.outer[layer]

    def _all_blocks(self) -> Iterator[tuple[int, int, int]]:
        for layer, count in enumerate(self.blocks):
            for block in range(count):
                yield layer, block, 2 if layer > 0 and block == 0 else 1

    def _layers(self, graph: Graph, image: str, weights: Weights) -> Iterator[tuple[str, str]]:
        x = graph.relu(graph.conv(image, weights, "conv1", stride=2, pad=3))
        x = graph.max_pool(x, 3, 2, 1)
        for layer, block, stride in self._all_blocks():
            x = self._block(graph, x, weights, f"layer{layer + 1}.{block}", stride)
            if block == self.blocks[layer] - 1:
                yield f"layer{layer + 1}", x

    def _block(self, graph: Graph, x: str, weights: Weights, prefix: str, stride: int) -> str:
        y, shortcut = x, x
        steps = self.steps(stride)
        for name, kernel, step in steps:
            y = graph.conv(y, weights, f"{prefix}.{name}", step, pad=kernel // 2)
            y = y if name == steps[-1][0] else graph.relu(y)
        if f"{prefix}.downsample.0.weight" in weights:
            shortcut = graph.conv(x, weights, f"{prefix}.downsample.0", stride)
        return graph.relu(graph.add(y, shortcut))


RESNET18 = ResNet((2, 2, 2), bottleneck=False).backbone()
WIDE_RESNET50_2 = ResNet((3, 4, 6), bottleneck=True, width=2).backbone()
