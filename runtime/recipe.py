"""How one product is judged: bundle, region, thresholds, deadline."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from .config import ConfigStruct, load_yaml
from .errors import ConfigError
from .ids import check_id
from .images.sample import Box
from .quality import QualityLimits
from .terms import Thresholds


class Region(ConfigStruct, frozen=True):
    """The part of the source image that is inspected, in source pixels."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.x < 0 or self.y < 0 or self.width < 1 or self.height < 1:
            raise ValueError("region needs x, y >= 0 and width, height >= 1 (pixels)")


class Recipe(ConfigStruct, frozen=True):
    """How one product is judged with a bundle; paths are relative to the recipe's own file."""

    bundle: str
    """Folder of the bundle."""
    threshold: float
    """Score at and above which a part is NG, in the bundle's unit, > 0."""
    id: str = "default"
    """Name of the recipe on the wire, [A-Za-z0-9._-]{1,64}."""
    version: str = "1"
    number: int = 0
    """Recipe number for the PLC, 0..65535."""
    review_threshold: float | None = None
    """Score at and above which (and below `threshold`) a part goes to REVIEW; absent: no review band."""
    score_scale: float | None = None
    """Score units per 1.0 of pred_score; absent: 2 x threshold. Written by `calibrate`."""
    deadline_ms: float = 100.0
    """The latest verdict after trigger (or capture, in free run), ms, > 0."""
    region: Region | None = None
    """Crop applied before the network; absent: the whole image."""
    mask: str | None = None
    """Grey image over the region: 0 = ignore, 255 = inspect; multiplied into the map before the score."""
    quality: QualityLimits = QualityLimits()
    """Limits of a sound picture, checked in the region before detection. Written by `calibrate`."""

    def __post_init__(self) -> None:
        check_id("id", self.id)
        _positive("threshold", self.threshold)
        _positive("deadline_ms", self.deadline_ms)
        if self.score_scale is not None:
            _positive("score_scale", self.score_scale)
        if not 0 <= self.number <= 65535:
            raise ValueError(f"number is {self.number}; expected 0..65535")
        review = self.review_threshold
        if review is not None and not 0 < review < self.threshold:
            raise ValueError(
                f"review_threshold is {review}; expected between 0 and threshold {self.threshold}"
            )

    @property
    def box(self) -> Box | None:
        """The region as x, y, width, height."""
        region = self.region
        return None if region is None else (region.x, region.y, region.width, region.height)

    @property
    def thresholds(self) -> Thresholds:
        """What `decide` needs of the recipe."""
        return Thresholds(self.threshold, self.review_threshold, self.score_scale)


def load_recipe(path: Path) -> Recipe:
    """Reads a recipe; its `bundle` and `mask` come back as absolute paths.

    Raises:
        ConfigError: the file is missing or does not say what it must, with its line.
    """
    recipe = load_yaml(path, Recipe)
    base = path.resolve().parent
    bundle = base / recipe.bundle
    if not bundle.is_dir():
        raise ConfigError(f"{path}: bundle: no folder {bundle}; expected a bundle written by 'gonogo export'")
    mask = None if recipe.mask is None else str(base / recipe.mask)
    return msgspec.structs.replace(recipe, bundle=str(bundle), mask=mask)


def _positive(what: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{what} is {value}; expected a finite number > 0")
