"""Pixel AUROC and AUPRO of a set of anomaly maps, one image at a time, in bounded memory.

Scores are counted in bins that keep sign, exponent and 13 bits of the fraction of a float32: two scores
closer than a factor 1 + 2^-13 (0.012 %) are a tie. What that can move is computed, not guessed
(`PixelStatistics.auroc_error`), and the bins hold at most 100 MB whatever the number of images.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .metrics import RESAMPLES, auroc_of_counts, bootstrap_weights, from_above, percentiles

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

_DROPPED_BITS = 10
_BINS = 1 << (32 - _DROPPED_BITS)
_COARSE_BITS = 5
_GROUPS = 2000


class _Coarse(NamedTuple):
    """One image's counts in bins 32 times wider, non-empty ones only; for resampling images."""

    bins: I64
    positives: F32
    negatives: F32
    coverage: F32
    regions: int


class PixelStatistics:
    """Counts of pixel scores, enough for pooled AUROC, AUPRO and their intervals."""

    def __init__(self) -> None:
        """Starts empty."""
        # Pages of np.zeros that nobody writes to take no memory.
        self._positives = np.zeros(_BINS, np.int64)
        self._negatives = np.zeros(_BINS, np.int64)
        self._coverage = np.zeros(_BINS)
        self._images: list[_Coarse] = []
        self.regions = 0
        """Connected defect regions (8 neighbours) with at least one inspected pixel."""
        self.regions_outside = 0
        """Regions with none: no map can find them, and they count in no figure here."""

    @property
    def complete(self) -> bool:
        """Whether there are defective and normal inspected pixels, which every figure needs."""
        return self.regions > 0 and bool(self._used(self._negatives).any())

    def add(self, scores: F32, mask: Mask, inspected: Mask | None = None) -> float | None:
        """Adds one image; its own pixel AUROC, None where it lacks defective or normal inspected pixels.

        Args:
            scores: (H, W) float32 anomaly map at image resolution, finite.
            mask: (H, W) bool, true = defective.
            inspected: (H, W) bool; pixels outside count nowhere. None: all are inspected.

        Raises:
            ValueError: shapes differ or an inspected score is not finite.
        """
        inside = np.ones(mask.shape, np.bool_) if inspected is None else inspected
        if not scores.shape == mask.shape == inside.shape:
            raise ValueError(
                f"map {scores.shape}, mask {mask.shape}, inspected {inside.shape}: shapes differ"
            )
        values = scores[inside]
        if not np.isfinite(values).all():
            raise ValueError(f"{int((~np.isfinite(values)).sum())} inspected map values are not finite")
        share = self._pixel_weights(mask, inside)
        return self._count(_bins(values), mask[inside], share) if values.size else None

    def auroc(self) -> float:
        """AUROC over all inspected pixels of all images, within `auroc_error`."""
        positives, negatives = self._used(self._positives), self._used(self._negatives)
        _both(positives, negatives)
        return float(auroc_of_counts(positives, negatives))

    def auroc_error(self) -> float:
        """Largest possible distance of `auroc` from its value without bins: all pairs inside a bin, wrong."""
        positives, negatives = self._used(self._positives), self._used(self._negatives)
        _both(positives, negatives)
        return float((positives * negatives).sum() / 2 / (positives.sum() * negatives.sum()))

    def aupro(self, fpr_limit: float = 0.3) -> float:
        """Area under the mean share of each region found, over the false-positive rate, up to the limit.

        Normalised by the limit, 0..1. Source: MVTec AD (Bergmann et al., IJCV 2021), section 5.1.

        Raises:
            ValueError: there is no region, or no normal pixel.
        """
        negatives = self._used(self._negatives)
        _both(np.asarray([self.regions], np.float64), negatives)
        return float(_aupro_of_counts(negatives, self._used(self._coverage) / self.regions, fpr_limit))

    def intervals(
        self, fpr_limit: float = 0.3, resamples: int = RESAMPLES, seed: int = 0
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """95 % bootstrap intervals of `auroc` and `aupro`.

        Whole images are resampled, those with a defect and those without separately. Scores are grouped into
        at most 2000 bins of about equal count for this: < 0.001 of either figure.
        """
        positives, negatives, coverage = self._by_image()
        regions = np.asarray([image.regions for image in self._images], np.float64)
        weights = bootstrap_weights((regions > 0).astype(np.int64), resamples, seed)
        drawn = weights @ negatives
        areas = auroc_of_counts(weights @ positives, drawn)
        covered = (weights @ coverage) / (weights @ regions)[:, None]
        return percentiles(areas), percentiles(_aupro_of_counts(drawn, covered, fpr_limit))

    def _pixel_weights(self, mask: Mask, inside: Mask) -> F64:
        """Share of its region that each inspected pixel is, 0 for a normal pixel."""
        found, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        areas = np.bincount(labels[inside], minlength=found).astype(np.float64)
        self.regions += int((areas[1:] > 0).sum())
        self.regions_outside += int((areas[1:] == 0).sum())
        share = np.divide(1.0, areas, out=np.zeros_like(areas), where=areas > 0)
        share[0] = 0
        return np.asarray(share[labels[inside]], np.float64)

    def _count(self, bins: I64, truth: Mask, share: F64) -> float | None:
        low, high = int(bins.min()), int(bins.max()) + 1
        # The coarse bins below start at a multiple of their width.
        low = low >> _COARSE_BITS << _COARSE_BITS
        local, length = bins - low, high - low
        positives = np.bincount(local[truth], minlength=length)
        negatives = np.bincount(local[~truth], minlength=length)
        coverage = np.bincount(local[truth], share[truth], length)
        self._positives[low:high] += positives
        self._negatives[low:high] += negatives
        self._coverage[low:high] += coverage
        self._images.append(_coarse(low, positives, negatives, np.asarray(coverage, np.float64)))
        if not (positives.any() and negatives.any()):
            return None
        return float(auroc_of_counts(positives.astype(np.float64), negatives.astype(np.float64)))

    def _used(self, counts: NDArray[Any]) -> F64:
        """The part of the bins that holds anything, float64."""
        if not self._images:
            return np.zeros(0)
        low = min(int(image.bins[0]) for image in self._images) << _COARSE_BITS
        high = (max(int(image.bins[-1]) for image in self._images) + 1) << _COARSE_BITS
        return counts[low:high].astype(np.float64)

    def _by_image(self) -> tuple[F64, F64, F64]:
        """Positives, negatives and coverage per image and group of bins, (images, groups) each."""
        group = self._groups()
        shape = (len(self._images), int(group.max()) + 1)
        tables = (np.zeros(shape), np.zeros(shape), np.zeros(shape))
        first = min(int(image.bins[0]) for image in self._images)
        for i, image in enumerate(self._images):
            where = group[image.bins - first]
            for table, counts in zip(tables, image[1:4], strict=True):
                table[i] = np.bincount(where, counts, shape[1])
        return tables

    def _groups(self) -> I64:
        """Group of each coarse bin: ascending, at most _GROUPS, about equally filled."""
        _both(self._used(self._positives), self._used(self._negatives))
        counts = self._used(self._positives) + self._used(self._negatives)
        coarse = counts.reshape(-1, 1 << _COARSE_BITS).sum(axis=1)
        before = np.cumsum(coarse) - coarse
        raw = np.floor(before / counts.sum() * _GROUPS)
        return np.asarray(np.unique(raw, return_inverse=True)[1], np.int64)


def pixel_auroc(maps: Iterable[F32], masks: Iterable[Mask]) -> float:
    """Pooled pixel AUROC of (H, W) maps and masks; for its precision see `PixelStatistics.auroc_error`."""
    return _gather(maps, masks).auroc()


def aupro(maps: Iterable[F32], masks: Iterable[Mask], fpr_limit: float = 0.3) -> float:
    """AUPRO of (H, W) maps and masks; see `PixelStatistics.aupro`."""
    return _gather(maps, masks).aupro(fpr_limit)


def _gather(maps: Iterable[F32], masks: Iterable[Mask]) -> PixelStatistics:
    statistics = PixelStatistics()
    for scores, mask in zip(maps, masks, strict=True):
        statistics.add(scores, mask)
    return statistics


def _bins(values: F32) -> I64:
    """Bin of each score; ascending with the score, -0 and 0 alike."""
    bits = (np.ascontiguousarray(values, np.float32) + np.float32(0)).view(np.uint32)
    sign = np.uint32(1 << 31)
    ordered = np.where(bits & sign, ~bits, bits | sign)
    return np.asarray(ordered >> np.uint32(_DROPPED_BITS), np.int64)


def _coarse(low: int, positives: I64, negatives: I64, coverage: F64) -> _Coarse:
    width = 1 << _COARSE_BITS
    starts = np.arange(0, len(positives), width)
    sums = [np.add.reduceat(counts, starts) for counts in (positives, negatives, coverage)]
    filled = np.flatnonzero(sums[0] + sums[1])
    kept = [np.asarray(part[filled], np.float32) for part in sums]
    return _Coarse((low >> _COARSE_BITS) + filled, kept[0], kept[1], kept[2], round(float(coverage.sum())))


def _aupro_of_counts(negatives: F64, coverage: F64, limit: float) -> F64:
    """AUPRO from (..., K) normal pixels and mean region share per bin, ascending scores."""
    none = np.zeros((*negatives.shape[:-1], 1))
    rate = from_above(negatives)[..., ::-1] / negatives.sum(axis=-1)[..., None]
    found = np.concatenate([none, from_above(coverage)[..., ::-1]], axis=-1)
    rate = np.concatenate([none, rate], axis=-1)
    # Trapezoids; the one that crosses the limit is cut there.
    width, rise = np.diff(rate, axis=-1), np.diff(found, axis=-1)
    cut = np.minimum(rate[..., 1:], limit) - np.minimum(rate[..., :-1], limit)
    part = np.divide(cut, width, out=np.zeros_like(cut), where=width > 0)
    return np.asarray((cut * (found[..., :-1] + rise * part / 2)).sum(axis=-1) / limit, np.float64)


def _both(positives: F64, negatives: F64) -> None:
    if not (positives.sum() > 0 and negatives.sum() > 0):
        raise ValueError("no defective or no normal inspected pixel; both are needed")
