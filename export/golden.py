"""Golden images: good ones and the same with a planted defect, which every machine must tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.images.files import to_channels
from runtime.sources.defects import Defect, plant_defect
from runtime.sources.synthetic import SyntheticConfig, SyntheticSource

U8 = NDArray[np.uint8]

WEB = SyntheticConfig(texture="woven", seed=7, defect_rate=0.0)
DEFECT_SHARE = 0.1
"""Extent of the planted defect as a share of the shorter side: plain to see, far from the margin."""
CONTRAST = 0.45
"""Darker on a light image, lighter on a dark one."""
MAX_SIDE = 640
"""Golden images are shrunk to this, px: they travel with every bundle."""


@dataclass(frozen=True)
class GoldenImage:
    """A golden image and its place in the bundle."""

    file: str
    label: Literal["OK", "NG"]
    pixels: U8
    encoded: bytes
    """PNG of `pixels`."""


def golden_images(good: list[U8]) -> list[GoldenImage]:
    """A good image (the user's first, else of a synthetic web) and the same with a planted spot."""
    ok = shrunk(good[0] if good else _web())
    height, width = ok.shape[:2]
    size = DEFECT_SHARE * min(height, width)
    contrast = -CONTRAST if ok.mean() > 80 else CONTRAST
    ng = plant_defect(ok, Defect("spot", 0.55 * width, 0.45 * height, size, contrast, 0.5, 1))
    return [_image("golden/ok.png", "OK", ok), _image("golden/ng.png", "NG", ng)]


def _web() -> U8:
    source = SyntheticSource(WEB)
    pixels = np.zeros(source.shape, np.uint8)
    source.render(0, 0, pixels)
    return pixels


def shrunk(image: U8) -> U8:
    """An image at most `MAX_SIDE` px long, and small enough to travel with a bundle."""
    scale = MAX_SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return to_channels(cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8), None)


def _image(file: str, label: Literal["OK", "NG"], pixels: U8) -> GoldenImage:
    return GoldenImage(file, label, pixels, encode_png(pixels))


def encode_png(image: U8) -> bytes:
    """The image as PNG, without loss."""
    return cv2.imencode(".png", image)[1].tobytes()
