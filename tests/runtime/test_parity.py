"""Comparing two ways to run a bundle: flips at the order statistic, shifts, maps, what is not finite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import load_bundle
from runtime.measure.gate import IMAGES, PLANTED, GateImage, gate_set, spread, with_planted
from runtime.measure.parity import Judged, compare, gate_threshold

GOOD = [1.0, 1.1, 0.9, 1.2]
"""Order statistic 1.2: the threshold stands at 1.224."""
SPREAD = float(np.std(GOOD))


def images(planted: int = 1) -> list[GateImage]:
    blank = np.zeros((4, 4), np.uint8)
    good = [GateImage(f"good {n}", blank, True) for n in range(len(GOOD))]
    return good + [GateImage(f"planted {n}", blank, False) for n in range(planted)]


def judged(*scores: float) -> list[Judged]:
    # The map of each image peaks somewhere else.
    return [Judged(score, np.eye(5, k=n, dtype=np.float32)) for n, score in enumerate(scores)]


def test_the_same_is_no_difference() -> None:
    before = judged(*GOOD, 3.0)
    parity = compare(images(), before, before)
    assert (parity.flips, parity.shift, parity.correlation, parity.moved, parity.non_finite) == (
        0,
        0,
        1,
        0,
        0,
    )
    assert parity.threshold == pytest.approx(1.224)
    assert parity.fault(0) == ""


def test_the_image_that_gives_the_threshold_does_not_flip_at_the_last_bit() -> None:
    after = judged(*GOOD[:3], np.nextafter(np.float32(1.2), np.float32(2)), 3.0)
    assert compare(images(), judged(*GOOD, 3.0), after).flips == 0


@pytest.mark.parametrize(("changed", "flips"), [(1.223, 0), (1.225, 1), (0.5, 0)])
def test_a_good_image_flips_where_it_crosses_the_threshold(changed: float, flips: int) -> None:
    parity = compare(images(), judged(*GOOD, 3.0), judged(*GOOD[:3], changed, 3.0))
    assert (parity.flips, parity.worst) == (flips, "good 3")
    assert parity.shift == pytest.approx(abs(changed - 1.2) / SPREAD)


def test_a_missed_defect_is_a_flip_and_is_named_before_a_greater_shift() -> None:
    parity = compare(images(2), judged(*GOOD, 1.3, 9.0), judged(*GOOD, 1.2, 5.0))
    assert (parity.flips, parity.worst) == (1, "planted 0")
    assert "1 of 6 gate images change sides" in parity.fault(0)
    assert parity.fault(1) == ""


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_what_is_not_finite_is_a_fault_whatever_is_allowed(score: float) -> None:
    parity = compare(images(), judged(*GOOD, 3.0), judged(*GOOD, score))
    assert (parity.flips, parity.non_finite, parity.worst) == (1, 1, "planted 0")
    assert "1 are not finite" in parity.fault(5)
    assert np.isfinite([parity.shift, parity.correlation, parity.threshold]).all()


def test_a_map_that_peaks_elsewhere_says_how_far() -> None:
    before, after = judged(*GOOD, 3.0), judged(*GOOD, 3.0)
    after[4].anomaly_map[:] = 0
    after[4].anomaly_map[3, 1] = 1
    parity = compare(images(), before, after)
    # From (0, 4) to (3, 1).
    assert parity.moved == 3
    assert parity.correlation < 0.1


def test_a_gate_without_good_images_is_refused() -> None:
    with pytest.raises(ValueError, match="needs good images"):
        gate_threshold([])


def test_the_web_is_the_gate_set_of_a_bundle_without_images(exported: Path) -> None:
    first, second = gate_set(load_bundle(exported)), gate_set(load_bundle(exported))
    assert [image.good for image in first] == ([True] + PLANTED * [False]) * IMAGES
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, second, strict=True))
    for n in range(0, len(first), 1 + PLANTED):
        for planted in first[n + 1 : n + 1 + PLANTED]:
            assert planted.name.startswith(first[n].name)
            assert not np.array_equal(planted.pixels, first[n].pixels)


def test_colour_images_are_planted_too() -> None:
    (good, *planted) = with_planted({"a": np.full((64, 80, 3), 128, np.uint8)})
    assert good.good
    assert len(planted) == PLANTED
    assert all(image.pixels.shape == (64, 80, 3) for image in planted)


@pytest.mark.parametrize(("count", "wanted", "expected"), [(3, 8, [0, 1, 2]), (9, 3, [0, 4, 8]), (1, 8, [0])])
def test_images_are_taken_evenly(count: int, wanted: int, expected: list[int]) -> None:
    assert spread(count, wanted) == expected
