"""What an export says about the bundle that it wrote."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.bundle import Manifest

from .methods import EXPERIMENTAL


def bundle_lines(manifest: Manifest) -> Iterator[str]:
    """What it is, how far its golden images lie apart, its precisions, and the threshold it suggests."""
    yield f"{manifest.method} ({manifest.preset}) on {manifest.network.backbone}"
    yield f"golden: the planted defect scores {manifest.golden.margin:.2f} x the good image"
    if manifest.method in EXPERIMENTAL:
        yield f"{manifest.method} is experimental: {EXPERIMENTAL[manifest.method]}"
    yield from precision_lines(manifest)
    hint = manifest.suggestion
    if hint is None:
        yield "threshold: none yet; run 'gonogo calibrate' with images of good parts"
    else:
        yield f"threshold: {hint.threshold:.6g} suggested by {hint.good_images} good images"
        yield f"expected false rejects {hint.false_reject:.0%}; 'gonogo calibrate' with more images for less"


def precision_lines(manifest: Manifest) -> Iterator[str]:
    """One line of work and parity per precision, and one per layer that stayed in FP32, with the reason."""
    for precision, part in manifest.precisions.items():
        parity = part.parity
        loosened = f" ({part.flips_allowed} ALLOWED: every verdict says so)" if part.flips_allowed else ""
        yield (
            f"{precision}: {part.work:.1%} of the convolutions' work; {parity.good} good images and "
            f"{parity.planted} planted defects: {parity.flips} change sides{loosened}, score shift "
            f"{parity.shift:.2g} spreads, map correlation {parity.correlation:.5f}, arg-max moved "
            f"{parity.moved} cells, {parity.non_finite} not finite; worst {parity.worst}"
        )
        for island in part.islands:
            yield f"  fp32: {island.node}: {island.reason}"
