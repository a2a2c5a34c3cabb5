"""The figures of an evaluated data set, from its judged images; what a set cannot give is None, and said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from ..images.dataset import GOOD, Sample, count_kinds
from ..terms import Thresholds
from .metrics import auroc, bootstrap_interval, f1_max, mean_interval
from .pixel_metrics import PixelStatistics

FPR_LIMIT = 0.3


class Estimate(msgspec.Struct, frozen=True):
    """A figure with its 95 % bootstrap interval over images."""

    value: float
    low: float
    high: float


class KindFigures(msgspec.Struct, frozen=True):
    """One kind of defect against all good images."""

    kind: str
    images: int
    image_auroc: Estimate | None
    pixel_auroc_per_image: Estimate | None
    median_score: float


class Spread(msgspec.Struct, frozen=True):
    """Distribution of scores, in the bundle's unit."""

    images: int
    min: float
    p5: float
    median: float
    p95: float
    max: float
    mean: float
    std: float


class AtThreshold(msgspec.Struct, frozen=True):
    """What the recipe's thresholds make of the set."""

    threshold: float
    false_rejects: int
    """Good images judged NG."""
    escapes: int
    """Defective images judged OK."""
    review: int
    """Images of either kind in the review band."""


class Summary(msgspec.Struct, frozen=True):
    """Every figure of an evaluation; None where the set cannot give it, with the reason in `notes`."""

    images: dict[str, int]
    image_auroc: Estimate | None
    f1_max: Estimate | None
    f1_threshold: float | None
    pixel_auroc: Estimate | None
    """Pooled over all inspected pixels of all images whose pixel truth is known."""
    pixel_auroc_error: float | None
    """Largest distance of `pixel_auroc` from an exact count."""
    pixel_auroc_per_image: Estimate | None
    """Mean over the defective images."""
    aupro: Estimate | None
    """Up to a false-positive rate of 0.3."""
    regions: int
    regions_outside: int
    """Defect regions wholly outside the inspected area: in no figure here, and never found in use."""
    excluded_share: float
    """Share of all pixels outside the inspected area."""
    kinds: list[KindFigures]
    good_scores: Spread | None
    at_threshold: AtThreshold | None
    ms_per_image: dict[str, float]
    """p50, p95 and max of the detector alone, without reading files."""
    notes: list[str]


@dataclass(frozen=True)
class ImageResult:
    """One judged image."""

    sample: Sample
    score: float
    pixel_auroc: float | None
    """None where the pixel truth is unknown or of one class."""
    outcome: str | None
    """By the recipe's thresholds, where given."""
    ms: float


def summarise(
    results: Sequence[ImageResult],
    pixels: PixelStatistics,
    thresholds: Thresholds | None,
    excluded_share: float,
) -> Summary:
    """All figures of at least one judged image; `pixels` has counted those whose pixel truth is known."""
    good = [r.score for r in results if not r.sample.defective]
    image, f1, threshold = _image_figures(results)
    pooled, error, aupro = _pixel_figures(pixels)
    return Summary(
        images=count_kinds(r.sample for r in results),
        image_auroc=image,
        f1_max=f1,
        f1_threshold=threshold,
        pixel_auroc=pooled,
        pixel_auroc_error=error,
        pixel_auroc_per_image=_mean([r.pixel_auroc for r in results if r.pixel_auroc is not None]),
        aupro=aupro,
        regions=pixels.regions,
        regions_outside=pixels.regions_outside,
        excluded_share=excluded_share,
        kinds=_kinds(results),
        good_scores=_spread(good) if good else None,
        at_threshold=None if thresholds is None else _at_threshold(results, thresholds.threshold),
        ms_per_image=_times([r.ms for r in results]),
        notes=_notes(results, (image, pooled), pixels),
    )


def _pixel_figures(pixels: PixelStatistics) -> tuple[Estimate | None, float | None, Estimate | None]:
    """Pooled pixel AUROC, its binning error, AUPRO."""
    if not pixels.complete:
        return None, None, None
    around_auroc, around_aupro = pixels.intervals(FPR_LIMIT)
    pooled = Estimate(pixels.auroc(), *around_auroc)
    return pooled, pixels.auroc_error(), Estimate(pixels.aupro(FPR_LIMIT), *around_aupro)


def _at_threshold(results: Sequence[ImageResult], threshold: float) -> AtThreshold:
    return AtThreshold(
        threshold,
        sum(r.outcome == "NG" and not r.sample.defective for r in results),
        sum(r.outcome == "OK" and r.sample.defective for r in results),
        sum(r.outcome == "REVIEW" for r in results),
    )


def _image_figures(results: Sequence[ImageResult]) -> tuple[Estimate | None, Estimate | None, float | None]:
    """Image AUROC, F1-max and its threshold; None without both classes."""
    scores, labels = [r.score for r in results], [r.sample.defective for r in results]
    if all(labels) or not any(labels):
        return None, None, None
    f1, threshold = f1_max(scores, labels)
    area = Estimate(auroc(scores, labels), *bootstrap_interval(scores, labels, "auroc"))
    return area, Estimate(f1, *bootstrap_interval(scores, labels, "f1_max")), threshold


def _kinds(results: Sequence[ImageResult]) -> list[KindFigures]:
    good = [r for r in results if not r.sample.defective]
    kinds = sorted({r.sample.kind for r in results} - {GOOD})
    figures = []
    for kind in kinds:
        own = [r for r in results if r.sample.kind == kind]
        pixel = _mean([r.pixel_auroc for r in own if r.pixel_auroc is not None])
        median = float(np.median([r.score for r in own]))
        figures.append(KindFigures(kind, len(own), _image_figures([*own, *good])[0], pixel, median))
    return figures


def _mean(values: list[float]) -> Estimate | None:
    return Estimate(float(np.mean(values)), *mean_interval(values)) if values else None


def _spread(scores: list[float]) -> Spread:
    low, p5, median, p95, high = (float(q) for q in np.quantile(scores, [0, 0.05, 0.5, 0.95, 1]))
    return Spread(len(scores), low, p5, median, p95, high, float(np.mean(scores)), float(np.std(scores)))


def _times(ms: list[float]) -> dict[str, float]:
    values = np.quantile(ms, [0.5, 0.95, 1])
    return {name: round(float(value), 3) for name, value in zip(("p50", "p95", "max"), values, strict=True)}


def _notes(
    results: Sequence[ImageResult], estimates: Sequence[Estimate | None], pixels: PixelStatistics
) -> list[str]:
    """What a reader of the figures must know and cannot see."""
    defective = [r for r in results if r.sample.defective]
    unmasked = sorted({r.sample.kind for r in defective if not r.sample.has_pixel_truth})
    blank = sum(r.sample.mask is not None and r.pixel_auroc is None for r in defective)
    facts = {
        "no good images: image AUROC and F1-max are undefined": len(defective) == len(results),
        "no defective images: no AUROC, AUPRO or F1": not defective,
        f"no masks for {', '.join(unmasked)}: not in the pixel figures": bool(unmasked),
        f"{blank} defective images have no inspected defective pixel": blank > 0,
        f"{pixels.regions_outside} defect regions lie outside the inspected area and count in no figure": (
            pixels.regions_outside > 0
        ),
        "an interval without width: every resample agrees, which says nothing about images not in the set": (
            any(e is not None and e.low == e.high for e in estimates)
        ),
    }
    return [text for text, holds in facts.items() if holds]
