"""Image health: what is wrong with a picture is INVALID with its code, and a sound one is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import yaml

from runtime.bus.witness import Witness
from runtime.config import parse_yaml, to_plain
from runtime.errors import ConfigError
from runtime.frame import U8, Frame
from runtime.images.sample import GRID, take_sample
from runtime.measure.good_quality import learn_limits
from runtime.pipeline import Pipeline
from runtime.quality import EWMA_SHARE, Drift, QualityGate, QualityLimits
from runtime.recipe import Recipe
from runtime.scripted import ScriptedDetector
from runtime.sources import FaultySource, SyntheticConfig, SyntheticSource
from runtime.sources.faulty import SPOILERS, Fault

WEB = SyntheticConfig(width=320, height=256, rate_hz=None, defect_rate=0.0, buffers=16)
GOOD = 20
Launch = Callable[..., tuple[Pipeline, Witness]]


def sections(config: SyntheticConfig = WEB, first: int = 0) -> list[U8]:
    source = SyntheticSource(config)
    images = [np.zeros(source.shape, np.uint8) for _ in range(GOOD)]
    for n, image in enumerate(images, first):
        source.render(n, n, image)
    return images


@pytest.fixture(scope="module")
def good() -> list[U8]:
    return sections()


@pytest.fixture(scope="module")
def limits(good: list[U8]) -> QualityLimits:
    return learn_limits([take_sample(image) for image in good])


def look(gate: QualityGate, pixels: U8, frozen_after: int | None = None) -> Frame:
    frame = Frame(pixels, 0, 0, 0)
    gate.look(frame, frozen_after)
    return frame


# What is measured.


@pytest.mark.parametrize("shape", [(1024, 1280), (40, 500), (3, 3), (1, 2), (65, 33, 3)])
def test_any_frame_can_be_sampled_and_is_measured_in_grey_levels(shape: tuple[int, ...]) -> None:
    sample = take_sample(np.full(shape, 100, np.uint8))
    assert (sample.mean, sample.p99, sample.dark_frac, sample.sat_frac, sample.focus) == (100, 100, 0, 0, 0)
    assert sample.tile_mean.shape == sample.tile_focus.shape == (GRID, GRID)


def test_mean_and_shares_are_those_of_the_whole_frame(good: list[U8]) -> None:
    image = good[0].copy()
    image[:128] = 0
    sample = take_sample(image)
    # 64 tiles cover this frame to the edge, hence half of them are black.
    assert sample.dark_frac == 0.5
    # Sampling: 65,000 of 82,000 pixels of a texture with a deviation of 30 grey levels.
    assert sample.mean == pytest.approx(image.mean(), abs=1.0)


def test_focus_is_the_variance_of_the_laplacian_inside_the_tiles() -> None:
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (256, 256), np.uint8)
    tile = image[32:64, 64:96]
    # The tile's own edge is left out; its neighbours inside it are all that the filter sees.
    expected = cv2.Laplacian(tile, cv2.CV_32F)[1:-1, 1:-1].var()
    assert take_sample(image).tile_focus[1, 2] == pytest.approx(expected, rel=1e-4)


# What is found.

REASON_OF = {
    "dark": "TOO_DARK",
    "bright": "OVEREXPOSED",
    "blurred": "OUT_OF_FOCUS",
    "covered": "OCCLUDED",
    "repeated": "FROZEN_FRAME",
}


def test_good_images_that_were_not_learnt_from_pass(limits: QualityLimits) -> None:
    gate = QualityGate(limits)
    assert {look(gate, image, 2).flags for image in sections(first=GOOD)} == {()}


@pytest.mark.parametrize("texture", ["woven", "brushed", "granular"])
@pytest.mark.parametrize("kind", SPOILERS)
def test_each_fault_of_the_picture_has_its_reason(kind: str, texture: Any) -> None:
    config = msgspec.structs.replace(WEB, texture=texture)
    images = sections(config)
    gate = QualityGate(learn_limits([take_sample(image) for image in images]))
    assert look(gate, images[0], 2).flags == ()
    assert look(gate, SPOILERS[kind](images[1], images[0]), 2).flags == (REASON_OF[kind],)
    assert look(gate, images[2], 2).flags == ()


def test_a_large_defect_is_no_fault_of_the_picture(limits: QualityLimits) -> None:
    config = msgspec.structs.replace(
        WEB, defect_rate=1.0, defect_size_px=(60, 80), defect_contrast=(0.4, 0.45)
    )
    gate = QualityGate(limits)
    assert {look(gate, image, 2).flags for image in sections(config)} == {()}


def test_without_learnt_limits_only_black_white_and_frozen_are_refused(good: list[U8]) -> None:
    gate = QualityGate(QualityLimits())
    blurred = SPOILERS["blurred"](good[0], good[0])
    images = [good[0], blurred, np.zeros_like(blurred), np.full_like(blurred, 255), good[1]]
    assert [look(gate, image, 2).flags for image in images] == [
        (), (), ("TOO_DARK",), ("OVEREXPOSED",), (),
    ]  # fmt: skip


def test_files_may_repeat_and_a_compressed_stream_may_once(good: list[U8]) -> None:
    files, stream = QualityGate(QualityLimits()), QualityGate(QualityLimits())
    assert [look(files, good[0], None).flags for _ in range(4)] == [()] * 4
    flags = [look(stream, good[0], 3).flags for _ in range(4)]
    assert flags == [(), (), ("FROZEN_FRAME",), ("FROZEN_FRAME",)]
    assert look(stream, good[1], 3).flags == ()


def test_light_that_fades_is_reported_and_then_refused(good: list[U8]) -> None:
    mean = float(np.mean([take_sample(image).mean for image in good]))
    focus = float(np.median([take_sample(image).focus for image in good]))
    gate = QualityGate(QualityLimits(drift=Drift(mean=mean, mean_sigma=2.5, focus=focus, focus_sigma=10.0)))
    seen = [look(gate, np.asarray(image - 20, np.uint8)) for image in good * 2]
    drifts = [frame.quality.drift for frame in seen if frame.quality is not None]
    # The running mean moves by a twentieth of the way each frame; images differ by a grey level or so.
    assert drifts[0] == pytest.approx(EWMA_SHARE * 20 / 2.5, abs=0.1)
    refused = [frame.flags == ("DRIFT",) for frame in seen]
    assert refused == [drift >= 6 for drift in drifts]
    assert refused[0] is False
    assert refused[-1] is True


def test_one_black_frame_leaves_no_trace(limits: QualityLimits, good: list[U8]) -> None:
    gate = QualityGate(limits)
    first = look(gate, good[0]).quality
    look(gate, np.zeros_like(good[0]))
    second = look(gate, good[0]).quality
    assert first is not None
    assert second is not None
    # Two steps of a twentieth instead of one: the same frame twice, the black one not at all.
    assert second.drift == pytest.approx(first.drift * (2 - EWMA_SHARE), rel=0.01)


def test_only_the_inspected_region_counts(good: list[U8]) -> None:
    image = np.zeros((256, 640), np.uint8)
    image[:, 320:] = good[0]
    assert look(QualityGate(QualityLimits(dark_frac=0.4), None), image).flags == ("TOO_DARK",)
    assert look(QualityGate(QualityLimits(dark_frac=0.4), (320, 0, 320, 256)), image).flags == ()


# On the line.


def test_a_spoilt_picture_is_invalid_and_five_in_a_row_are_a_fault(
    launch: Launch, limits: QualityLimits
) -> None:
    faults = [Fault(frame=n, kind="dark") for n in range(1, 6)]
    pipeline, witness = launch(
        lambda: FaultySource(SyntheticSource(WEB), faults), lambda: ScriptedDetector([0.5]), quality=limits
    )
    assert pipeline.wait_ready(30)
    for n in range(1, 8):
        assert witness.trigger(n)["ok"]
        assert len(witness.hear_verdicts(n)) == n
    told = [(v["verdict"], *v["reasons"]) for v in witness.verdicts]
    assert told == [("OK",), *[("INVALID", "TOO_DARK")] * 5, ("OK",)]
    levels = [v["health"]["level"] for v in witness.verdicts]
    assert levels == ["ok"] * 5 + ["fault", "ok"]
    assert witness.verdicts[1]["quality"]["dark_frac"] == 1.0
    assert witness.verdicts[1]["score"] is None


# In the recipe.


def test_learnt_limits_survive_the_recipe(limits: QualityLimits) -> None:
    recipe = Recipe(bundle="b", threshold=1.0, quality=limits)
    assert parse_yaml(yaml.safe_dump(to_plain(recipe)), Recipe, "r.yaml") == recipe


def test_few_images_teach_nothing(good: list[U8]) -> None:
    assert learn_limits([take_sample(image) for image in good[:9]]) == QualityLimits()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{dark_frac: 0}", "dark_frac is 0"),
        ("{sat_frac: 1.5}", "sat_frac is 1.5"),
        ("{mean: [120, 80]}", "mean is [120.0, 80.0]"),
        ("{focus: .nan}", "focus is nan"),
        ("{focuss: 3}", "did you mean 'focus'?"),
        ("{cover: {share: 0}}", "share is 0"),
        ("{cover: {low: [[1.0]]}}", "low is no grid of 8 x 8 numbers"),
        ("{drift: {mean: 100, mean_sigma: 0, focus: 9, focus_sigma: 1}}", "mean_sigma is 0"),
    ],
)
def test_limits_that_are_none_are_refused_with_their_line(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(f"bundle: b\nthreshold: 1.0\nquality: {text}\n", Recipe, "r.yaml")
    assert str(caught.value).startswith("r.yaml:3: ")
    assert told in str(caught.value)
