"""Reads a data set in MVTec layout: test/<kind>/*, ground_truth/<kind>/<stem>_mask.png, train/good/*."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from .files import list_images, load_image

Mask = NDArray[np.bool_]

GOOD = "good"
LAYOUT = "test/<kind>/ with images and, for pixel figures, ground_truth/<kind>/<stem>_mask.png"


@dataclass(frozen=True)
class Sample:
    """One test image; its file is read when it is judged."""

    path: Path
    kind: str
    """Name of the folder: `good`, or the kind of defect."""
    mask: Path | None
    """Ground truth; None for a good image, and for kinds labelled per image only."""

    @property
    def defective(self) -> bool:
        """Whether the image shows a defect."""
        return self.kind != GOOD

    @property
    def has_pixel_truth(self) -> bool:
        """Whether every pixel's label is known: a mask, or a good image."""
        return self.mask is not None or not self.defective


@dataclass(frozen=True)
class Dataset:
    """The test images of one set, by kind and name."""

    path: Path
    samples: tuple[Sample, ...]

    def counts(self) -> dict[str, int]:
        """Images per kind, `good` first where there are any."""
        return count_kinds(self.samples)


def count_kinds(samples: Iterable[Sample]) -> dict[str, int]:
    """Samples per kind, `good` first where there are any."""
    kinds = Counter(sample.kind for sample in samples)
    return {kind: kinds[kind] for kind in sorted(kinds, key=lambda kind: (kind != GOOD, kind))}


def load_dataset(path: Path, limit: int | None = None) -> Dataset:
    """Lists the test images of a set; no image is opened.

    Args:
        path: folder of the set.
        limit: at most this many images per kind, evenly spread over its sorted names; None: all.

    Raises:
        ConfigError: no such folder, no kinds, a kind without images, or a kind with only some masks.
    """
    kinds = _kinds(path)
    samples = [sample for kind in kinds for sample in _spread(_samples(path, kind), limit)]
    return Dataset(path, tuple(samples))


def train_good(path: Path) -> list[Path]:
    """The defect-free training images of a set, sorted.

    Raises:
        ConfigError: there is no train/good, or nothing in it.
    """
    return list_images(path / "train" / GOOD)


def load_truth(sample: Sample, shape: tuple[int, int]) -> Mask:
    """(H, W) bool ground truth of a sample whose pixel truth is known, true = defective.

    Raises:
        ConfigError: the mask has another size than the image, (H, W) = `shape`.
        SourceDecode: the mask cannot be read.
    """
    if sample.mask is None:
        return np.zeros(shape, np.bool_)
    mask = load_image(sample.mask, colour=False)
    if mask.shape != shape:
        found, expected = (f"{size[1]} x {size[0]}" for size in (mask.shape, shape))
        raise ConfigError(f"{sample.mask}: {found} pixels, its image has {expected}; expected the same size")
    return np.asarray(mask > 0)


def _kinds(path: Path) -> list[str]:
    test = path / "test"
    try:
        kinds = sorted(p.name for p in test.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{test}: {reason}; expected a data set with {LAYOUT}") from None
    if not kinds:
        raise ConfigError(f"{test}: holds no folder per kind; expected {LAYOUT}")
    return kinds


def _samples(path: Path, kind: str) -> list[Sample]:
    images = list_images(path / "test" / kind)
    truth = path / "ground_truth" / kind
    if kind == GOOD or not truth.is_dir():
        return [Sample(image, kind, None) for image in images]
    samples = [Sample(image, kind, truth / f"{image.stem}_mask.png") for image in images]
    for sample in samples:
        if sample.mask is not None and not sample.mask.is_file():
            raise ConfigError(
                f"{sample.mask}: missing; expected a mask for each image of {kind!r}, or no folder {truth}"
            )
    return samples


def _spread(samples: list[Sample], limit: int | None) -> list[Sample]:
    """At most `limit` samples, evenly spread."""
    if limit is None or limit >= len(samples):
        return samples
    return [samples[i * len(samples) // limit] for i in range(limit)]
