"""What cameras call their pixel formats (PFNC names), and how to read them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import SourceFormat
from ..frame import U8

CHANNELS = {"Mono": 1, "Bayer": 1, "RGBa": 4, "BGRa": 4, "RGB": 3, "BGR": 3}
"""Beginning of the name -> values per pixel."""
DEPTHS = {"8": 0, "10": 2, "12": 4, "16": 8}
"""End of the name -> low bits beyond the eight that are kept; more than 8 bits lie in two bytes."""
# OpenCV names a pattern by its second row and column, GenICam by its first.
CONVERT = {
    "BayerRG": cv2.COLOR_BayerBG2BGR,
    "BayerBG": cv2.COLOR_BayerRG2BGR,
    "BayerGR": cv2.COLOR_BayerGB2BGR,
    "BayerGB": cv2.COLOR_BayerGR2BGR,
    "RGBa": cv2.COLOR_RGBA2BGR,
    "BGRa": cv2.COLOR_BGRA2BGR,
    "RGB": cv2.COLOR_RGB2BGR,
}
PFNC_CODES = {
    0x01080001: "Mono8",
    0x01100003: "Mono10",
    0x01100005: "Mono12",
    0x01100007: "Mono16",
    0x01080008: "BayerGR8",
    0x01080009: "BayerRG8",
    0x0108000A: "BayerGB8",
    0x0108000B: "BayerBG8",
    0x02180014: "RGB8",
    0x02180015: "BGR8",
    0x02200016: "RGBa8",
    0x02200017: "BGRa8",
}
"""Number on the wire -> name. Source: GenICam Pixel Format Naming Convention 2.x, table of values."""


def to_pixels(where: str, name: str, data: NDArray[np.generic], height: int, width: int) -> U8:
    """A buffer of the camera as (H, W) grey or (H, W, 3) BGR; may be a view of it.

    Args:
        where: names the camera in the error.
        name: PFNC name of the format, such as `Mono8` or `BayerRG12`.
        data: the buffer, of any type; what follows the image is ignored.

    Raises:
        SourceFormat: a format that is not read here, or a buffer that is too short.
    """
    kind = name.rstrip("0123456789")
    per_pixel = next((n for start, n in CHANNELS.items() if kind.startswith(start)), None)
    low_bits = DEPTHS.get(name[len(kind) :])
    if per_pixel is None or low_bits is None:
        raise SourceFormat(
            f"{where}: pixel format {name}; expected Mono8, BGR8, RGB8 or BayerRG8, set one of them"
        )
    values: NDArray[np.integer[Any]] = np.frombuffer(data, np.uint8 if low_bits == 0 else np.dtype("<u2"))
    count = height * width * per_pixel
    if values.size < count:
        raise SourceFormat(f"{where}: {values.size} values; expected {count} of {width} x {height} {name}")
    image: NDArray[np.integer[Any]] = values[:count].reshape(
        (height, width) if per_pixel == 1 else (height, width, per_pixel)
    )
    if low_bits:
        image = (image >> low_bits).astype(np.uint8)
    code = CONVERT.get(kind)
    return np.asarray(image if code is None else cv2.cvtColor(image, code), np.uint8)
