"""INP-Former with the authors' own weights: a state dict of luow23/INP-Former becomes a bundle.

Source: arXiv 2503.02424; sizes and post-processing as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kernels import resize_matrix
from runtime.bundle import DistanceMapHead, NetworkPart, Preprocessing
from runtime.config import ConfigStruct
from runtime.errors import ConfigError
from runtime.network import TensorSpec

from ..checkpoint import Checkpoint
from ..method import Arrays, Features, Laid, Memory, Report
from ..networks.backbone import IMAGENET_MEAN, IMAGENET_STD
from ..networks.graph import Graph, Shape
from ..networks.inp_former import Form, lay_inp_former
from ..networks.vit import PATCH, VITS, Vit, from_timm, lay_vit
from ..networks.weights import check_tensors
from ..state_dict import load_state

F32 = NDArray[np.float32]

TAPS = range(2, 10)
"""Blocks of the encoder whose outputs are rebuilt; the later ones are not exported."""
MAP = 256
TOP = 655 / 256**2
"""Share of the map whose mean is the score."""


class InpFormerAuthors(ConfigStruct, frozen=True, tag_field="method", tag="inp_former"):
    """One checkpoint; the size of the encoder is read from it."""

    needs_good: ClassVar[bool] = False
    preset: ClassVar[str] = "paper"

    checkpoint: str
    id: str = "inp_former"
    size: int = 392
    """Side of the square input, px, a multiple of 14. The authors resize to 448 and cut off 28 px at each
    side; here the inspected region is resized to this, and a recipe's region does the cutting."""

    def __post_init__(self) -> None:
        if self.size < PATCH or self.size % PATCH:
            raise ValueError(f"size is {self.size}; expected a multiple of {PATCH}")

    def network(self, base: Path) -> Laid:
        """As in `Method`: the whole network.

        Raises:
            ConfigError: the file is no state dict of INP-Former; missing and surplus names are listed.
        """
        state = _authors_names(load_state(base / self.checkpoint))
        name, vit = _encoder(state, self.checkpoint)
        form = Form(vit.channels, vit.heads, len(state["prototype_token"]), 8, 4 * vit.channels, "mean")
        wanted = {**{f"encoder.{key}": shape for key, shape in vit.shapes().items()}, **form.shapes()}
        check_tensors(Path(self.checkpoint), state, wanted, "INP-Former")
        graph = Graph()
        shapes = _lay(graph, self.size, vit, form, state)
        side = self.size
        model = graph.model("inp_former", {"image": (1, 3, side, side)}, shapes)
        outputs = tuple(TensorSpec(output, shape) for output, shape in shapes.items())
        part = NetworkPart(f"dinov2reg_vit_{name}_14", TensorSpec("image", (1, 3, side, side)), outputs)
        how = Preprocessing(size=(side, side), mean=IMAGENET_MEAN, std=IMAGENET_STD)
        return Laid(model.SerializeToString(), part, how)

    def fit(self, features: Features, report: Report, checkpoint: Checkpoint) -> Memory:
        """Refused: the weights are there already."""
        raise ConfigError("a checkpoint is exported as it is; leave out --checkpoint to train a method")

    def finish(self, laid: Laid, memory: Arrays) -> Laid:
        """As in `Method`; nothing is trained here."""
        return laid

    def head(self, network: NetworkPart, memory: Arrays) -> tuple[DistanceMapHead, Arrays]:
        """As in `Method`: the authors' resamplings as one matrix, the mean of the top 655 of 65536 pixels."""
        matrix = _authors_matrix(network.outputs[0].shape[1], self.size)
        arrays = {f"{axis}_{i}": matrix for i in range(2) for axis in ("rows", "columns")}
        return DistanceMapHead(pairs=(("e_1", "d_1"), ("e_2", "d_2")), top=TOP), arrays


def _authors_names(state: dict[str, F32]) -> dict[str, F32]:
    """The state dict with the authors' names where its encoder has those of timm's."""
    if "encoder.reg_token" not in state:
        return state
    encoder = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
    rest = {name: value for name, value in state.items() if not name.startswith("encoder.")}
    return {**rest, **{f"encoder.{name}": value for name, value in from_timm(encoder).items()}}


def _encoder(state: Mapping[str, F32], where: str) -> tuple[str, Vit]:
    """Name and sizes of the encoder, by the width of the prototypes."""
    tokens = state.get("prototype_token")
    found = None if tokens is None or tokens.ndim != 2 else tokens.shape[1]
    for name, vit in VITS.items():
        if vit.channels == found:
            return name, vit
    shape = None if tokens is None else tokens.shape
    raise ConfigError(f"{where}: prototype_token has shape {shape}; expected (M, 384) or (M, 768)")


def _lay(graph: Graph, side: int, vit: Vit, form: Form, state: Mapping[str, F32]) -> dict[str, Shape]:
    encoder = {
        key.removeprefix("encoder."): value for key, value in state.items() if key.startswith("encoder.")
    }
    taps = lay_vit(graph, "image", side, vit, encoder, TAPS[-1])[TAPS[0] :]
    half, cells = len(TAPS) // 2, side // PATCH
    shape = (1, cells, cells, vit.channels)
    groups = [(graph.reshape(graph.mean(*own), *shape), shape) for own in (taps[:half], taps[half:])]
    return lay_inp_former(graph, groups, form, state)


def _authors_matrix(cells: int, side: int) -> F32:
    """(256, cells): bilinear to the input with aligned corners, bilinear to 256, a 5-tap Gaussian of sigma 4
    with zeros outside."""
    at = np.arange(side) * (cells - 1) / (side - 1)
    up = np.maximum(0.0, 1 - abs(at[:, None] - np.arange(cells)))
    kernel = np.exp(-(np.arange(-2, 3.0) ** 2) / (2 * 4**2))
    smooth = sum(np.eye(MAP, k=k) * w for k, w in zip(range(-2, 3), kernel / kernel.sum(), strict=True))
    matrix: NDArray[Any] = smooth @ _plain_bilinear(side, MAP) @ up
    return matrix.astype(np.float32)


def _plain_bilinear(n_in: int, n_out: int) -> NDArray[np.float64]:
    """Half-pixel centres, the two nearest pixels, the edge repeated: shrinking is not antialiased."""
    if n_out >= n_in:
        return resize_matrix(n_in, n_out)
    at = np.clip((np.arange(n_out) + 0.5) * n_in / n_out - 0.5, 0, n_in - 1)
    weights: NDArray[np.float64] = np.maximum(0.0, 1 - abs(at[:, None] - np.arange(n_in)))
    return weights
