"""PatchCore: distance to a memory bank of good patches (Roth et al., CVPR 2022), as network and head.

Features of two layers, averaged over 3x3 cells and joined on the finer grid (section 3.1); a bank thinned
out by greedy k-centre selection under a random projection (3.2); nearest neighbour distance and the
re-weighted image score (3.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from kernels import finish_matrix
from runtime.bundle import KnnHead, NetworkPart
from runtime.config import ConfigStruct
from runtime.heads.knn import embed

from ..checkpoint import Checkpoint
from ..coreset import greedy_coreset, project
from ..method import Arrays, Features, Laid, Report, lay, require_known, require_size

F32 = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]

DEFAULTS: dict[str, tuple[int, tuple[str, ...]]] = {
    "filter_bank": (320, ("bank",)),
    "resnet18": (256, ("layer2", "layer3")),
    "resnet50v2": (256, ("layer2", "layer3")),
    "mobilenet_v2": (256, ("layer2", "layer3")),
    "wide_resnet50_2": (256, ("layer2", "layer3")),
}
"""Backbone -> input side, px, and the outputs an embedding is made of, the finest grid first."""
SIGMA = 4 / 256
"""Standard deviation of the map's smoothing as a share of its side."""


class PatchcoreExport(ConfigStruct, frozen=True, tag_field="method", tag="patchcore"):
    """Settings of PatchCore; paths are relative to the config's own file."""

    needs_good: ClassVar[bool] = True
    preset: ClassVar[str] = "default"

    id: str
    """Name of the bundle."""
    backbone: str = "filter_bank"
    weights: str | None = None
    """.npz of the backbone; none for filter_bank."""
    size: int | None = None
    """Side of the square network input, px; absent: the backbone's default."""
    coreset: float = 0.1
    """Share of all good patches that the bank keeps, 0..1."""
    most_rows: int = 10_000
    """Bank rows that are never exceeded: they decide the time per image and the size of the bundle."""
    neighbours: int = 1
    """k: bank rows whose mean distance is a patch score."""
    support: int = 9
    """b: bank rows around the nearest one that re-weight the image score; 1 leaves it as it is."""
    projection: int = 128
    """Dimensions in which patches are compared while the bank is thinned out."""
    bank: Literal["float16", "float32"] = "float16"
    """Form of the bank in the bundle; values beyond float16 make it float32. float16 halves it and was
    measured to change scores by less than 1e-3 of themselves."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.coreset <= 1:
            raise ValueError(f"coreset is {self.coreset}; expected a share in 0..1")
        for key in ("most_rows", "neighbours", "support", "projection"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} is {getattr(self, key)}; expected at least 1")
        require_size(self.size)
        if self.neighbours > self.most_rows:
            raise ValueError(f"neighbours is {self.neighbours}; expected at most most_rows, {self.most_rows}")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; expected 0 or more")

    def network(self, base: Path) -> Laid:
        """As in `Method`."""
        require_known(self.backbone, tuple(DEFAULTS))
        side, outputs = DEFAULTS[self.backbone]
        weights = None if self.weights is None else base / self.weights
        return lay(self.backbone, weights, self.size or side, outputs)

    def fit(self, features: Features, report: Report, checkpoint: Checkpoint) -> Coreset:
        """As in `Method`; looks at every image twice, to hold projections only: 512 bytes a patch."""
        projected = []
        for i, image in enumerate(features):
            projected.append(project(embed(image), self.projection, self.seed))
            report("features", i + 1, len(features))
        points, cells = np.concatenate(projected), len(projected[0])
        projected.clear()
        wanted = min(self.most_rows, max(self.neighbours, round(self.coreset * len(points))))
        kept = greedy_coreset(
            points, wanted, self.seed, chosen_so_far=lambda done: report("coreset", done, wanted)
        )
        return _collect(features, np.sort(kept), cells, getattr(np, self.bank), report)

    def finish(self, laid: Laid, memory: Arrays) -> Laid:
        """As in `Method`; nothing is trained."""
        return laid

    def head(self, network: NetworkPart, memory: Arrays) -> tuple[KnnHead, Arrays]:
        """As in `Method`."""
        outputs = tuple(output.name for output in network.outputs)
        side, cells = network.input.shape[2], network.outputs[0].shape[1]
        matrix = finish_matrix(cells, side, max(cells, side // 4), SIGMA * side)
        rows = len(memory.get("bank", ()))
        head = KnnHead(outputs=outputs, neighbours=min(self.neighbours, max(1, rows)), support=self.support)
        return head, {"rows": matrix, "columns": matrix, **memory}


@dataclass(frozen=True)
class Coreset:
    """The bank, and which image each of its rows comes from."""

    held_out: ClassVar[None] = None

    bank: Floats
    """(M, C) embeddings."""
    image: NDArray[np.int64]
    """(M,)."""

    def arrays(self, without: int | None = None) -> Arrays:
        """`bank`, less the rows of image `without`; what only they stood for scores a little too high then.

        Where nothing else is left (all images alike) the bank stays whole.
        """
        kept = self.image != without
        return {"bank": self.bank[kept] if kept.any() else self.bank}


def _collect(
    features: Features, kept: NDArray[np.int64], cells: int, dtype: type[np.floating[Any]], report: Report
) -> Coreset:
    """The embeddings of the patches that were kept, `cells` patches an image."""
    image = kept // cells
    owners = np.unique(image).tolist()
    rows: list[Floats] = []
    for i in owners:
        rows.append(_stored(embed(features[i])[kept[image == i] - i * cells], dtype))
        report("bank", len(rows), len(owners))
    return Coreset(np.concatenate(rows), image)


def _stored(rows: F32, dtype: type[np.floating[Any]]) -> Floats:
    """float16 halves the bundle: 2^-11 of each value, far below the distance between patches; if it fits."""
    with np.errstate(over="ignore"):
        small = rows.astype(dtype)
    return small if np.isfinite(small).all() else rows
