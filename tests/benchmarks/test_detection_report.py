"""The detection ladder: what it counts, and that the committed one belongs to what is shipped."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from benchmarks.bench_detection import CONTRASTS, DATA, PAGE, RESULTS, SEEDS, SIZES_PX
from benchmarks.detection_report import Ladder, Look, draw, page, wilson_interval
from benchmarks.make_demo import SEEDS as CALIBRATED_ON
from runtime.bundle import load_bundle
from runtime.recipe import load_recipe
from runtime.sources.synthetic import SyntheticConfig


@pytest.fixture
def ladder() -> Ladder:
    """Two rungs: of the small one three of four escape, of the large one none; one web rejects good parts."""
    small = [Look(1, "spot", 10.0, 0.2, score) for score in (0.5, 0.6, 0.7, 1.0)]
    large = [Look(1, "spot", 80.0, 0.2, score) for score in (1.0, 2.0)]
    more = [Look(1, "spot", 80.0, 0.4, 0.999)]
    good = ((0.1, 1.0, 1.2), (0.3, 0.999, 0.2))
    return Ladder(SyntheticConfig(), (1, 2), 1.0, "00", tuple(small + large + more), good)


def test_an_escape_is_a_score_below_the_threshold(ladder: Ladder) -> None:
    lines = page(ladder).splitlines()
    assert "| 20% | 3 of 4 | 0 of 2 |" in lines
    assert "| 40% | 0 of 0 | 1 of 1 |" in lines


def test_false_rejects_are_counted_per_section_and_per_web(ladder: Ladder) -> None:
    assert "2 of 6 good sections, on 1 of 2 webs" in page(ladder)


def test_the_picture_has_a_cell_per_rung(ladder: Ladder) -> None:
    asked: list[tuple[float, float]] = []

    def example(size: float, contrast: float, side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        asked.append((size, contrast))
        return np.zeros((side, side), np.uint8)

    full = msgspec.structs.replace(ladder, looks=(*ladder.looks, Look(1, "spot", 10.0, 0.4, 0.0)))
    picture = draw(full, example)
    assert picture.ndim == 3
    assert sorted(asked) == [(10, 0.2), (10, 0.4), (80, 0.2), (80, 0.4)]


def test_wilson_interval_of_a_published_case() -> None:
    # 81 of 263, 95 %: 0.2553 to 0.3662 (Newcombe, Statistics in Medicine 17, 1998, table I, method 3).
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20)[0] == 0.0


def test_the_committed_ladder_was_measured_on_the_shipped_bundle_and_threshold() -> None:
    found = msgspec.json.decode(RESULTS.read_bytes(), type=Ladder)
    again = "measure again: python -m benchmarks.bench_detection"
    assert found.bundle_sha256 == load_bundle(DATA / "bundle").sha256, again
    assert found.threshold == load_recipe(DATA / "recipe.yaml").threshold, again
    assert page(found) == PAGE.read_text("utf-8")
    assert {(look.size_px, look.contrast) for look in found.looks} == {
        (size, contrast) for size in SIZES_PX for contrast in CONTRASTS
    }


def test_no_web_of_the_ladder_chose_the_threshold() -> None:
    assert not set(SEEDS) & set(CALIBRATED_ON)
