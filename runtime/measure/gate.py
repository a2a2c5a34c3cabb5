"""The gate set: good images, and the same with planted defects, on which two ways must decide alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..images.files import decode_image
from ..sources.defects import KINDS, plant_defect, random_defect
from ..sources.synthetic import SyntheticConfig, SyntheticSource

U8 = NDArray[np.uint8]

FOLDER = "gate/"
"""Of a bundle: the good images that its export was given, as far as they travel with it."""
IMAGES = 8
"""So many of them, evenly spread; and so many sections of the web where there are none."""
WEB = SyntheticConfig(width=640, height=512, texture="woven", seed=11, defect_rate=0.0)
PLANTED = 2
"""Defects planted per good image, one at a time."""
SIZE_SHARE = (0.02, 0.15)
"""Least and most extent of a defect, as a share of the shorter side: from hardly to plainly seen."""
CONTRAST = (0.05, 0.45)


@dataclass(frozen=True)
class GateImage:
    """One image of the set."""

    name: str
    pixels: U8
    good: bool


def gate_set(bundle: Bundle) -> list[GateImage]:
    """The good images in the bundle, else a synthetic web, and what is planted in them: always the same."""
    names = sorted(name for name in bundle.files if name.startswith(FOLDER))
    images = {name: decode_image(bundle.files[name], bundle.path / name) for name in names}
    return with_planted(images or _web())


def with_planted(good: dict[str, U8]) -> list[GateImage]:
    """Good images by name, each followed by itself with one seeded defect at a time."""
    found: list[GateImage] = []
    for n, (name, image) in enumerate(good.items()):
        found.append(GateImage(name, image, True))
        for which in range(PLANTED):
            rng = np.random.default_rng([n, which])
            size = tuple(share * min(image.shape[:2]) for share in SIZE_SHARE)
            defect = random_defect(rng, image.shape, tuple(KINDS), (size[0], size[1]), CONTRAST)
            found.append(GateImage(f"{name} + {defect.kind}", plant_defect(image, defect), False))
    return found


def spread(count: int, wanted: int = IMAGES) -> list[int]:
    """At most `wanted` of `count` indices, evenly spread."""
    return [int(i) for i in np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(int))]


@lru_cache(maxsize=1)
def _web() -> dict[str, U8]:
    source = SyntheticSource(WEB)
    images: dict[str, U8] = {}
    for section in range(IMAGES):
        pixels = np.zeros(source.shape, np.uint8)
        source.render(section, section, pixels)
        images[f"web section {section}"] = pixels
    return images
