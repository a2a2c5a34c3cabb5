"""Folder and video sources: order, pace, loops, and files that are not what they should be."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import cv2
import numpy as np
import pytest

from runtime.config import ConfigStruct, parse_yaml
from runtime.errors import (
    ConfigError,
    SourceDecode,
    SourceEnd,
    SourceFormat,
    SourceLost,
    SourceTimeout,
)
from runtime.images.files import save_image
from runtime.source import Source
from runtime.sources import FolderConfig, FolderSource, SourceConfig, VideoConfig, VideoSource, open_source
from runtime.sources.clock import SteppedClock


class Station(ConfigStruct, frozen=True):
    """As much of a station file as matters here."""

    source: SourceConfig


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three grey 8 x 10 images with the values 10, 20, 30."""
    for value in (10, 20, 30):
        save_image(tmp_path / f"{value}.png", np.full((8, 10), value, np.uint8))
    return tmp_path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Four 32 x 48 frames with the values 40, 80, 120, 160."""
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (48, 32))
    for value in (40, 80, 120, 160):
        writer.write(np.full((32, 48, 3), value, np.uint8))
    writer.release()
    return tmp_path / "a.avi"


def _values(source: Source, count: int) -> list[int]:
    values = []
    for _ in range(count):
        frame = source.read(0)
        values.append(int(np.median(frame.pixels)))
        frame.release()
    return values


def test_a_folder_gives_its_images_in_order_and_then_ends(folder: Path) -> None:
    source = FolderSource(FolderConfig(path="."), folder)
    assert source.shape == (8, 10)
    assert _values(source, 3) == [10, 20, 30]
    for _ in range(2):
        with pytest.raises(SourceEnd, match="all 3 images shown"):
            source.read(0)


def test_a_looping_folder_starts_again(folder: Path) -> None:
    source = FolderSource(FolderConfig(path=".", loop=True), folder)
    assert _values(source, 7) == [10, 20, 30, 10, 20, 30, 10]


def test_frames_of_a_folder_are_numbered_stamped_and_named(folder: Path) -> None:
    source = FolderSource(FolderConfig(path="."), folder)
    first, second = source.read(0), source.read(0)
    assert (first.frame_id, second.frame_id, second.gap, second.name) == (0, 1, 0, "20.png")
    assert first.t_mono_us <= second.t_mono_us
    assert first.t_exposure_src == "dequeue"


def test_channels_decide_between_grey_and_colour(folder: Path) -> None:
    assert FolderSource(FolderConfig(path=".", channels=3), folder).shape == (8, 10, 3)


def test_an_unreadable_image_is_an_error_for_that_one_only(folder: Path) -> None:
    (folder / "15.png").write_bytes(b"not an image")
    source = FolderSource(FolderConfig(path="."), folder)
    assert _values(source, 1) == [10]
    with pytest.raises(SourceDecode, match=r"15\.png: not an image"):
        source.read(0)
    frame = source.read(0)
    assert (frame.pixels[0, 0], frame.frame_id, frame.gap) == (20, 2, 1)


def test_an_image_deleted_while_running_is_an_error_for_that_one_only(folder: Path) -> None:
    source = FolderSource(FolderConfig(path="."), folder)
    (folder / "10.png").unlink()
    with pytest.raises(SourceDecode, match="no such file"):
        source.read(0)
    assert _values(source, 1) == [20]


def test_an_image_of_another_size_is_an_error_for_that_one_only(folder: Path) -> None:
    save_image(folder / "15.png", np.zeros((8, 12), np.uint8))
    source = FolderSource(FolderConfig(path="."), folder)
    assert _values(source, 1) == [10]
    with pytest.raises(SourceFormat, match=r"15\.png: 12 x 8 grey; expected 10 x 8 grey"):
        source.read(0)
    assert _values(source, 2) == [20, 30]


def test_the_first_good_image_decides_the_shape(folder: Path) -> None:
    (folder / "05.png").write_bytes(b"")
    assert FolderSource(FolderConfig(path="."), folder).shape == (8, 10)


def test_a_folder_without_one_good_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(SourceDecode, match="none of 1 images can be read"):
        FolderSource(FolderConfig(path="."), tmp_path)


def test_a_missing_folder_is_an_error_of_the_operator(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory; expected a folder"):
        FolderSource(FolderConfig(path="gone"), tmp_path)


def test_a_paced_folder_keeps_its_rate(folder: Path) -> None:
    clock = SteppedClock()
    source = FolderSource(FolderConfig(path=".", loop=True, rate_hz=50), folder, clock)
    stamps = [source.read(100).t_mono_us for _ in range(5)]
    assert stamps == [0, 20_000, 40_000, 60_000, 80_000]


def test_a_read_before_the_next_image_is_due_times_out_and_loses_nothing(folder: Path) -> None:
    clock = SteppedClock()
    source = FolderSource(FolderConfig(path=".", rate_hz=10), folder, clock)
    assert _values(source, 1) == [10]
    with pytest.raises(SourceTimeout, match=r"due in 70\.0 ms"):
        source.read(30)
    assert clock.now_us() == 30_000
    frame = source.read(100)
    assert (frame.pixels[0, 0], frame.gap, frame.t_mono_us) == (20, 0, 100_000)


def test_a_late_reader_gets_paced_images_later_and_none_is_skipped(folder: Path) -> None:
    clock = SteppedClock()
    source = FolderSource(FolderConfig(path=".", rate_hz=10), folder, clock)
    assert _values(source, 1) == [10]
    clock.sleep_us(5_000_000)
    assert _values(source, 2) == [20, 30]


def test_an_image_waits_for_a_free_buffer_when_nothing_paces_it(folder: Path) -> None:
    source = FolderSource(FolderConfig(path=".", buffers=1), folder)
    frame = source.read(0)
    with pytest.raises(SourceTimeout, match="all 1 frame buffers are in use"):
        source.read(1)
    frame.release()
    assert _values(source, 2) == [20, 30]


@pytest.mark.parametrize("paced", [True, False])
def test_a_paced_or_triggered_image_without_a_buffer_is_lost_and_counted(folder: Path, paced: bool) -> None:
    clock = SteppedClock()
    config = FolderConfig(path=".", buffers=1, rate_hz=10 if paced else None)
    source = FolderSource(config, folder, clock)
    source.trigger(None)
    frame = source.read(200)
    with pytest.raises(SourceTimeout):
        source.read(101)
    frame.release()
    frame = source.read(200)
    assert (frame.pixels[0, 0], frame.frame_id, frame.gap) == (30, 2, 1)


def test_released_buffers_are_used_again(folder: Path) -> None:
    source = FolderSource(FolderConfig(path=".", loop=True, buffers=2), folder)
    buffers = set()
    for _ in range(6):
        frame = source.read(0)
        buffers.add(frame.pixels.__array_interface__["data"][0])
        frame.release()
    assert len(buffers) == 2


def test_a_video_gives_its_frames_in_order_and_then_ends(video: Path) -> None:
    source = VideoSource(VideoConfig(path="a.avi"), video.parent)
    assert source.shape == (32, 48, 3)
    # MJPG is lossy: a flat frame comes back within a grey level or two.
    np.testing.assert_allclose(_values(source, 4), [40, 80, 120, 160], atol=2)
    with pytest.raises(SourceEnd, match="all 4 frames shown"):
        source.read(0)
    source.close()
    source.close()


def test_a_looping_grey_paced_video_starts_again(video: Path) -> None:
    clock = SteppedClock()
    config = VideoConfig(path="a.avi", loop=True, rate_hz=25, channels=1)
    source = VideoSource(config, video.parent, clock)
    assert source.shape == (32, 48)
    frames = [source.read(50) for _ in range(6)]
    np.testing.assert_allclose([np.median(f.pixels) for f in frames], [40, 80, 120, 160, 40, 80], atol=2)
    assert [f.t_mono_us for f in frames] == [40_000 * i for i in range(6)]
    source.close()


def test_a_video_frame_waits_for_a_free_buffer_when_nothing_paces_it(video: Path) -> None:
    source = VideoSource(VideoConfig(path="a.avi", buffers=1), video.parent)
    frame = source.read(0)
    with pytest.raises(SourceTimeout):
        source.read(0)
    frame.release()
    frame = source.read(0)
    assert (frame.frame_id, frame.gap) == (1, 0)
    np.testing.assert_allclose(np.median(frame.pixels), 80, atol=2)
    source.close()


def test_a_missing_video_is_an_error_of_the_operator(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.mp4: no such file or directory; expected a video file"):
        VideoSource(VideoConfig(path="gone.mp4"), tmp_path)


def test_a_file_that_is_no_video_is_refused_without_noise(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"not a video at all" * 100)
    with pytest.raises(SourceLost, match=r"a\.mp4: no frame can be decoded"):
        VideoSource(VideoConfig(path="a.mp4"), tmp_path)
    assert capfd.readouterr().err == ""


def test_the_kind_in_the_station_file_decides_the_source(folder: Path) -> None:
    station = parse_yaml("source: {kind: folder, path: ., loop: true}", Station, "s.yaml")
    source = open_source(station.source, folder)
    assert isinstance(source, FolderSource)
    source.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: foldr\npath: .\n", "s.yaml:2: source.kind: "),
        ("kind: folder\npath: .\nrate_hz: 0\n", "rate_hz is 0.0; expected above 0"),
        ("kind: folder\npath: .\nrate: 5\n", "s.yaml:4: rate: unknown key; did you mean 'rate_hz'?"),
        ("kind: video\npath: .\nbuffers: 0\n", "buffers is 0; expected 1..256"),
        ("kind: camera\nbuffers: 1\n", "buffers >= 2"),
        ("kind: synthetic\ndefect_size_px: [9, 5]\n", "defect_size_px is [9.0, 5.0]; expected low <= high"),
    ],
)
def test_a_wrong_source_in_the_station_file_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml("source:\n" + indent(text, "  "), Station, "s.yaml")
    assert says in str(caught.value)
