"""The demo's data is what its script makes: bundle, scores and recipe belong together."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.make_demo import (
    DATA,
    FALSE_REJECT,
    RESULTS,
    SECTIONS,
    SEEDS,
    Scores,
    differences,
    export_fresh,
    good_web,
    greatest_score,
    recipe_text,
)
from runtime.bundle import load_bundle
from runtime.measure.calibration import calibrate
from runtime.recipe import load_recipe

STALE = "stale: run 'python -m benchmarks.make_demo'"


@pytest.fixture(scope="module")
def scores() -> Scores:
    return msgspec.json.decode(RESULTS.read_bytes(), type=Scores)


def test_the_bundle_is_what_its_config_exports(tmp_path: Path) -> None:
    assert differences(export_fresh(tmp_path / "bundle"), DATA / "bundle") == [], STALE


def test_a_bundle_of_other_settings_differs(exported: Path) -> None:
    assert differences(load_bundle(exported), DATA / "bundle") == ["manifest"]  # its id


def test_the_scores_are_of_this_bundle_and_this_web(scores: Scores) -> None:
    assert scores.bundle_sha256 == load_bundle(DATA / "bundle").sha256, STALE
    assert (scores.web, scores.seeds, scores.sections) == (good_web(), tuple(SEEDS), SECTIONS), STALE


@pytest.mark.parametrize("index", [0, 198])
def test_a_web_scores_as_it_did(scores: Scores, index: int) -> None:
    again = greatest_score(DATA / "bundle", scores.web, scores.seeds[index])
    # The tolerance of the bundle's golden images: what two machines may differ by.
    assert again == pytest.approx(scores.greatest[index], rel=0.02), STALE


def test_the_recipe_follows_from_the_scores(scores: Scores) -> None:
    assert (DATA / "recipe.yaml").read_text("utf-8") == recipe_text(
        calibrate(scores.greatest, FALSE_REJECT), scores
    ), STALE


def test_the_demos_own_web_took_no_part_in_the_calibration(scores: Scores) -> None:
    assert good_web().seed not in scores.seeds
    assert load_recipe(DATA / "recipe.yaml").threshold > 0
