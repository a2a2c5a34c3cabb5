"""From judged images to figures, with a detector whose answers are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.errors import ConfigError, DetectorError, InspectionError, SourceDecode
from runtime.frame import Frame
from runtime.images.dataset import load_dataset
from runtime.images.files import save_image
from runtime.measure.evaluation import Evaluation, evaluate, judge_file, to_pixels
from runtime.measure.figures import Summary
from runtime.prediction import MapToImage, Prediction
from runtime.terms import Thresholds

U8 = NDArray[np.uint8]
HEIGHT, WIDTH = 24, 32


class BrightnessDetector:
    """Score is the brightest 4 x 4 block / 255, map the mean of each block."""

    depth = 1

    def submit(self, frame: Frame) -> None:
        """Not used here."""

    def collect(self) -> Prediction:
        """Not used here."""
        raise NotImplementedError

    def predict(self, image: U8) -> Prediction:
        """NaN for an all-black image, an error for one that is too small."""
        if image.shape[0] < 8:
            raise ValueError("region reaches outside the image")
        blocks = image.reshape(image.shape[0] // 4, 4, image.shape[1] // 4, 4).mean((1, 3)) / 255
        score = float(blocks.max()) if image.any() else float("nan")
        return Prediction(score, blocks.astype(np.float32), MapToImage(0, 0, 4, 4))

    def close(self) -> None:
        """Nothing to free."""


def test_a_set_that_is_told_apart_has_perfect_figures_and_says_what_its_intervals_are_worth(
    tmp_path: Path,
) -> None:
    _write(tmp_path, good=4, hole=3, stain=2)
    summary = _summary(tmp_path)
    assert summary.images == {"good": 4, "hole": 3, "stain": 2}
    assert summary.image_auroc is not None
    assert summary.image_auroc.value == 1
    assert any("without width" in note for note in summary.notes)
    assert [(k.kind, k.images) for k in summary.kinds] == [("hole", 3), ("stain", 2)]
    assert (summary.regions, summary.excluded_share) == (5, 0)


def test_kinds_are_compared_with_all_good_images_one_by_one(tmp_path: Path) -> None:
    _write(tmp_path, good=4, hole=3, stain=2, values={"hole": 250, "stain": 20})
    figures = {kind.kind: kind.image_auroc for kind in _summary(tmp_path).kinds}
    assert figures["hole"] is not None
    assert figures["stain"] is not None
    assert (figures["hole"].value, figures["stain"].value) == (1, 0)


def test_a_set_without_good_images_has_pixel_figures_only_and_says_so(tmp_path: Path) -> None:
    _write(tmp_path, hole=3)
    summary = _summary(tmp_path)
    assert (summary.image_auroc, summary.f1_max, summary.good_scores) == (None, None, None)
    assert summary.pixel_auroc is not None
    assert summary.aupro is not None
    assert "no good images: image AUROC and F1-max are undefined" in summary.notes


def test_a_set_without_masks_has_image_figures_only_and_says_so(tmp_path: Path) -> None:
    _write(tmp_path, good=3, hole=3, masks=False)
    summary = _summary(tmp_path)
    assert (summary.pixel_auroc, summary.aupro, summary.pixel_auroc_per_image) == (None, None, None)
    assert summary.image_auroc is not None
    assert "no masks for hole: not in the pixel figures" in summary.notes


def test_a_set_of_good_images_alone_gives_their_scores(tmp_path: Path) -> None:
    _write(tmp_path, good=3)
    summary = _summary(tmp_path)
    assert summary.image_auroc is None
    assert summary.good_scores is not None
    assert summary.good_scores.images == 3


def test_thresholds_count_escapes_and_false_rejects(tmp_path: Path) -> None:
    _write(tmp_path, good=4, hole=3, stain=2, values={"hole": 250, "stain": 20})
    at = _summary(tmp_path, Thresholds(0.5)).at_threshold
    assert at is not None
    assert (at.false_rejects, at.escapes, at.review) == (0, 2, 0)
    low = _summary(tmp_path, Thresholds(0.1)).at_threshold
    assert low is not None
    assert (low.false_rejects, low.escapes) == (4, 2)


def test_an_unreadable_image_among_others_ends_the_evaluation_with_its_name(tmp_path: Path) -> None:
    _write(tmp_path, good=3, hole=2)
    (tmp_path / "test" / "good" / "001.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    with pytest.raises(SourceDecode, match=r"good/001\.png"):
        _summary(tmp_path)


def test_a_score_that_is_not_finite_is_an_error_that_names_the_image(tmp_path: Path) -> None:
    save_image(tmp_path / "black.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(DetectorError, match=r"black\.png: score is nan"):
        judge_file(BrightnessDetector(), tmp_path / "black.png")


def test_a_map_that_is_not_finite_is_an_error_that_names_the_image(tmp_path: Path) -> None:
    _write(tmp_path, good=1)
    (sample,) = load_dataset(tmp_path).samples
    broken = Prediction(0.5, np.full((6, 8), np.nan, np.float32), MapToImage(0, 0, 4, 4))
    with pytest.raises(DetectorError, match=r"000\.png: .* not finite"):
        Evaluation().add(sample, (HEIGHT, WIDTH), broken)


def test_a_region_that_does_not_fit_an_image_is_an_error_that_names_it(tmp_path: Path) -> None:
    save_image(tmp_path / "small.png", np.ones((4, 4), np.uint8))
    with pytest.raises(ConfigError, match=r"small\.png: region reaches outside"):
        judge_file(BrightnessDetector(), tmp_path / "small.png")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InspectionError, match=r"nowhere\.png"):
        judge_file(BrightnessDetector(), tmp_path / "nowhere.png")


def test_the_map_meets_the_pixels_as_opencvs_resize_does_when_it_covers_the_image() -> None:
    cells = np.random.default_rng(0).random((6, 8), np.float32)
    scores, inspected = to_pixels(Prediction(1, cells, MapToImage(0, 0, 4, 4)), (24, 32))
    assert inspected.all()
    # Both interpolate in float32 with weights in eighths, exact in binary.
    np.testing.assert_allclose(scores, cv2.resize(cells, (32, 24), interpolation=cv2.INTER_LINEAR), atol=1e-6)


def test_a_linear_map_stays_linear_between_the_outermost_centres_wherever_it_lies() -> None:
    rows, columns = np.mgrid[:5, :7].astype(np.float32)
    at = MapToImage(x0=3.5, y0=2.25, dx=2.5, dy=3.5)
    scores, inspected = to_pixels(Prediction(1, rows * 10 + columns, at), (30, 30))
    y, x = np.mgrid[:30, :30] + 0.5
    row, column = (y - at.y0) / at.dy - 0.5, (x - at.x0) / at.dx - 0.5
    inner = (row >= 0) & (row <= 4) & (column >= 0) & (column <= 6)
    # float32 weights and sums of values up to 46.
    np.testing.assert_allclose(scores[inner], (row * 10 + column)[inner], atol=1e-4)
    covered = (x >= 3.5) & (x < 21) & (y >= 2.25) & (y < 19.75)
    np.testing.assert_array_equal(inspected, covered)


def test_pixels_outside_the_map_are_left_out_and_their_share_is_told(tmp_path: Path) -> None:
    _write(tmp_path, hole=1)
    (sample,) = load_dataset(tmp_path).samples
    evaluation = Evaluation()
    half = Prediction(1, np.ones((6, 4), np.float32), MapToImage(16, 0, 4, 4))
    evaluation.add(sample, (HEIGHT, WIDTH), half)
    summary = evaluation.summary()
    assert summary.excluded_share == 0.5
    # The hole lies in the left half.
    assert (summary.regions, summary.regions_outside, summary.pixel_auroc) == (0, 1, None)
    assert any("1 defect regions lie outside" in note for note in summary.notes)


def _summary(root: Path, thresholds: Thresholds | None = None) -> Summary:
    return evaluate(BrightnessDetector(), load_dataset(root).samples, thresholds).summary()


def _write(root: Path, masks: bool = True, values: dict[str, int] | None = None, **counts: int) -> None:
    """Grey images; a defective one has a block of another value, where its mask is."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[8:16, 4:12] = 255
    for kind, count in counts.items():
        (root / "test" / kind).mkdir(parents=True)
        if masks and kind != "good":
            (root / "ground_truth" / kind).mkdir(parents=True)
        for i in range(count):
            image = np.full((HEIGHT, WIDTH), 60 + i, np.uint8)
            if kind != "good":
                image[:] = np.where(mask, (values or {}).get(kind, 200), 20)
                if masks:
                    save_image(root / "ground_truth" / kind / f"{i:03}_mask.png", mask)
            save_image(root / "test" / kind / f"{i:03}.png", image)
