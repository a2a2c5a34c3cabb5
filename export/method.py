"""What every anomaly-detection method offers to fit and export: the interface; each stands in `methods/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from runtime.bundle import HeadPart, NetworkPart, Preprocessing
from runtime.errors import ConfigError
from runtime.network import TensorSpec

from .checkpoint import Checkpoint
from .networks import BACKBONES, build_network
from .networks.graph import Graph, Shape

F32 = NDArray[np.float32]
Arrays: TypeAlias = Mapping[str, NDArray[np.floating[Any]]]
"""Arrays of `head.npz` by name: float32, or float16 where that is enough; a head gets float32."""
Features: TypeAlias = Sequence[Sequence[F32]]
"""Per good image, per network output, (h, w, C) float32; computed anew each time an image is asked for."""


class Report(Protocol):
    """Told how far a long work is."""

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` parts of a step; `note` is what else is worth a look, such as the loss."""


@dataclass(frozen=True)
class Laid:
    """A network as the bundle takes it."""

    model: bytes
    """`network.onnx`."""
    part: NetworkPart
    preprocessing: Preprocessing


class Memory(Protocol):
    """What a method keeps of good images: embeddings of them, or weights that were trained on them."""

    @property
    def held_out(self) -> Sequence[int] | None:
        """Good images that it was not made from, by index: they judge it. None: any of them, as `arrays`
        can leave it out."""

    def arrays(self, without: int | None = None) -> Arrays:
        """The arrays that go into `head.npz`; `without`: as if the good image of that index was not known."""


class Method(Protocol):
    """Settings of one method, read from YAML; paths are relative to the config's own file."""

    @property
    def id(self) -> str:
        """Name of the bundle."""

    @property
    def preset(self) -> str:
        """Which form of the method this is, for the manifest."""

    @property
    def needs_good(self) -> bool:
        """Whether it cannot judge without good images."""

    def network(self, base: Path) -> Laid:
        """The frozen network whose outputs are the features, with paths relative to `base`; raises
        ConfigError where settings do not fit."""

    def fit(self, features: Features, report: Report, checkpoint: Checkpoint) -> Memory:
        """What is kept of the good images behind `features`, at least 3. What trains saves its state to
        `checkpoint` after every epoch, and goes on from there."""

    def finish(self, laid: Laid, memory: Arrays) -> Laid:
        """The network of the bundle: `laid` as `network` gave it, with what was trained behind it."""

    def head(self, network: NetworkPart, memory: Arrays) -> tuple[HeadPart, Arrays]:
        """The head and the arrays of `head.npz`, `memory` among them; it is empty without good images."""


def lay(
    backbone: str,
    weights: Path | None,
    side: int,
    outputs: tuple[str, ...],
    pad: int = 0,
    extent: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
) -> Laid:
    """A backbone on a square input of `side` px with its own normalisation.

    Raises:
        ConfigError: see `build_network`.
    """
    model = build_network(backbone, (side, side), outputs, weights, pad)
    grids = [tuple(d.dim_value for d in o.type.tensor_type.shape.dim) for o in model.graph.output]
    part = NetworkPart(
        backbone=backbone,
        input=TensorSpec("image", (1, 3, side, side)),
        outputs=tuple(TensorSpec(n, g) for n, g in zip(outputs, grids, strict=True)),
    )
    entry = BACKBONES[backbone]
    how = Preprocessing(size=(side, side), mean=entry.mean, std=entry.std, map_extent=extent)
    return Laid(model.SerializeToString(), part, how)


def extended(laid: Laid, add: Callable[[Graph], Mapping[str, Shape]]) -> Laid:
    """`laid` with more nodes behind its outputs.

    Args:
        add: lays them, taking the outputs by name; gives the shapes of the outputs that replace those.
    """
    model = onnx.load_from_string(laid.model)
    graph = Graph(model)
    shapes = dict(add(graph))
    whole = graph.model(model.graph.name, {laid.part.input.name: laid.part.input.shape}, shapes)
    outputs = tuple(TensorSpec(name, shape) for name, shape in shapes.items())
    part = msgspec.structs.replace(laid.part, outputs=outputs)
    return replace(laid, model=whole.SerializeToString(), part=part)


def require_size(size: int | None) -> None:
    """Raises ValueError unless a method's `size` is a side in px, or none for its default."""
    if size is not None and size < 1:
        raise ValueError(f"size is {size}; expected at least 1, or none for the default")


def require_known(backbone: str, known: Sequence[str]) -> None:
    """Raises ConfigError unless the backbone is one of those a method has defaults for."""
    if backbone not in known:
        raise ConfigError(f"backbone: unknown name {backbone!r}; expected one of {', '.join(known)}")
