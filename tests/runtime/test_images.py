"""One reader for all image files: what it accepts, how it converts, and how it refuses."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.errors import ConfigError, SourceDecode
from runtime.frame import U8
from runtime.images.files import jpeg_refusal, list_images, load_image, save_image
from runtime.images.format import image_format, image_size

EXTENSIONS = (".png", ".jpg", ".bmp", ".tiff")


@pytest.fixture
def picture() -> U8:
    """(40, 60, 3): a smooth colour picture, so that JPEG stays close to it."""
    y, x = np.mgrid[:40, :60]
    return np.stack([4 * x, 6 * y, 200 - 2 * x], axis=2).astype(np.uint8)


def _encode(pixels: np.ndarray, extension: str = ".png") -> bytes:
    return cv2.imencode(extension, pixels)[1].tobytes()


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("colour", [None, True, False])
def test_every_format_reads_as_grey_or_bgr(
    tmp_path: Path, picture: U8, extension: str, colour: bool | None
) -> None:
    save_image(tmp_path / f"a{extension}", picture)
    image = load_image(tmp_path / f"a{extension}", colour)
    expected = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if colour is False else picture
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    # JPEG at OpenCV's quality 95 stays within a few grey levels on a smooth picture.
    np.testing.assert_allclose(image, expected, atol=12 if extension == ".jpg" else 0)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_the_header_tells_format_and_size(picture: U8, extension: str) -> None:
    data = _encode(picture, extension)
    assert image_format(data) == {".jpg": "jpeg"}.get(extension, extension[1:])
    assert image_size(data) == (40, 60)


def test_a_grey_file_stays_grey_unless_colour_is_asked_for(tmp_path: Path, picture: U8) -> None:
    save_image(tmp_path / "a.png", picture[:, :, 0])
    assert load_image(tmp_path / "a.png").shape == (40, 60)
    colour = load_image(tmp_path / "a.png", colour=True)
    np.testing.assert_array_equal(colour, picture[:, :, :1].repeat(3, axis=2))


@pytest.mark.parametrize("extension", [".png", ".tiff"])
def test_16_bits_are_scaled_by_a_fixed_rule(tmp_path: Path, extension: str) -> None:
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    (tmp_path / "a").write_bytes(_encode(deep, extension))
    expected = (deep.astype(np.int64) + 128) // 257
    np.testing.assert_array_equal(load_image(tmp_path / "a"), expected)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_an_opaque_alpha_channel_is_dropped(
    tmp_path: Path, picture: U8, kind: type[np.unsignedinteger]
) -> None:
    full = np.iinfo(kind).max
    opaque = np.dstack([picture.astype(kind) * (full // 255), np.full((40, 60), full, kind)])
    (tmp_path / "a.png").write_bytes(_encode(opaque))
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), picture)


def test_a_palette_file_reads_as_its_colours(tmp_path: Path) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)
    pixels = chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255])) + chunk(b"IDAT", zlib.compress(b"\0\0\1"))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), [[[0, 0, 255], [255, 0, 0]]])


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("kept", [0.02, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, picture: U8, extension: str, kept: float) -> None:
    data = _encode(picture, extension)
    (tmp_path / "a.x").write_bytes(data[: int(kept * len(data))])
    with pytest.raises(SourceDecode, match=r"a\.x: (\w+ file is damaged|cannot be decoded).*copy"):
        load_image(tmp_path / "a.x")


def test_a_tiff_with_its_directory_in_front_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    short, long = 3, 4
    tags = [(256, short, 8), (257, short, 8), (258, short, 8), (259, short, 1), (262, short, 1)]
    tags += [(273, long, 200), (277, short, 1), (278, short, 8), (279, long, 64)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    front = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)
    whole = front.ljust(200, b"\0") + bytes(range(64))
    (tmp_path / "a.tif").write_bytes(whole)
    assert load_image(tmp_path / "a.tif").ravel().tolist() == list(range(64))
    (tmp_path / "a.tif").write_bytes(whole[:-1])
    with pytest.raises(SourceDecode, match="tiff file is damaged"):
        load_image(tmp_path / "a.tif")


def test_a_flipped_bit_in_a_png_is_seen(tmp_path: Path, picture: U8) -> None:
    data = bytearray(_encode(picture))
    data[len(data) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(SourceDecode, match="checksum does not fit"):
        load_image(tmp_path / "a.png")


def test_a_header_that_asks_for_gigabytes_is_refused_before_decoding(tmp_path: Path, picture: U8) -> None:
    data = bytearray(_encode(picture, ".bmp"))
    data[18:26] = struct.pack("<ii", 60000, -60000)
    (tmp_path / "a.bmp").write_bytes(data)
    with pytest.raises(SourceDecode, match="60000 x 60000 pixels; expected at most 268 megapixels"):
        load_image(tmp_path / "a.bmp")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"hello, this is text", "not an image; expected PNG, JPEG, BMP or TIFF"),
        (b"\x89PNG\r\n\x1a\n", "png file is damaged"),
        (_encode(np.zeros((4, 4, 4), np.uint8)), "has transparent pixels; expected an opaque image"),
        (_encode(np.zeros((4, 4), np.float32), ".tiff"), "pixels are float32; expected 8 or 16 bits"),
    ],
)
def test_what_is_no_usable_image_is_refused_in_one_line(
    tmp_path: Path, data: bytes, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(SourceDecode) as caught:
        load_image(tmp_path / "a.png")
    assert str(caught.value).startswith(f"{tmp_path / 'a.png'}: {says}")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_missing_file_is_an_error_of_the_operator(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.png: no such file or directory; expected an image file"):
        load_image(tmp_path / "gone.png")
    with pytest.raises(ConfigError, match="is a directory"):
        load_image(tmp_path)


@pytest.mark.parametrize("version", ["4.10.0", "4.11.0.86", "3.4.18"])
def test_an_old_opencv_reads_no_jpeg(version: str) -> None:
    assert "4.12 or later" in str(jpeg_refusal(version))


@pytest.mark.parametrize("version", ["4.12.0", "4.13.0-dev", "5.0.0"])
def test_a_new_opencv_reads_jpeg(version: str) -> None:
    assert jpeg_refusal(version) is None


def test_a_folder_lists_its_images_sorted_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "c.Tif", "notes.txt", "10.bmp"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [p.name for p in list_images(tmp_path)] == ["10.bmp", "a.jpeg", "b.PNG", "c.Tif"]


def test_an_empty_or_missing_folder_is_an_error_of_the_operator(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no images in this folder; expected files ending in png jpg"):
        list_images(tmp_path)
    with pytest.raises(ConfigError, match=r"gone: no such file or directory; expected a folder"):
        list_images(tmp_path / "gone")


def test_saving_where_there_is_no_folder_or_no_format_says_so(tmp_path: Path, picture: U8) -> None:
    with pytest.raises(ConfigError, match=r"gone.a\.png: no such file or directory"):
        save_image(tmp_path / "gone" / "a.png", picture)
    with pytest.raises(ConfigError, match=r"cannot write '\.webm'"):
        save_image(tmp_path / "a.webm", picture)


def test_saving_without_permission_says_so(tmp_path: Path, picture: U8) -> None:
    tmp_path.chmod(0o500)
    # Root may write to any folder but the kernel's own.
    folder = Path("/sys") if os.geteuid() == 0 else tmp_path
    with pytest.raises(ConfigError, match=r"a\.png: (permission denied|read-only file system|operation not)"):
        save_image(folder / "a.png", picture)


def test_saving_onto_a_folder_says_so(tmp_path: Path, picture: U8) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ConfigError, match="is a directory; expected a place to write an image"):
        save_image(tmp_path / "a.png", picture)
