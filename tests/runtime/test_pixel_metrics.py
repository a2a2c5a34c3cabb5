"""Pixel AUROC and AUPRO against scikit-learn and a plain loop over thresholds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.measure.pixel_metrics import PixelStatistics, aupro, pixel_auroc

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


def test_pooled_pixel_auroc_is_that_of_scikit_learn_within_the_stated_error() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    maps, masks = _images(5)
    statistics = _added(maps, masks)
    scores, truth = np.concatenate([m.ravel() for m in maps]), np.concatenate([m.ravel() for m in masks])
    assert statistics.auroc_error() < 1e-4
    assert abs(statistics.auroc() - sklearn.roc_auc_score(truth, scores)) <= statistics.auroc_error()


def test_scores_that_fill_one_bin_each_are_counted_exactly() -> None:
    # Small integers keep all their bits in a bin; ties are ties.
    sklearn = pytest.importorskip("sklearn.metrics")
    maps, masks = _images(3)
    whole = [np.round(m * 20).astype(np.float32) - 5 for m in maps]
    scores, truth = np.concatenate([m.ravel() for m in whole]), np.concatenate([m.ravel() for m in masks])
    assert pixel_auroc(whole, masks) == pytest.approx(sklearn.roc_auc_score(truth, scores), abs=1e-12)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_is_that_of_a_loop_over_all_thresholds(limit: float) -> None:
    maps, masks = _images(4)
    whole = [np.round(m * 50).astype(np.float32) for m in maps]
    # Bins are exact here, so only float64 sums differ.
    assert aupro(whole, masks, limit) == pytest.approx(_slow_aupro(whole, masks, limit), abs=1e-9)


def test_aupro_of_untouched_scores_is_that_of_a_loop_up_to_the_bins() -> None:
    maps, masks = _images(4)
    # Bins of 2^-13 in scores spread over 0.1 to 3 move single pixels of 16000: below 1e-4.
    assert aupro(maps, masks) == pytest.approx(_slow_aupro(maps, masks, 0.3), abs=2e-4)


def test_adding_an_image_gives_its_own_auroc_or_none() -> None:
    maps, masks = _images(3)
    statistics = PixelStatistics()
    assert statistics.add(maps[0], masks[0]) is None
    assert statistics.add(maps[1], masks[1]) == pytest.approx(pixel_auroc(maps[1:2], masks[1:2]), abs=1e-12)


def test_a_small_region_counts_as_much_as_a_large_one() -> None:
    mask = np.zeros((50, 50), np.bool_)
    mask[:20, :20] = mask[40:42, 40:42] = True
    finds_large = np.zeros((50, 50), np.float32)
    finds_large[:20, :20] = 1
    # Half of the regions is found at no false positive; the rest only at rate 1: 0.5 + ramp 0.3 * 0.5 / 2.
    assert aupro([finds_large], [mask]) == pytest.approx(0.575, abs=1e-9)
    assert pixel_auroc([finds_large], [mask]) > 0.99


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    mask = np.eye(6, dtype=np.bool_)
    statistics = _added([np.zeros((6, 6), np.float32)], [mask])
    assert statistics.regions == 1


def test_pixels_outside_the_inspected_area_count_nowhere() -> None:
    maps, masks = _images(2)
    inspected = np.zeros(masks[0].shape, np.bool_)
    inspected[8:40, 8:56] = True
    cut = PixelStatistics()
    whole = _added([m[8:40, 8:56] for m in maps], [m[8:40, 8:56] for m in masks])
    for scores, mask in zip(maps, masks, strict=True):
        cut.add(np.where(inspected, scores, np.float32(np.nan)), mask, inspected)
    assert cut.auroc() == whole.auroc()


def test_a_region_wholly_outside_the_inspected_area_is_counted_as_such() -> None:
    mask = np.zeros((10, 10), np.bool_)
    mask[0, 0] = mask[5, 5] = True
    inspected = np.ones((10, 10), np.bool_)
    inspected[0] = False
    statistics = PixelStatistics()
    statistics.add(np.zeros((10, 10), np.float32), mask, inspected)
    assert (statistics.regions, statistics.regions_outside) == (1, 1)


def test_map_values_that_are_not_finite_and_wrong_shapes_are_refused() -> None:
    statistics = PixelStatistics()
    with pytest.raises(ValueError, match="1 inspected map values are not finite"):
        statistics.add(np.asarray([[1, np.nan]], np.float32), np.zeros((1, 2), np.bool_))
    with pytest.raises(ValueError, match="shapes differ"):
        statistics.add(np.zeros((2, 2), np.float32), np.zeros((2, 3), np.bool_))


def test_without_defects_or_without_images_there_is_no_figure() -> None:
    statistics = PixelStatistics()
    for ask in (statistics.auroc, statistics.aupro, statistics.auroc_error, statistics.intervals):
        with pytest.raises(ValueError, match="both are needed"):
            ask()
    statistics.add(np.zeros((4, 4), np.float32), np.zeros((4, 4), np.bool_))
    with pytest.raises(ValueError, match="both are needed"):
        statistics.aupro()


def test_intervals_hold_the_estimate_and_narrow_with_the_number_of_images() -> None:
    few, many = _added(*_images(10)), _added(*_images(160))
    widths = []
    for statistics in (few, many):
        around_auroc, around_aupro = statistics.intervals(resamples=400)
        assert around_auroc[0] < statistics.auroc() < around_auroc[1]
        assert around_aupro[0] < statistics.aupro() < around_aupro[1]
        widths.append(around_auroc[1] - around_auroc[0])
    # 16 times the images: a quarter of the width, within the noise of an interval from 10 images.
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.6)


def test_identical_images_give_an_interval_without_width_at_the_estimate() -> None:
    (scores,), (mask,) = _images(1)
    statistics = _added([scores] * 4, [mask] * 4)
    around_auroc, around_aupro = statistics.intervals(resamples=50)
    # The grouping of bins for resampling costs less than 0.001.
    assert around_auroc == pytest.approx((statistics.auroc(),) * 2, abs=1e-3)
    assert around_aupro == pytest.approx((statistics.aupro(),) * 2, abs=1e-3)


def _images(count: int) -> tuple[list[F32], list[Mask]]:
    """Smooth maps with a blurred bump on two defects each; the first image is good."""
    rng = np.random.default_rng(count)
    maps, masks = [], []
    for i in range(count):
        mask = np.zeros((48, 64), np.bool_)
        if i or count == 1:
            y, x = rng.integers(2, 36, 2)
            mask[y : y + 6, x : x + 9] = mask[y - 2, x : x + 20] = True
        noise = cv2.GaussianBlur(rng.normal(1, 0.8, mask.shape), (0, 0), 1.5)
        bump = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), 2) * rng.uniform(0.1, 1)
        maps.append(np.abs(noise + bump).astype(np.float32))
        masks.append(mask)
    return maps, masks


def _added(maps: list[F32], masks: list[Mask]) -> PixelStatistics:
    statistics = PixelStatistics()
    for scores, mask in zip(maps, masks, strict=True):
        statistics.add(scores, mask)
    return statistics


def _slow_aupro(maps: list[F32], masks: list[Mask], limit: float) -> float:
    """The definition: at every threshold the mean share found of each region, then trapezoids."""
    regions, normal = [], np.concatenate([s[~m] for s, m in zip(maps, masks, strict=True)])
    for scores, mask in zip(maps, masks, strict=True):
        found, labels = cv2.connectedComponents(mask.astype(np.uint8))
        regions += [scores[labels == i] for i in range(1, found)]
    points = [(0.0, 0.0)]
    thresholds = np.unique(np.concatenate([s.ravel() for s in maps]))[::-1]
    for threshold in thresholds[:: max(1, len(thresholds) // 2000)]:
        share = float(np.mean([(r >= threshold).mean() for r in regions]))
        points.append((float((normal >= threshold).mean()), share))
    rates, shares = np.asarray([*points, (1.0, 1.0)]).T
    return sum(_trapezoids(rates, shares, limit)) / limit


def _trapezoids(rates: NDArray[np.float64], shares: NDArray[np.float64], limit: float) -> list[float]:
    areas = []
    for i in range(len(rates) - 1):
        a, b, p, q = rates[i], rates[i + 1], shares[i], shares[i + 1]
        if b > limit:
            if a < limit:
                areas.append((limit - a) * (p + p + (q - p) * (limit - a) / (b - a)) / 2)
            break
        areas.append((b - a) * (p + q) / 2)
    return areas
