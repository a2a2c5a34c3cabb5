"""From camera pixels to the network's input: crop, antialiased resize, normalise."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from .arrays import F16, F32, U8
from .matrices import resize_matrix

_BLOCK = 8
"""Output rows per matrix product: fewer cost calls, more cost products with zeros; 4 to 8 measured best."""

_Band = tuple[slice, slice, F32]


@lru_cache(maxsize=64)
def _bands(n_in: int, n_out: int) -> tuple[_Band, ...]:
    """The resize matrix cut into blocks: which outputs, from which inputs, with which weights."""
    weights = resize_matrix(n_in, n_out).astype(np.float32)
    bands = []
    for first in range(0, n_out, _BLOCK):
        rows = weights[first : first + _BLOCK]
        used = np.flatnonzero(rows.any(axis=0))
        inputs = slice(int(used[0]), int(used[-1]) + 1)
        bands.append((slice(first, first + len(rows)), inputs, np.ascontiguousarray(rows[:, inputs])))
    return tuple(bands)


def preprocess(
    image: U8,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    region: tuple[int, int, int, int] | None = None,
    out: F32 | F16 | None = None,
) -> F32 | F16:
    """The network's input from one image: crop, antialiased resize, (value / 255 - mean) / std.

    This is the definition that every other implementation is measured against. The resize is separable,
    rows of the image (vertical) first, then columns, each with the triangle filter of `resize_matrix`
    computed on the cropped region alone; nothing is rounded to 8 bits in between.

    Args:
        image: (H, W) grey or (H, W, 3) blue-green-red uint8, as OpenCV delivers; grey counts as three equal
            channels.
        size: (height, width) of the result, pixels.
        mean: (3,) per channel red, green, blue, in 0..1.
        std: (3,) likewise, > 0.
        region: (x, y, width, height) in source pixels, inside the image; None is the whole image.
        out: (3, height, width) float32 or float16 to fill; None allocates float32.

    Returns:
        (3, height, width), channels red, green, blue; `out` where it was given. float16 is the float32 result
        rounded once, at the end.

    Raises:
        ValueError: wrong dtype or shape of image or out, or a region that leaves the image.
    """
    source = crop(image, region)
    rows, columns = source.shape[:2]
    channels = 1 if source.ndim == 2 else 3
    height, width = size
    out = check_out(size, out)

    flat = source.reshape(rows, columns * channels)
    planes = np.empty((channels, height, columns), np.float32)
    bands = _bands(rows, height)
    # Only a few rows are in float32 at any time: they stay in the cache, the whole image would not.
    strip = np.empty((max(inputs.stop - inputs.start for _, inputs, _ in bands), flat.shape[1]), np.float32)
    shrunk = np.empty((_BLOCK, flat.shape[1]), np.float32)
    for outputs, inputs, weights in bands:
        taken, made = strip[: inputs.stop - inputs.start], shrunk[: len(weights)]
        np.copyto(taken, flat[inputs])
        np.matmul(weights, taken, out=made)
        planes[:, outputs] = made.reshape(-1, columns, channels).transpose(2, 0, 1)

    lines = planes.reshape(channels * height, columns)
    resized = np.empty((channels * height, width), np.float32)
    for outputs, inputs, weights in _bands(columns, width):
        np.matmul(lines[:, inputs], weights.T, out=resized[:, outputs])

    pixels = resized.reshape(channels, height, width)
    for channel in range(3):
        # The camera's channel 0 is blue, the network's is red.
        plane = pixels[channels - 1 - channel] if channels == 3 else pixels[0]
        scaled = plane * np.float32(1 / (255 * std[channel]))
        np.subtract(scaled, np.float32(mean[channel] / std[channel]), out=out[channel], casting="same_kind")
    return out


def check_out(size: tuple[int, int], out: F32 | F16 | None) -> F32 | F16:
    """`out` of `preprocess`, or a new float32 array; raises ValueError as said there."""
    shape = (3, *size)
    if out is None:
        return np.empty(shape, np.float32)
    if out.shape != shape or out.dtype not in (np.float32, np.float16):
        raise ValueError(f"preprocess: out is {out.dtype} {out.shape}, expected float32 or float16 {shape}")
    return out


def crop(image: U8, region: tuple[int, int, int, int] | None) -> U8:
    """The region of a checked image, a view; see `preprocess` for both and for the errors."""
    grey_or_bgr = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not grey_or_bgr or image.size == 0:
        raise ValueError(
            f"preprocess: image is {image.dtype} {image.shape}, expected uint8 (H, W) or (H, W, 3)"
        )
    if region is None:
        return image
    x, y, width, height = region
    rows, columns = image.shape[:2]
    if x < 0 or y < 0 or width < 1 or height < 1 or x + width > columns or y + height > rows:
        raise ValueError(
            f"preprocess: region (x, y, width, height) {region} leaves the image of {columns} x {rows} pixels"
        )
    return image[y : y + height, x : x + width]
