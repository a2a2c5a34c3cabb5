"""Image files in and out: the one place that reads and writes them.

Every reader of images (sources, export, calibrate, evaluate, predict) sees the same pixels for the same
file: 8 bits, grey or BGR, as stored (an EXIF rotation is not applied: a camera over a line has none).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, SourceDecode
from ..frame import U8
from .format import damage, image_format, image_size

Pixels: TypeAlias = NDArray[np.integer[Any] | np.floating[Any]]

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
MAX_FILE_BYTES = 1 << 30
MAX_PIXELS = 1 << 28
"""268 megapixels, above every area camera: a larger header is damage or an attack, refused undecoded."""


def load_image(path: Path, colour: bool | None = None) -> U8:
    """Reads one image file.

    16 bits become 8 by the fixed rule round(value / 257), never stretched per image: 65535 is 255, so a
    12-bit camera must store its values left-aligned. An alpha channel is dropped when it is opaque.

    Args:
        path: PNG, JPEG, BMP or TIFF, 8 or 16 bits, grey, BGR(A) or palette.
        colour: True gives (H, W, 3) BGR, False (H, W) grey, None what the file holds.

    Raises:
        ConfigError: no such file, a folder, or no right to read it.
        SourceDecode: empty, cut off, too large, transparent, or not an image.
    """
    return decode_image(_read_bytes(path), path, colour)


def decode_image(data: bytes, path: Path, colour: bool | None = None) -> U8:
    """As `load_image`, from bytes that were read before; `path` names them in errors."""
    _check_bytes(path, data)
    return to_channels(_to_8_bit(path, _decode(path, data)), colour)


def to_channels(pixels: U8, colour: bool | None) -> U8:
    """The same image as BGR (True), grey (False) or unchanged (None); copies only where it converts."""
    if colour is None or colour == (pixels.ndim == 3):
        return pixels
    return _u8(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR if colour else cv2.COLOR_BGR2GRAY))


def list_images(folder: Path) -> list[Path]:
    """Image files directly in `folder`, sorted by name; by extension, in any case.

    Raises:
        ConfigError: no such folder, or no image in it.
    """
    try:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in EXTENSIONS and p.is_file())
    except OSError as error:
        raise ConfigError(f"{folder}: {_reason(error)}; expected a folder of images") from None
    if not found:
        kinds = " ".join(e[1:] for e in EXTENSIONS)
        raise ConfigError(f"{folder}: no images in this folder; expected files ending in {kinds}")
    return found


def save_image(path: Path, pixels: U8) -> None:
    """Writes (H, W) or (H, W, 3) BGR pixels in the format of the file's extension.

    Raises:
        ConfigError: an unknown extension, no such folder, no right to write, disk full.
    """
    if path.suffix.lower() not in EXTENSIONS:
        raise ConfigError(f"{path}: cannot write '{path.suffix}'; expected one of {' '.join(EXTENSIONS)}")
    # cv2.imwrite would return False for all of these, with no reason.
    _, encoded = cv2.imencode(path.suffix.lower(), pixels)
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise ConfigError(f"{path}: {_reason(error)}; expected a place to write an image") from None


def jpeg_refusal(version: str) -> str | None:
    """Why the OpenCV of this version must not read JPEG; None when it may.

    4.10 and 4.11 can return an earlier image's content for a damaged JPEG: a verdict on the wrong part.
    """
    found = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    if found >= (4, 12):
        return None
    return (
        f"OpenCV {version} reads no JPEG here (it can return stale pixels); use 4.12 or later, or PNG files"
    )


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size <= MAX_FILE_BYTES:
            return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {_reason(error)}; expected an image file") from None
    raise SourceDecode(
        f"{path}: {size >> 20} MiB; expected an image file of at most {MAX_FILE_BYTES >> 20} MiB"
    )


def _check_bytes(path: Path, data: bytes) -> None:
    """Refuses what must not reach the decoder."""
    if not data:
        raise SourceDecode(f"{path}: the file is empty; expected an image, copy it again")
    form = image_format(data)
    if form is None:
        raise SourceDecode(f"{path}: not an image; expected PNG, JPEG, BMP or TIFF")
    refusal = jpeg_refusal(cv2.__version__) if form == "jpeg" else None
    if refusal:
        raise SourceDecode(f"{path}: {refusal}")
    height, width = image_size(data) or (0, 0)
    if height * width > MAX_PIXELS:
        limit = MAX_PIXELS // 10**6
        raise SourceDecode(f"{path}: {width} x {height} pixels; expected at most {limit} megapixels")
    fault = damage(data)
    if fault:
        raise SourceDecode(f"{path}: {form} file is damaged ({fault}); expected a whole one, copy it again")


def _decode(path: Path, data: bytes) -> Pixels:
    # OpenCV would print its own lines beside our error.
    level = _set_log_level(0)
    try:
        pixels: Pixels | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    finally:
        _set_log_level(level)
    if pixels is None:
        raise SourceDecode(f"{path}: cannot be decoded; expected a whole image, copy or save it again")
    return pixels


def quiet_opencv() -> None:
    """Keeps OpenCV from printing its own lines beside our errors, from now on."""
    _set_log_level(0)


def _set_log_level(level: int) -> int:
    """Sets how much OpenCV prints, 0 nothing; returns what was set before."""
    # OpenCV 5 moved it into cv2.utils.logging.
    module: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    return int(module.setLogLevel(level))


def _to_8_bit(path: Path, pixels: Pixels) -> U8:
    """Grey or BGR, uint8, without alpha."""
    if pixels.dtype not in (np.uint8, np.uint16):
        raise SourceDecode(f"{path}: pixels are {pixels.dtype}; expected 8 or 16 bits, save it as such")
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = _without_alpha(path, pixels)
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3):
        raise SourceDecode(f"{path}: {pixels.shape[2]} channels; expected grey (1) or colour (3)")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)
    return _u8(np.ascontiguousarray(pixels))


def _without_alpha(path: Path, pixels: Pixels) -> Pixels:
    opaque = np.iinfo(np.uint16 if pixels.dtype == np.uint16 else np.uint8).max
    if np.any(pixels[:, :, -1] != opaque):
        raise SourceDecode(f"{path}: has transparent pixels; expected an opaque image, save it without alpha")
    return pixels[:, :, :-1]


def _u8(pixels: Pixels) -> U8:
    assert pixels.dtype == np.uint8
    return pixels  # type: ignore[return-value]


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
