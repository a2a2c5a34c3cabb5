"""The synthetic web: the same in every process, defects where the ground truth says, and cheap."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time

import numpy as np
import pytest

from runtime.errors import SourceTimeout
from runtime.frame import U8
from runtime.sources import SyntheticConfig, SyntheticSource
from runtime.sources.clock import SteppedClock
from runtime.sources.defects import KINDS, Defect, ground_truth_mask, plant_defect
from runtime.sources.synthetic import JITTER_PX, section_defects
from runtime.sources.textures import TEXTURES, THREAD_PX, render_roll

SMALL = SyntheticConfig(width=160, height=128, rate_hz=None, defect_rate=0.5, seed=7)

DIGEST = """
import hashlib
from runtime.sources import SyntheticConfig, SyntheticSource
from runtime.sources.synthetic import section_defects
config = SyntheticConfig(width=160, height=128, rate_hz=None, defect_rate=0.5, seed=7)
source = SyntheticSource(config)
digest = hashlib.sha256(repr([section_defects(7, n, config) for n in range(40)]).encode())
for encoder in (0, 5000, 12345, None):
    source.trigger(encoder)
    digest.update(source.read(0).pixels.tobytes())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def grey() -> U8:
    """(128, 160): a frame with room above and below for any contrast up to 0.4."""
    return np.full((128, 160), 128, np.uint8)


def test_defects_and_pixels_are_the_same_in_another_process() -> None:
    source = SyntheticSource(SMALL)
    digest = hashlib.sha256(repr([section_defects(7, n, SMALL) for n in range(40)]).encode())
    for encoder in (0, 5000, 12345, None):
        source.trigger(encoder)
        digest.update(source.read(0).pixels.tobytes())
    other = subprocess.run(
        [sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True, timeout=60
    )
    assert other.stdout.strip() == digest.hexdigest()


def test_another_seed_is_another_web_with_other_defects() -> None:
    other = SyntheticConfig(width=160, height=128, rate_hz=None, defect_rate=0.5, seed=8)
    assert [section_defects(7, n, SMALL) for n in range(9)] != [
        section_defects(8, n, other) for n in range(9)
    ]
    first, second = SyntheticSource(SMALL).read(0), SyntheticSource(other).read(0)
    assert np.mean(first.pixels != second.pixels) > 0.5


def test_the_share_of_sections_with_a_defect_is_the_rate() -> None:
    config = SyntheticConfig(defect_rate=0.1)
    found = sum(bool(section_defects(0, n, config)) for n in range(3000))
    # Binomial(3000, 0.1): standard deviation 16; five of them.
    assert abs(found - 300) < 82


def test_no_defects_at_rate_zero_and_one_in_each_section_at_rate_one() -> None:
    never, always = SyntheticConfig(defect_rate=0), SyntheticConfig(defect_rate=1)
    assert not any(section_defects(0, n, never) for n in range(-50, 50))
    assert all(len(section_defects(0, n, always)) == 1 for n in range(-50, 50))


def test_a_fixed_kind_size_and_contrast_are_kept_and_defects_lie_inside() -> None:
    config = SyntheticConfig(
        defect_rate=1, defect_kinds=("spot",), defect_size_px=(30, 30), defect_contrast=(0.2, 0.2)
    )
    for n in range(200):
        (defect,) = section_defects(3, n, config)
        assert (defect.kind, defect.size_px, abs(defect.contrast)) == ("spot", 30, 0.2)
        assert 15 <= defect.x_px <= 1280 - 15
        assert 15 <= defect.y_px <= 1024 - 15


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("contrast", [0.3, -0.3])
@pytest.mark.parametrize("size_px", [6.0, 30.0, 61.5])
def test_ground_truth_lies_where_pixels_changed(grey: U8, kind: str, contrast: float, size_px: float) -> None:
    defect = Defect(kind, 80.3, 61.8, size_px, contrast, angle_rad=0.7, seed=5)
    change = plant_defect(grey, defect).astype(int) - grey
    mask = ground_truth_mask([defect], grey.shape)
    peak = 255 * 0.3
    assert set(np.unique(mask)) == {0, 255}
    # Rounding to whole grey levels moves a value by up to a half.
    assert np.abs(change[mask > 0]).min() >= 0.25 * peak - 0.5
    assert np.abs(change[mask == 0]).max() <= 0.25 * peak + 0.5
    assert abs(np.abs(change).max() - peak) <= 0.5
    rows, columns = np.nonzero(mask)
    extent = np.hypot(rows - 61.8, columns - 80.3).max()
    assert 0.3 * size_px <= extent <= 0.5 * size_px + 1.5


def test_a_darker_defect_is_darker_and_a_lighter_one_lighter(grey: U8) -> None:
    for contrast in (-0.2, 0.2):
        planted = plant_defect(grey, Defect("spot", 50, 50, 20, contrast))
        assert (int(planted[50, 50]) - 128) * contrast > 0
    assert (grey == 128).all()


def test_a_defect_changes_all_channels_of_a_colour_image(grey: U8) -> None:
    defect = Defect("stain", 50, 50, 30, -0.2)
    colour = plant_defect(np.stack([grey] * 3, axis=2), defect)
    for channel in range(3):
        np.testing.assert_array_equal(colour[:, :, channel], plant_defect(grey, defect))


@pytest.mark.parametrize(("x", "y"), [(0, 0), (159, 127), (-300, 50), (80, 500)])
def test_a_defect_across_the_border_is_cut_off(grey: U8, x: float, y: float) -> None:
    defect = Defect("spot", x, y, 40, -0.3)
    changed = plant_defect(grey, defect) != grey
    assert changed[ground_truth_mask([defect], grey.shape) > 0].all()


@pytest.mark.parametrize("texture", sorted(TEXTURES))
def test_a_defect_in_a_frame_lies_where_its_ground_truth_says(texture: str) -> None:
    sizes = {"width": 320, "height": 256, "rate_hz": None, "texture": texture}
    plain = SyntheticSource(SyntheticConfig(defect_rate=0, **sizes))  # type: ignore[arg-type]
    marked = SyntheticSource(SyntheticConfig(defect_rate=1, **sizes))  # type: ignore[arg-type]
    for section in range(5):
        change = marked.read(0).pixels.astype(int) - plain.read(0).pixels
        mask = ground_truth_mask(marked.defects(section), change.shape)
        (defect,) = marked.defects(section)
        reach = defect.size_px / 2 + 3
        rows, columns = np.nonzero(change)
        assert np.abs(rows - defect.y_px).max() <= reach
        assert np.abs(columns - defect.x_px).max() <= reach
        assert (change[mask > 0] != 0).mean() > 0.95  # clipping at 0 or 255 may hide a few


def test_a_trigger_shows_the_section_at_its_encoder_position() -> None:
    source = SyntheticSource(SMALL)
    for encoder in (0, 999, 1000, 41_999, -1):
        source.trigger(encoder)
    names = [source.read(0).name for _ in range(5)]
    assert names == ["section 0", "section 0", "section 1", "section 41", "section -1"]


def test_without_a_trigger_each_read_shows_the_next_section() -> None:
    source = SyntheticSource(SMALL)
    source.trigger(5000)
    assert [source.read(0).name for _ in range(3)] == ["section 5", "section 6", "section 7"]


def test_two_exposures_of_a_section_differ_only_by_noise_light_and_jitter() -> None:
    source = SyntheticSource(SyntheticConfig(width=160, height=128, rate_hz=None, defect_rate=0))
    source.trigger(3000)
    source.trigger(3000)
    first, second = source.read(0).pixels, source.read(0).pixels
    assert (first != second).any()
    shifts = range(-2 * JITTER_PX, 2 * JITTER_PX + 1)
    inner = first[8:-8, 8:-8].astype(int)
    differences = [
        np.abs(inner - second[8 + dy : 120 + dy, 8 + dx : 152 + dx]).mean() for dy in shifts for dx in shifts
    ]
    # Two noises of 2 grey levels and a light drift of 2 % of 120.
    assert min(differences) < 6


@pytest.mark.parametrize("channels", [1, 3])
def test_frames_are_numbered_and_stamped(channels: int) -> None:
    config = SyntheticConfig(width=64, height=48, channels=channels, rate_hz=100)  # type: ignore[arg-type]
    source = SyntheticSource(config, clock=SteppedClock())
    assert source.shape == ((48, 64) if channels == 1 else (48, 64, 3))
    frames = [source.read(50) for _ in range(3)]
    assert [f.t_mono_us for f in frames] == [0, 10_000, 20_000]
    assert [f.frame_id for f in frames] == [0, 1, 2]
    assert {f.t_exposure_src for f in frames} == {"synthetic"}
    assert abs(frames[0].t_exposure_us - time.time() * 1e6) < 60e6


def test_a_reader_far_behind_loses_sections_and_the_gap_says_how_many() -> None:
    clock = SteppedClock()
    source = SyntheticSource(SyntheticConfig(width=64, height=48, rate_hz=10, buffers=20), clock=clock)
    source.read(0)
    clock.sleep_us(1_000_000)
    # Due at 0.1 s, now 1.0 s: nine periods late, of which a camera's kernel buffers hold four.
    frame = source.read(0)
    assert (frame.frame_id, frame.gap, frame.name) == (6, 5, "section 6")
    assert [source.read(0).gap for _ in range(4)] == [0] * 4


def test_an_exhausted_pool_is_a_timeout_and_the_exposure_a_gap() -> None:
    source = SyntheticSource(SyntheticConfig(width=64, height=48, rate_hz=None, buffers=2))
    first, _ = source.read(0), source.read(0)
    for _ in range(3):
        with pytest.raises(SourceTimeout, match="all 2 frame buffers are in use"):
            source.read(1)
    first.release()
    frame = source.read(0)
    assert (frame.frame_id, frame.gap, frame.name) == (5, 3, "section 5")


def test_released_buffers_are_used_again() -> None:
    source = SyntheticSource(SyntheticConfig(width=64, height=48, rate_hz=None, buffers=3))
    buffers = set()
    for _ in range(9):
        frame = source.read(0)
        buffers.add(frame.pixels.__array_interface__["data"][0])
        frame.release()
    assert len(buffers) == 3


@pytest.mark.parametrize("texture", sorted(TEXTURES))
def test_the_ends_of_a_roll_join(texture: str) -> None:
    roll = render_roll(texture, 400, 300, seed=1).astype(int)
    steps = np.abs(np.diff(roll, axis=0)).mean(axis=1)
    seam = np.abs(roll[0] - roll[-1]).mean()
    assert seam <= steps.max() * 1.2


@pytest.mark.parametrize("texture", sorted(TEXTURES))
def test_a_texture_leaves_room_for_defects_and_repeats_nothing(texture: str) -> None:
    roll = render_roll(texture, 600, 500, seed=2).astype(np.float32)
    assert 100 < roll.mean() < 140
    assert 8 < roll.std() < 35
    top, bottom = roll[:200] - roll[:200].mean(), roll[-200:] - roll[-200:].mean()
    correlation = float((top * bottom).mean() / (top.std() * bottom.std()))
    # Warp threads run along the web, so their columns stay; nothing else may.
    assert abs(correlation) < (0.6 if texture == "woven" else 0.2)


def test_the_weave_is_fine_against_the_frame() -> None:
    assert 2 * THREAD_PX < 1024 / 20  # one repeat of a plain weave is two threads


def test_opening_and_reading_a_full_frame_are_cheap() -> None:
    start = time.perf_counter()
    source = SyntheticSource(SyntheticConfig(rate_hz=None))
    opened_s = time.perf_counter() - start
    times = []
    for _ in range(30):
        start = time.perf_counter()
        source.read(0).release()
        times.append(time.perf_counter() - start)
    # Measured: 0.5 s and 0.5 ms; the promise is 1 s and 3 ms, doubled here for a machine that is shared.
    assert opened_s < 2
    assert min(times) < 6e-3
