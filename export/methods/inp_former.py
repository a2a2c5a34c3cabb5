"""INP-Former: an image is rebuilt from a few prototypes of its own normal patches; the rest is a defect.

Source: arXiv 2503.02424, CVPR 2025. `edge` keeps its extractor, bottleneck, guided decoder and both losses,
and takes features of a small backbone in place of the ViT; what differs is derived and said where it stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from kernels import finish_matrix
from runtime.bundle import DistanceMapHead, NetworkPart
from runtime.config import ConfigStruct
from runtime.errors import ConfigError
from runtime.measure.gate import spread

from ..checkpoint import Checkpoint
from ..method import Arrays, Features, Laid, Report, extended, lay, require_known, require_size
from ..networks.graph import Graph, Shape
from ..networks.inp_former import Form, lay_inp_former

if TYPE_CHECKING:
    from ..training.inp_former import Losses
    from ..training.loop import Plan

F32 = NDArray[np.float32]

DEFAULTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "filter_bank": (320, ("bank",)),
    "resnet18": (256, ("layer2", "layer3")),
    "resnet50v2": (256, ("layer2", "layer3")),
    "mobilenet_v2": (256, ("layer2", "layer3")),
    "wide_resnet50_2": (256, ("layer2", "layer3")),
}
"""Backbone -> input side, px, and its outputs, the finest grid first: one group of features each."""
SIGMA = 4 / 256
"""Standard deviation of the map's smoothing as a share of its side."""
HEADS = 2
HELD_OUT = 5
"""Every fifth good image is not trained on: its score gives the threshold."""
MOST_HELD_OUT = 30


class InpFormerExport(ConfigStruct, frozen=True, tag_field="method", tag="inp_former"):
    """Settings of INP-Former; paths are relative to the config's own file."""

    needs_good: ClassVar[bool] = True
    preset: ClassVar[str] = "edge"

    id: str
    """Name of the bundle."""
    backbone: str = "filter_bank"
    weights: str | None = None
    """.npz of the backbone; none for filter_bank."""
    size: int | None = None
    """Side of the square network input, px; absent: the backbone's default."""
    prototypes: int = 6
    """M: intrinsic normal prototypes of an image, as published."""
    width: int = 64
    """Channels of each group after projection to its principal components."""
    blocks: int = 2
    """Of the decoder; 8 as published."""
    steps: int = 600
    """Of the optimiser; rounded to whole epochs."""
    batch: int = 4
    queries: int = 256
    """Tokens of each image that are rebuilt in a step, drawn anew; the prototypes see them all."""
    coherence: float = 0.2
    """Weight of the coherence loss, as published; 0 leaves it out."""
    mining: float = 3.0
    """Exponent by which hard tokens weigh more, as published; 0 lets all weigh the same."""
    seed: int = 0

    def __post_init__(self) -> None:
        require_size(self.size)
        for key in ("prototypes", "blocks", "steps", "batch", "queries"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} is {getattr(self, key)}; expected at least 1")
        for key, least in (("width", HEADS), ("seed", 0), ("coherence", 0), ("mining", 0)):
            if not getattr(self, key) >= least:
                raise ValueError(f"{key} is {getattr(self, key)}; expected at least {least}")

    def network(self, base: Path) -> Laid:
        """As in `Method`: 3x3 means of each layer, brought to the finest grid, outputs `group_i`."""
        require_known(self.backbone, tuple(DEFAULTS))
        side, outputs = DEFAULTS[self.backbone]
        weights = None if self.weights is None else base / self.weights
        laid = lay(self.backbone, weights, self.size or side, outputs)
        return extended(laid, lambda graph: _lay_groups(graph, laid.part))

    def fit(self, features: Features, report: Report, checkpoint: Checkpoint) -> Trained:
        """As in `Method`; holds the projected features: 4 bytes x cells x width x groups an image.

        Raises:
            ConfigError: torch is missing, or the training failed, see `train`.
        """
        try:
            from ..training.inp_former import train_inp_former
        except ModuleNotFoundError as error:
            raise ConfigError(f"package {error.name} is missing; pip install 'gonogo[fit]'") from None
        held = spread(len(features), min(MOST_HELD_OUT, -(-len(features) // HELD_OUT)))
        known = [i for i in range(len(features)) if i not in held]
        projections = _projections(features, known, self.width, report)
        groups = _projected(features, known, projections, report)
        form = self._form([len(projection) for projection in projections])
        plan = self._plan(len(known))
        weights = train_inp_former(
            form, groups, plan, self._losses(), _digest(self, groups), checkpoint, report
        )
        for i, projection in enumerate(projections):
            weights[f"project.{i}"] = projection
        return Trained(weights, held)

    def finish(self, laid: Laid, memory: Arrays) -> Laid:
        """As in `Method`: outputs `e_i`, `d_i`."""
        if not memory:
            return laid
        weights = {name: array.astype(np.float32) for name, array in memory.items()}
        return extended(laid, lambda graph: self._lay_trained(graph, laid.part, weights))

    def head(self, network: NetworkPart, memory: Arrays) -> tuple[DistanceMapHead, Arrays]:
        """As in `Method`: the mean of the groups' cosine distances, its top 1 % as the score."""
        groups = len(DEFAULTS[self.backbone][1])
        side, cells = network.input.shape[2], network.outputs[0].shape[1]
        matrix = finish_matrix(cells, side, max(cells, side // 4), SIGMA * side)
        pairs = tuple((f"e_{i}", f"d_{i}") for i in range(1, groups + 1))
        arrays = {f"{axis}_{i}": matrix for i in range(groups) for axis in ("rows", "columns")}
        return DistanceMapHead(pairs=pairs), arrays

    def _form(self, widths: Sequence[int]) -> Form:
        channels = sum(widths)
        return Form(channels, HEADS, self.prototypes, self.blocks, 2 * channels, "aside")

    def _losses(self) -> Losses:
        from ..training.inp_former import Losses

        return Losses(self.queries, self.coherence, self.mining)

    def _plan(self, images: int) -> Plan:
        from ..training.loop import Plan

        steps = max(1, images // self.batch)
        return Plan(epochs=max(1, round(self.steps / steps)), batch=self.batch, seed=self.seed)

    def _lay_trained(self, graph: Graph, part: NetworkPart, weights: Mapping[str, F32]) -> dict[str, Shape]:
        groups = []
        for i, output in enumerate(part.outputs):
            projection = weights[f"project.{i}"]
            name = graph.node("MatMul", output.name, graph.constant(f"project.{i}", projection.T))
            groups.append((name, (*output.shape[:3], len(projection))))
        return lay_inp_former(graph, groups, self._form([shape[3] for _, shape in groups]), weights)


@dataclass(frozen=True)
class Trained:
    """Weights of the trained part by the authors' names, and the projections before it."""

    weights: dict[str, F32]
    held_out: list[int]

    def arrays(self, without: int | None = None) -> Arrays:
        """As in `Memory`; those held out are not in it in any case."""
        return self.weights


def _lay_groups(graph: Graph, part: NetworkPart) -> dict[str, Shape]:
    """3x3 means, as PatchCore averages patches, on the grid of the first output; derived."""
    _, height, width, _ = part.outputs[0].shape
    shapes: dict[str, Shape] = {}
    for i, output in enumerate(part.outputs):
        x = graph.transpose(output.name, 0, 3, 1, 2)
        x = graph.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=0)
        if output.shape[1:3] != (height, width):
            sizes = graph.ints(1, output.shape[3], height, width)
            x = graph.node(
                "Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel"
            )
        graph.node("Transpose", x, name=f"group_{i}", perm=[0, 2, 3, 1])
        shapes[f"group_{i}"] = (1, height, width, output.shape[3])
    return shapes


def _projections(features: Features, known: Sequence[int], width: int, report: Report) -> list[F32]:
    """Per group, (c, C): onto its c <= `width` principal components, c a multiple of the heads, each over
    its standard deviation.

    Derived. The mean is not taken off: about it, what cannot be predicted in a good texture points anywhere,
    and its cosine hides a defect; from the origin, good features point one way.
    """
    moments: list[_Moments] = []
    for done, i in enumerate(known, 1):
        moments = moments or [_Moments(feature.shape[-1]) for feature in features[i]]
        for own, feature in zip(moments, features[i], strict=True):
            own.add(feature)
        report("features", done, len(known))
    return [own.components(width) for own in moments]


class _Moments:
    """Mean and covariance of features, summed up image by image."""

    def __init__(self, channels: int) -> None:
        self._count, self._sum = 0, np.zeros(channels)
        self._products = np.zeros((channels, channels))

    def add(self, feature: F32) -> None:
        rows = feature.reshape(-1, feature.shape[-1]).astype(np.float64)
        self._count += len(rows)
        self._sum += rows.sum(axis=0)
        self._products += rows.T @ rows

    def components(self, width: int) -> F32:
        """(c, C), the greatest first."""
        mean = self._sum / self._count
        variances, axes = np.linalg.eigh(self._products / self._count - np.outer(mean, mean))
        kept = min(width, len(mean)) // HEADS * HEADS
        variances, axes = variances[::-1][:kept], axes[:, ::-1][:, :kept]
        # A channel that never varied must not be divided by nothing.
        scale = np.maximum(variances, 1e-6 * max(variances[0], 1e-12)) ** -0.5
        components: F32 = (axes * scale).T.astype(np.float32)
        return components


def _projected(
    features: Features, known: Sequence[int], projections: Sequence[F32], report: Report
) -> list[F32]:
    """Per group, (images, cells, c) float32: what is trained on, computed once."""
    groups: list[list[F32]] = [[] for _ in projections]
    for done, i in enumerate(known, 1):
        for rows, feature, projection in zip(groups, features[i], projections, strict=True):
            rows.append(feature.reshape(-1, feature.shape[-1]) @ projection.T)
        report("projection", done, len(known))
    return [np.stack(rows) for rows in groups]


def _digest(settings: InpFormerExport, groups: Sequence[F32]) -> str:
    """Of everything that decides the training: settings, features, and what computes."""
    import torch

    digest = hashlib.sha256(msgspec.json.encode(settings) + str(torch.__version__).encode())
    for group in groups:
        digest.update(group.tobytes())
    return digest.hexdigest()
