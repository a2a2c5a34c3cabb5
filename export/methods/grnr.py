"""GRNR: zero-shot, training-free anomaly detection on textures, as network and head of a bundle.

Source: arXiv 2406.07333. `paper` follows the specification; `default` keeps its regression and takes
everything else from measurements on real images (benchmarks/accuracy.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from export.networks import BACKBONES, build_network
from kernels import finish_matrix, pool_norm
from runtime.bundle import GrnrHead, NetworkPart, Preprocessing
from runtime.config import ConfigStruct
from runtime.errors import ConfigError
from runtime.network import TensorSpec

F32 = NDArray[np.float32]

PAPER_SIZE = 320
PAPER_CROP = 32
PAPER_RING_PX = 24
"""3 cells at stride 8; 2 cells at stride 16."""
PAD = 32
RING = 2
MARGIN = 0.1
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

    id: str
    """Name of the bundle."""
    backbone: str = "filter_bank"
    weights: str | None = None
    """.npz of the backbone; none for filter_bank."""
    preset: Literal["default", "paper", "demo"] = "default"
    """`paper`: the specification. `demo`: as the authors' published script, defects included."""
    size: int | None = None
    """Side of the square network input, px; absent: the preset's."""
    margin: float = MARGIN
    """Share of the map at each side that does not count for the score, 0..0.4; 0 for a crop of a web.
    Preset `default` only."""

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 0.4:
            raise ValueError(f"margin is {self.margin}; expected 0..0.4")

    def parts(self, base: Path) -> tuple[bytes, NetworkPart, Preprocessing, GrnrHead, dict[str, F32]]:
        """Network file, its description, preprocessing, head and the arrays of `head.npz`.

        Raises:
            ConfigError: backbone, size or weights do not fit.
        """
        if self.backbone not in BACKBONES:
            raise ConfigError(
                f"backbone: unknown name {self.backbone!r}; expected one of {', '.join(BACKBONES)}"
            )
        side, outputs = self._geometry()
        weights = None if self.weights is None else base / self.weights
        pad = PAD if self.preset == "default" else 0
        model = build_network(self.backbone, (side, side), outputs, weights, pad)
        grids = [tuple(d.dim_value for d in o.type.tensor_type.shape.dim) for o in model.graph.output]
        backbone = BACKBONES[self.backbone]
        network = NetworkPart(
            backbone=self.backbone,
            input=TensorSpec("image", (1, 3, side, side)),
            outputs=tuple(TensorSpec(n, g) for n, g in zip(outputs, grids, strict=True)),
        )
        extent = (0.0, 0.0, 1.0, 1.0) if self.preset == "default" else _paper_extent(side)
        preprocessing = Preprocessing(
            size=(side, side), mean=backbone.mean, std=backbone.std, map_extent=extent
        )
        cells = [grid[1] for grid in grids]
        head = self._head(outputs, side, cells)
        return model.SerializeToString(), network, preprocessing, head, self._arrays(side, cells)

    def _geometry(self) -> tuple[int, tuple[str, ...]]:
        side, outputs = DEFAULTS[self.backbone]
        if self.preset != "default":
            side, outputs = PAPER_SIZE, ("bank",) if self.backbone == "filter_bank" else ("layer2", "layer3")
        return self.size or side, outputs

    def _head(self, outputs: tuple[str, ...], side: int, cells: list[int]) -> GrnrHead:
        if self.preset == "default":
            rings = tuple(RING for _ in outputs)
            return GrnrHead(outputs=outputs, rings=rings, target="nearest", fill="edge", profile=True)
        # Ceiling: at stride 16 the paper drops 2 cells, 32 px, not 1.5.
        rings = tuple(-(-PAPER_RING_PX * n // side) for n in cells)
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


def good_banks(features: list[list[F32]], head: GrnrHead) -> dict[str, F32]:
    """`bank_i` of each scale: evenly strided embeddings of the good images' cells inside the ring.

    Args:
        features: per image, per scale, (h, w, C) float32 as the network gave them.
    """
    banks = {}
    for i, ring in enumerate(head.rings):
        cells = [_inner(pool_norm(image[i])[0], ring) for image in features]
        rows = np.concatenate(cells)
        banks[f"bank_{i}"] = rows[np.linspace(0, len(rows) - 1, min(len(rows), BANK_ROWS)).astype(np.int64)]
    return banks


def with_bank(head: GrnrHead) -> GrnrHead:
    """The head's parameters once it has a bank: each cell's global vector is its nearest good embedding."""
    return msgspec.structs.replace(head, target="nearest", neighbours=1)


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
