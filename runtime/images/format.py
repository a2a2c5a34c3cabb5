"""What an image file says about itself before it is decoded: format, size, and whether all of it is there.

OpenCV returns a half-grey picture for a cut-off JPEG and allocates whatever a header asks for; both are
found here first, from the bytes alone.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
BMP = b"BM"
TIFF_LITTLE = (b"II*\0", b"II+\0")
TIFF_BIG = (b"MM\0*", b"MM\0+")


def image_format(data: bytes) -> str | None:
    """Format by its first bytes: `png`, `jpeg`, `bmp`, `tiff`; None for anything else."""
    signs = {"png": (PNG,), "jpeg": (JPEG,), "bmp": (BMP,), "tiff": TIFF_LITTLE + TIFF_BIG}
    return next((name for name, starts in signs.items() if data.startswith(starts)), None)


def image_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) in pixels as the header has it; None where the header is cut off or of a rare kind."""
    readers = {"png": _png_size, "jpeg": _jpeg_size, "bmp": _bmp_size, "tiff": _tiff_size}
    try:
        return readers[image_format(data) or ""](data)
    except (KeyError, struct.error, IndexError):
        return None


def damage(data: bytes) -> str | None:
    """What is wrong with the file's frame: cut off, or a checksum that does not fit; None when whole.

    A flipped bit inside a JPEG, BMP or TIFF is not seen: those formats carry no checksum.
    """
    checks = {"png": _png_damage, "jpeg": _jpeg_damage, "bmp": _bmp_damage, "tiff": _tiff_damage}
    check = checks.get(image_format(data) or "")
    try:
        return check(data) if check else None
    except struct.error:
        return "cut off inside its header"


def _png_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _png_damage(data: bytes) -> str | None:
    at = len(PNG)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            return "cut off"
        if zlib.crc32(memoryview(data)[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            return "checksum does not fit"
        if data[at + 4 : at + 8] == b"IEND":
            return None
        at = end + 4
    return "cut off"


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    for marker, at in _jpeg_segments(data):
        # SOF0..SOF15 hold the size; C4, C8 and CC in that range are other segments.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 3)
            return height, width
    return None


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, offset of its length) of each segment up to the first scan."""
    at = 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        yield data[at + 1], at + 2
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _jpeg_damage(data: bytes) -> str | None:
    # Inside a scan every FF is followed by 00 or a restart marker, so the last start of scan is a real
    # one; without an end of image after it the file is cut off. A thumbnail's own end lies before it.
    return None if data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") > 0 else "cut off"


def _bmp_size(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(height), abs(width)


def _bmp_damage(data: bytes) -> str | None:
    height, width = _bmp_size(data)
    (offset,) = struct.unpack_from("<I", data, 10)
    short = struct.unpack_from("<I", data, 14)[0] == 12
    bits, compression = struct.unpack_from("<H", data, 24)[0], 0
    if not short:
        bits, compression = struct.unpack_from("<HI", data, 28)
    packed = compression in (1, 2)  # run lengths: the size is not known before decoding
    needed = offset + (0 if packed else height * ((width * bits + 31) // 32 * 4))
    return "cut off" if len(data) < needed else None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    """Size from the first directory of a classic TIFF; None for BigTIFF."""
    tags = _tiff_tags(data, (256, 257))
    return (tags[257][0], tags[256][0]) if len(tags) == 2 else None


def _tiff_damage(data: bytes) -> str | None:
    """Whether a strip or tile ends behind the file; OpenCV would fill the rest with anything."""
    tags = _tiff_tags(data, (273, 279, 324, 325))
    offsets, sizes = tags.get(273) or tags.get(324), tags.get(279) or tags.get(325)
    ends = [at + size for at, size in zip(offsets or (), sizes or (), strict=False)]
    return "cut off" if max(ends, default=0) > len(data) else None


def _tiff_tags(data: bytes, wanted: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    """Integer values of some tags of the first directory; empty for BigTIFF."""
    if data[:4] not in (TIFF_LITTLE[0], TIFF_BIG[0]):
        return {}
    order = "<" if data.startswith(TIFF_LITTLE) else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    found: dict[int, tuple[int, ...]] = {}
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from(order + "H", data, at)[0], 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, entry)
        form, size = {3: ("H", 2), 4: ("I", 4)}.get(kind, ("", 0))
        if tag in wanted and form and count * size <= len(data):
            inline = count * size <= 4
            place = entry + 8 if inline else struct.unpack_from(order + "I", data, entry + 8)[0]
            found[tag] = struct.unpack_from(f"{order}{count}{form}", data, place)
    return found
