"""ResNet-50 v2 (pre-activation), with the names of the file that holds GluonCV's weights."""

from collections.abc import Iterator

from .backbone import Backbone, Tap
from .graph import Graph
from .weights import Convolution, Layout, Norm, Weights

BLOCKS = (3, 4, 6)
INNER = (64, 128, 256)
OUTER = (256, 512, 1024)


def _blocks() -> Iterator[tuple[int, int, str]]:
    """Layer, block and the prefix of its names, in the order they are laid."""
    for layer, count in enumerate(BLOCKS):
        for block in range(count):
            yield layer, block, f"layer{layer + 1}.{block}"


def _layout() -> Layout:
    # A norm between two convolutions of a block folds into the first; the ones at the head of a block do not.
    convolutions = [Convolution("conv1", (64, 3, 7, 7), "bn1")]
    norms = [Norm("bn_data", 3)]
    channels = 64
    for layer, block, prefix in _blocks():
        inner, outer = INNER[layer], OUTER[layer]
        norms.append(Norm(f"{prefix}.bn1", channels))
        convolutions += [
            Convolution(f"{prefix}.conv1", (inner, channels, 1, 1), f"{prefix}.bn2"),
            Convolution(f"{prefix}.conv2", (inner, inner, 3, 3), f"{prefix}.bn3"),
            Convolution(f"{prefix}.conv3", (outer, inner, 1, 1), None),
        ]
        if block == 0:
            convolutions.append(Convolution(f"{prefix}.downsample", (outer, channels, 1, 1), None))
        channels = outer
    return Layout(tuple(convolutions), tuple(norms), ignored=("layer4.", "fc.", "bn_last."))


def _layers(graph: Graph, image: str, weights: Weights) -> Iterator[tuple[str, str]]:
    """The sum after each layer, before any norm or ReLU; negative values are part of it.

    Source: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016.
    """
    x = graph.norm(image, weights, "bn_data")
    x = graph.relu(graph.conv(x, weights, "conv1", stride=2, pad=3))
    x = graph.max_pool(x, 3, 2, 1)
    for layer, block, prefix in _blocks():
        x = _block(graph, x, weights, prefix, 2 if layer > 0 and block == 0 else 1)
        if block == BLOCKS[layer] - 1:
            yield f"layer{layer + 1}", x


def _block(graph: Graph, x: str, weights: Weights, prefix: str, stride: int) -> str:
    active = graph.relu(graph.norm(x, weights, f"{prefix}.bn1"))
    y = graph.relu(graph.conv(active, weights, f"{prefix}.conv1"))
    y = graph.relu(graph.conv(y, weights, f"{prefix}.conv2", stride, pad=1))
    y = graph.conv(y, weights, f"{prefix}.conv3")
    has_downsample = f"{prefix}.downsample.weight" in weights
    shortcut = graph.conv(active, weights, f"{prefix}.downsample", stride) if has_downsample else x
    return graph.add(y, shortcut)


RESNET50V2 = Backbone(
    taps={f"layer{n + 1}": Tap(4 * 2**n, OUTER[n]) for n in range(3)}, layers=_layers, layout=_layout()
)
