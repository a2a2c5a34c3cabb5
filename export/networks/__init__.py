"""Feature networks as ONNX graphs, laid with onnx.helper; nothing here imports torch."""

from pathlib import Path

import onnx

from runtime.errors import ConfigError

from .backbone import Backbone, Tap
from .filter_bank import FILTER_BANK
from .graph import Graph, Shape
from .mobilenet import MOBILENET_V2
from .resnet import RESNET18, WIDE_RESNET50_2
from .resnet_v2 import RESNET50V2
from .weights import Weights, load_weights

__all__ = ["BACKBONES", "Backbone", "Tap", "build_network"]

BACKBONES: dict[str, Backbone] = {
    "filter_bank": FILTER_BANK,
    "resnet18": RESNET18,
    "resnet50v2": RESNET50V2,
    "mobilenet_v2": MOBILENET_V2,
    "wide_resnet50_2": WIDE_RESNET50_2,
}
"""From the name in the YAML to the network; `mean` and `std` of an entry are what preprocess applies."""


def build_network(
    backbone: str, size: tuple[int, int], outputs: tuple[str, ...], weights: Path | None, pad: int = 0
) -> onnx.ModelProto:
    """The feature network as ONNX: `image` (1, 3, H, W) in, one (1, h, w, C) per output, all float32.

    `image` is RGB in 0..1, less the backbone's `mean`, over its `std`. The same arguments give the same
    bytes; names and shapes are fixed.

    Args:
        backbone: a key of BACKBONES.
        size: (H, W) of the image, multiples of the coarsest output's stride.
        outputs: taps of the backbone; `<tap>_s<stride>` averages a tap down to a coarser stride.
        weights: an .npz file (see load_weights); None where the backbone has no weights.
        pad: px mirrored onto each side of the image before the network and cut off its features after
            it, so that no border shows; a multiple of every tap's stride. A backbone of known reach
            takes that instead.

    Raises:
        ConfigError: a name, size, pad or weight file does not fit.
    """
    entry = _look_up(backbone)
    taps = {output: _tap(backbone, entry, output) for output in outputs}
    _check_geometry(backbone, entry, size, pad, taps)
    pad = pad if entry.reach is None else entry.reach
    loaded = _load(backbone, entry, weights)
    graph = Graph()
    tensors = _lay(graph, entry, loaded, {name for name, _ in taps.values()}, pad)
    shapes: dict[str, Shape] = {}
    for output, (name, stride) in taps.items():
        tap = entry.taps[name]
        cells = (size[0] // tap.stride, size[1] // tap.stride)
        x = graph.crop(tensors[name], pad // tap.stride, cells) if pad else tensors[name]
        x = graph.average_pool(x, stride // tap.stride)
        x = entry.finish(graph, x) if entry.finish else x
        graph.node("Transpose", x, name=output, perm=[0, 2, 3, 1])
        shapes[output] = (1, size[0] // stride, size[1] // stride, tap.channels)
    return graph.model(backbone, {"image": (1, 3, *size)}, shapes)


def _look_up(backbone: str) -> Backbone:
    if backbone not in BACKBONES:
        raise ConfigError(f"backbone: unknown name {backbone!r}; expected one of {', '.join(BACKBONES)}")
    return BACKBONES[backbone]


def _tap(backbone: str, entry: Backbone, output: str) -> tuple[str, int]:
    """The tap behind an output and the stride it leaves with."""
    name, _, suffix = output.partition("_s")
    if name in entry.taps and (not suffix or suffix.isdecimal()):
        native = entry.taps[name].stride
        stride = int(suffix) if suffix else native
        if stride >= native and stride % native == 0:
            return name, stride
    valid = ", ".join(f"{name} (stride {tap.stride})" for name, tap in entry.taps.items())
    raise ConfigError(
        f"outputs: {output!r} is none of {backbone}; expected one of {valid}, or one of them "
        f"with a coarser stride such as {next(iter(entry.taps))}_s16"
    )


def _check_geometry(
    backbone: str, entry: Backbone, size: tuple[int, int], pad: int, taps: dict[str, tuple[str, int]]
) -> None:
    if not taps:
        raise ConfigError(f"outputs: none given; expected one or more of {', '.join(entry.taps)}")
    coarsest = max(stride for _, stride in taps.values())
    if min(size) < 1 or any(side % coarsest for side in size):
        raise ConfigError(
            f"size: {size[0]} x {size[1]}; expected multiples of {coarsest}, the coarsest output stride"
        )
    tap_stride = max(entry.taps[name].stride for name, _ in taps.values())
    for px in (pad, entry.reach or pad):
        if px < 0 or px % tap_stride or px >= min(size):
            raise ConfigError(
                f"pad: {px} px on {size[0]} x {size[1]} for {backbone}; expected a multiple of {tap_stride} "
                "below the shorter side"
            )


def _load(backbone: str, entry: Backbone, weights: Path | None) -> Weights:
    if entry.layout is None and weights is not None:
        raise ConfigError(f"weights: {weights} given, but {backbone} has none; remove it")
    if entry.layout is None:
        return {}
    if weights is None:
        raise ConfigError(f"weights: none given; {backbone} needs an .npz file")
    return load_weights(weights, entry.layout)


def _lay(graph: Graph, entry: Backbone, weights: Weights, wanted: set[str], pad: int) -> dict[str, str]:
    """The wanted taps as NCHW tensors, laid no further than the last of them."""
    tensors: dict[str, str] = {}
    for name, tensor in entry.layers(graph, graph.reflect_pad("image", pad), weights):
        tensors[name] = tensor
        if wanted <= tensors.keys():
            break
    return tensors
