"""What the rows of the accuracy benchmark are measured with, and which of them share a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.accuracy_common import weights_file
from export.methods.grnr import GrnrExport
from runtime.bundle import GrnrHead
from runtime.images.dataset import train_good


@dataclass(frozen=True)
class Change:
    """One thing changed in preset `default`."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of GrnrExport."""
    head: Mapping[str, Any] = field(default_factory=dict)
    """Fields of GrnrHead."""
    backbones: tuple[str, ...] = ("filter_bank", "resnet18")


VARIANTS: dict[str, Change] = {
    "score: maximum of the map": Change(head={"score": "max"}),
    "score: mean of the top 0.3 %": Change(head={"top": 0.003}),
    "score: mean of the top 3 %": Change(head={"top": 0.03}),
    "score: standard deviation": Change(head={"score": "std"}),
    "score without margin": Change(settings={"margin": 0.0}),
    "score with margin 15 %": Change(settings={"margin": 0.15}),
    "score without border profile": Change(head={"profile": False}),
    "ring 1 cell": Change(head={"rings": 1}),
    "ring 3 cells": Change(head={"rings": 3}),
    "ring filled with the minimum": Change(head={"fill": "min"}),
    "one global vector (paper)": Change(head={"target": "selected"}),
    "a = 0: neighbour regression alone": Change(head={"blend": 0.0}),
    "a = 0.5": Change(head={"blend": 0.5}),
    "5 nearest of 200 anchors": Change(head={"neighbours": 5}),
    "60 nearest of 200 anchors": Change(head={"neighbours": 60}),
    "40 nearest of 400 anchors": Change(head={"neighbours": 40, "anchors": 400}),
    "sum of the scales": Change(head={"fusion": "sum"}, backbones=("resnet18",)),
    "layers 2 and 3": Change(settings={"outputs": ("layer2", "layer3")}, backbones=("resnet18",)),
    "layers 1, 2 and 3": Change(
        settings={"outputs": ("layer1_s8", "layer2", "layer3")}, backbones=("resnet18",)
    ),
    "input 256 px": Change(settings={"size": 256}),
    "input 448 px": Change(settings={"size": 448}),
}
"""Tried one at a time."""


@dataclass(frozen=True)
class Case:
    """One row."""

    set: str
    backbone: str
    preset: str
    shots: int = 0
    """Good images given to the export; 0 = zero-shot."""
    draw: int = 0
    """Seed that picked them from train/good."""
    variant: str = ""
    """A key of VARIANTS, or nothing."""
    limit: int | None = None
    """Images per kind; None: all."""

    @property
    def key(self) -> str:
        """Name of the row."""
        key = f"{self.set}/{self.backbone}/{self.preset}/{self.shots} good/draw {self.draw}"
        key += f"/{self.variant}" if self.variant else ""
        return key if self.limit is None else f"{key}/limit {self.limit}"

    @property
    def network(self) -> tuple[object, ...]:
        """Equal for cases whose features are the same."""
        settings = self._change.settings
        return self.set, self.backbone, self.preset, settings.get("size"), settings.get("outputs")

    def method(self, weights: Path | None) -> GrnrExport:
        """Settings of the export; `weights` holds <backbone>_*.npz.

        Raises:
            ConfigError: the weights are not there.
        """
        config = {"method": "grnr", "id": self.set, "backbone": self.backbone, "preset": self.preset}
        if self.backbone != "filter_bank":
            config["weights"] = str(weights_file(weights, self.backbone))
        return msgspec.convert({**config, **self._change.settings}, GrnrExport)

    def changed(self, head: GrnrHead) -> GrnrHead:
        """The head with the variant's parameters."""
        changes = dict(self._change.head)
        if "rings" in changes:
            changes["rings"] = (changes["rings"],) * len(head.outputs)
        return msgspec.structs.replace(head, **changes)

    def good(self, data: Path) -> list[Path]:
        """The good images of this draw."""
        if self.shots == 0:
            return []
        found = train_good(data / self.set)
        picked = np.random.default_rng(self.draw).choice(len(found), self.shots, replace=False)
        return [found[i] for i in sorted(picked)]

    @property
    def _change(self) -> Change:
        return VARIANTS[self.variant] if self.variant else Change()


def grouped(cases: Iterable[Case]) -> list[list[Case]]:
    """Cases that share a network, together."""
    groups: dict[tuple[object, ...], list[Case]] = {}
    for case in cases:
        groups.setdefault(case.network, []).append(case)
    return list(groups.values())


def can_draw(path: Path, shots: int) -> bool:
    """Whether a set has that many good images to draw from."""
    return (path / "train" / "good").is_dir() and len(train_good(path)) >= shots
