"""`gonogo calibrate` from the command line to a recipe that loads and keeps its promise."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gonogo import main
from runtime.bundle import load_bundle
from runtime.images.files import save_image
from runtime.measure.evaluation import judge_file
from runtime.opening import open_detector
from runtime.recipe import load_recipe
from runtime.verdict import Outcome, decide

U8 = NDArray[np.uint8]


def test_the_recipe_loads_and_passes_all_but_the_images_it_promises_to_reject(
    exported: Path, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "recipe.yaml"
    assert _calibrate(exported, good, out, "--false-reject", "0.2") == 0
    recipe, bundle = load_recipe(out), load_bundle(exported)
    assert Path(recipe.bundle).resolve() == exported.resolve()
    detector = open_detector(bundle)
    scores = sorted(judge_file(detector, path)[1].score for path in good.iterdir())
    # 9 images, rate 0.2: k = ceil(10 * 0.8) = 8, one of them lies above.
    outcomes = [decide(score, recipe.thresholds).outcome for score in scores]
    assert outcomes == [Outcome.OK] * 8 + [Outcome.NG]
    assert recipe.threshold == np.nextafter(scores[7], np.inf)
    assert decide(scores[4], recipe.thresholds).pred_score == pytest.approx(0.25, abs=1e-9)
    assert "False rejects: wanted 0.2, expected 0.2; the true rate lies between" in capsys.readouterr().out


def test_the_file_says_where_the_threshold_comes_from(exported: Path, good: Path, tmp_path: Path) -> None:
    out = tmp_path / "recipe.yaml"
    assert _calibrate(exported, good, out, "--false-reject", "0.1") == 0
    text = out.read_text("utf-8")
    assert load_bundle(exported).sha256 in text
    assert "# 9 good images; threshold just above score 9 of 9 in" in text
    # Beta(1, 9): 1 - 0.025^(1/9) = 0.336.
    assert "# 0.00281 and 0.336 (95 %)" in text


def test_too_few_images_say_how_many_are_needed_and_nothing_is_written(
    exported: Path, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "recipe.yaml"
    assert _calibrate(exported, good, out) == 2
    error = capsys.readouterr().err
    assert "needs at least 99 good images; 9 can support a rate of 0.1" in error
    assert not out.exists()


def test_an_existing_recipe_is_replaced_only_when_told_to(
    exported: Path, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "recipe.yaml"
    out.write_text("mine", "utf-8")
    assert _calibrate(exported, good, out, "--false-reject", "0.2") == 2
    assert "exists; choose another name, or replace it with --force" in capsys.readouterr().err
    assert out.read_text("utf-8") == "mine"
    assert _calibrate(exported, good, out, "--false-reject", "0.2", "--force") == 0
    assert load_recipe(out).threshold > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good", "recipe.yaml"]


def test_region_id_and_deadline_are_taken_from_an_older_recipe_and_its_review_band_is_not(
    exported: Path, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "sub" / "new.yaml"
    new.parent.mkdir()
    save_image(tmp_path / "mask.png", np.full((200, 250), 255, np.uint8))
    region = "region: {x: 20, y: 10, width: 250, height: 200}\nmask: mask.png\n"
    old.write_text(
        f"bundle: {exported}\nthreshold: 9\nreview_threshold: 8\nid: web\ndeadline_ms: 40\n{region}", "utf-8"
    )
    assert _calibrate(exported, good, new, "--false-reject", "0.2", "--recipe", str(old)) == 0
    recipe = load_recipe(new)
    assert (recipe.id, recipe.deadline_ms, recipe.review_threshold) == ("web", 40, None)
    assert recipe.mask is not None
    assert Path(recipe.mask).resolve() == (tmp_path / "mask.png").resolve()
    assert "review_threshold 8 of the old recipe was left out" in capsys.readouterr().out
    # The threshold is one of scores seen through the region.
    detector = open_detector(load_bundle(exported), load_recipe(old))
    scores = sorted(judge_file(detector, path)[1].score for path in good.iterdir())
    assert recipe.threshold == np.nextafter(scores[7], np.inf)


def test_an_unreadable_image_among_good_ones_is_named_and_nothing_is_written(
    exported: Path, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (good / "004.png").write_bytes(b"not an image")
    assert _calibrate(exported, good, tmp_path / "recipe.yaml", "--false-reject", "0.2") == 2
    assert "004.png: not an image" in capsys.readouterr().err
    assert not (tmp_path / "recipe.yaml").exists()


def test_an_image_given_twice_an_empty_folder_and_a_bad_rate_are_one_line_each(
    exported: Path, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "recipe.yaml")
    (tmp_path / "empty").mkdir()
    twice = [str(good), str(good / "000.png")]
    assert main(["calibrate", str(exported), *twice, "-o", out]) == 2
    assert main(["calibrate", str(exported), str(tmp_path / "empty"), "-o", out]) == 2
    assert _calibrate(exported, good, tmp_path / "recipe.yaml", "--false-reject", "2") == 2
    lines = capsys.readouterr().err.splitlines()
    assert "1 of 10 images are given twice" in lines[0]
    assert "no images in this folder" in lines[1]
    assert "--false-reject is 2.0; expected a rate between 0 and 1" in lines[2]
    assert len(lines) == 3


def test_a_recipe_that_cannot_be_written_is_one_line_before_any_image_is_read(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "nowhere" / "recipe.yaml"
    assert _calibrate(exported, tmp_path / "not read", out) == 2
    assert "expected a place to write, make it first" in capsys.readouterr().err


def test_a_recipe_in_a_folder_without_the_right_to_write_is_one_line(
    exported: Path, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o500)
    # Root may write anywhere but into the kernel's own folder.
    folder = shut if os.geteuid() else Path("/proc")
    assert _calibrate(exported, good, folder / "recipe.yaml", "--false-reject", "0.2") == 2
    error = capsys.readouterr().err
    assert "recipe.yaml: " in error
    assert error.count("\n") == 1


def _calibrate(bundle: Path, images: Path, out: Path, *words: str) -> int:
    return main(["calibrate", str(bundle), str(images), "-o", str(out), *words])


@pytest.fixture
def good(tmp_path: Path, web_image: U8) -> Path:
    """Nine sections of the web."""
    folder = tmp_path / "good"
    folder.mkdir()
    for i in range(9):
        save_image(folder / f"{i:03}.png", np.roll(web_image, (11 * i, 29 * i), (0, 1)))
    return folder
