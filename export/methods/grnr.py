"""GRNR: zero-shot, training-free anomaly detection on textures, as network and head of a bundle.

Source: arXiv 2406.07333. `paper` follows the specification; `default` keeps its regression and takes
everything else from measurements on real images (benchmarks/accuracy.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from kernels import finish_matrix, pool_norm
from runtime.bundle import GrnrHead, NetworkPart
from runtime.config import ConfigStruct

from ..checkpoint import Checkpoint
from ..method import Arrays, Features, Laid, Report, lay, require_known, require_size

F32 = NDArray[np.float32]

PAPER_SIZE = 320
PAPER_CROP = 32
PAPER_RING_PX = 24
"""3 cells at stride 8; 2 cells at stride 16."""
PAD = 32
RING = 2
MARGIN = 0.1
TOP = 0.01
"""Share of the map whose mean is the score: one odd cell of a good image counts less than in the maximum."""
BANK_ROWS = 2000
"""Embeddings of good images kept per scale."""

DEFAULTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "filter_bank": (320, ("bank",)),
    "resnet18": (384, ("layer1_s8", "layer2")),
    "resnet50v2": (384, ("layer1_s8", "layer2")),
    "mobilenet_v2": (384, ("layer1_s8", "layer2")),
    "wide_resnet50_2": (384, ("layer1_s8", "layer2")),
}
"""Preset `default`: backbone -> input side, px, and the outputs that are judged."""


class GrnrExport(ConfigStruct, frozen=True, tag_field="method", tag="grnr"):
    """Settings of a GRNR export; paths are relative to the config's own file."""

    needs_good: ClassVar[bool] = False

    id: str
    """Name of the bundle."""
    backbone: str = "filter_bank"
    weights: str | None = None
    """.npz of the backbone; none for filter_bank."""
    preset: Literal["default", "paper", "demo"] = "default"
    """`paper`: the specification. `demo`: as the authors' published script, defects included."""
    size: int | None = None
    """Side of the square network input, px; absent: the preset's."""
    outputs: tuple[str, ...] | None = None
    """Outputs of the backbone that are judged, one scale each; absent: the preset's."""
    margin: float = MARGIN
    """Share of the map at each side that does not count for the score, 0..0.4; 0 for a crop of a web.
    Preset `default` only."""

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 0.4:
            raise ValueError(f"margin is {self.margin}; expected 0..0.4")
        require_size(self.size)

    def network(self, base: Path) -> Laid:
        """As in `Method`."""
        require_known(self.backbone, tuple(DEFAULTS))
        side, outputs = self._geometry()
        weights = None if self.weights is None else base / self.weights
        if self.preset == "default":
            return lay(self.backbone, weights, side, outputs, PAD)
        return lay(self.backbone, weights, side, outputs, extent=_paper_extent(side))

    def fit(self, features: Features, report: Report, checkpoint: Checkpoint) -> GoodBanks:
        """As in `Method`."""
        rings = self._rings([image.shape[0] for image in features[0]])
        rows = []
        for i, image in enumerate(features):
            rows.append([_inner(pool_norm(scale)[0], ring) for scale, ring in zip(image, rings, strict=True)])
            report("features", i + 1, len(features))
        return GoodBanks(rows)

    def finish(self, laid: Laid, memory: Arrays) -> Laid:
        """As in `Method`; nothing is trained."""
        return laid

    def head(self, network: NetworkPart, memory: Arrays) -> tuple[GrnrHead, Arrays]:
        """As in `Method`."""
        outputs = tuple(output.name for output in network.outputs)
        cells, side = [output.shape[1] for output in network.outputs], network.input.shape[2]
        head = self._head(outputs, cells)
        if memory:
            # Each cell's global vector is then its nearest good embedding.
            head = msgspec.structs.replace(head, target="nearest", neighbours=1)
        return head, {**self._arrays(side, cells), **memory}

    def _geometry(self) -> tuple[int, tuple[str, ...]]:
        side, outputs = DEFAULTS[self.backbone]
        if self.preset != "default":
            side, outputs = PAPER_SIZE, ("bank",) if self.backbone == "filter_bank" else ("layer2", "layer3")
        return self.size or side, self.outputs or outputs

    def _rings(self, cells: list[int]) -> tuple[int, ...]:
        """Cells at the border of each grid that are not judged."""
        if self.preset == "default":
            return tuple(RING for _ in cells)
        # Ceiling: at stride 16 the paper drops 2 cells, 32 px, not 1.5.
        return tuple(-(-PAPER_RING_PX * n // self._geometry()[0]) for n in cells)

    def _head(self, outputs: tuple[str, ...], cells: list[int]) -> GrnrHead:
        rings = self._rings(cells)
        if self.preset == "default":
            return GrnrHead(
                outputs=outputs,
                rings=rings,
                target="nearest",
                fill="edge",
                score="mean_top",
                top=TOP,
                profile=True,
            )
        target: Literal["selected", "raster"] = "raster" if self.preset == "demo" else "selected"
        return GrnrHead(outputs=outputs, rings=rings, target=target, fill="min")

    def _arrays(self, side: int, cells: list[int]) -> dict[str, F32]:
        """Matrices of each scale, and the mask that keeps the margin out of the score."""
        if self.preset == "default":
            out, sigma, crop = side // 4, 4 * side / 256, 0
        else:
            out, sigma, crop = side - 2 * PAPER_CROP, 3.0, PAPER_CROP
        matrices = [finish_matrix(n, side, out, sigma, crop) for n in cells]
        arrays = {f"{axis}_{i}": m for i, m in enumerate(matrices) for axis in ("rows", "columns")}
        if self.preset == "default" and self.margin > 0:
            arrays["mask"] = _margin_mask(out, round(self.margin * out))
        return arrays


@dataclass(frozen=True)
class GoodBanks:
    """Embeddings of the good images' cells inside the ring."""

    held_out: ClassVar[None] = None

    rows: list[list[F32]]
    """Per image, per scale, (cells, C)."""

    def arrays(self, without: int | None = None) -> Arrays:
        """`bank_i` of each scale: evenly strided rows of all images but `without`."""
        kept = [scales for i, scales in enumerate(self.rows) if i != without]
        joined = [np.concatenate(scale) for scale in zip(*kept, strict=True)]
        return {f"bank_{i}": _strided(rows) for i, rows in enumerate(joined)}


def _strided(rows: F32) -> F32:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), BANK_ROWS)).astype(np.int64)]


def _inner(pooled: F32, ring: int) -> F32:
    inner = pooled[ring:-ring, ring:-ring]
    return inner.reshape(-1, inner.shape[-1])


def _paper_extent(side: int) -> tuple[float, float, float, float]:
    edge = PAPER_CROP / side
    return (edge, edge, 1 - edge, 1 - edge)


def _margin_mask(cells: int, margin: int) -> F32:
    mask = np.zeros((cells, cells), np.float32)
    mask[margin : cells - margin, margin : cells - margin] = 1
    return mask
