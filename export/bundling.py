"""From a method's settings to a bundle on disk: network, memory of good images, golden images, manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle, Golden, GoldenPart, write_bundle
from runtime.errors import ConfigError
from runtime.measure.gate import FOLDER

from .draft import TOLERANCE, Draft, draft_bundle
from .fitted import Fitted, require_same
from .fitting import fit_method
from .golden import encode_png, golden_images
from .method import Method
from .parity import prove_precisions

U8 = NDArray[np.uint8]

LEAST_MARGIN = 1.1
"""NG golden score over OK golden score below which a bundle is not worth writing."""


def export_bundle(
    method: Method,
    base: Path,
    good: Sequence[U8],
    out: Path,
    precisions: Sequence[str] = ("fp32",),
    flips_allowed: int = 0,
) -> Bundle:
    """Fits a method to good images, if there are any, and exports it.

    Args:
        base: folder that paths in the method's settings are relative to.
        good: images of good parts, none or at least 3; they become the method's memory, give a suggested
            threshold, the golden images and the gate set.
        precisions: that a backend may compute in; see `prove_precisions`.

    Raises:
        ConfigError: settings do not fit, too few good images, or a planted defect is not seen.
        BundleError: `out` exists and is not empty, or cannot be written.
    """
    fitted = fit_method(method, base, good) if good else None
    return export_fitted(method, base, fitted, out, precisions, flips_allowed)


def export_fitted(
    method: Method,
    base: Path,
    fitted: Fitted | None,
    out: Path,
    precisions: Sequence[str] = ("fp32",),
    flips_allowed: int = 0,
    good: U8 | None = None,
) -> Bundle:
    """Exports a method with what it was fitted to; see `export_bundle`.

    Args:
        good: where nothing was fitted, the image of a good part that golden images are made from.
    """
    draft = draft_bundle(method, base, out)
    if fitted is not None:
        require_same(fitted, method, draft.bundle.files["network.onnx"])
        draft = draft.with_memory(fitted.arrays).with_manifest(suggestion=fitted.facts.suggestion)
        draft = draft.with_files(
            {f"{FOLDER}{n}.png": encode_png(image) for n, image in enumerate(fitted.gate)}
        )
    elif method.needs_good:
        raise ConfigError(
            f"{draft.bundle.manifest.method} needs images of good parts; give --fitted with what "
            "'gonogo fit' wrote, or --good"
        )
    draft = prove_precisions(_with_golden(draft, fitted, good), precisions, flips_allowed)
    write_bundle(out, draft.bundle.manifest, draft.bundle.files)
    return draft.bundle


def _with_golden(draft: Draft, fitted: Fitted | None, good: U8 | None) -> Draft:
    """Adds one OK and one NG image and the scores they must keep."""
    kept = good if fitted is None else fitted.good
    images = golden_images([] if kept is None else [kept])
    scores = draft.scores(image.pixels for image in images)
    ok = max(s for s, image in zip(scores, images, strict=True) if image.label == "OK")
    if fitted is not None:
        # The golden image is in the memory and scores too low: what it scores as a new part counts.
        ok = max(ok, fitted.facts.good_score)
    ng = min(s for s, image in zip(scores, images, strict=True) if image.label == "NG")
    if not ng > LEAST_MARGIN * ok:
        raise ConfigError(
            f"golden images: the planted defect scores {ng:.6g}, good ones up to {ok:.6g}; expected at least "
            f"{LEAST_MARGIN} x as much; this backbone and preset do not see it on such images"
        )
    golden = tuple(
        Golden(file=image.file, label=image.label, score=score)
        for image, score in zip(images, scores, strict=True)
    )
    part = GoldenPart(images=golden, threshold=float(np.sqrt(ok * ng)), tolerance=TOLERANCE, margin=ng / ok)
    return draft.with_files({image.file: image.encoded for image in images}).with_manifest(golden=part)
