"""Golden images through the real path: what a bundle must still decide on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from .bundle import Bundle
from .detector import Detector
from .errors import EngineError
from .head import HeadForm
from .images.files import decode_image
from .opening import open_detector


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """One golden image judged again."""

    file: str
    label: str
    expected: float
    """Score when the bundle was exported."""
    score: float
    """Score here."""
    passed: bool
    """Within the tolerance, and on the right side of the golden threshold."""


def check_golden(bundle: Bundle, detector: Detector) -> list[GoldenResult]:
    """Judges every golden image with a detector that was opened without recipe."""
    part = bundle.manifest.golden
    results = []
    for golden in part.images:
        image = decode_image(bundle.files[golden.file], bundle.path / golden.file)
        score = detector.predict(image).score
        # A good image that lies in the memory scores near zero, where a share of it says nothing.
        near = abs(score - golden.score) <= part.tolerance * max(golden.score, part.threshold)
        right = score >= part.threshold if golden.label == "NG" else score < part.threshold
        results.append(GoldenResult(golden.file, golden.label, golden.score, score, near and right))
    return results


def require_golden(
    bundle: Bundle, backend: str, threads: int, head: HeadForm | None = None
) -> list[GoldenResult]:
    """Opens the bundle on a backend and judges its golden images.

    Raises:
        EngineError: one is out of tolerance or on the wrong side: this machine must not judge parts with it.
    """
    detector = open_detector(bundle, None, backend, threads, head=head)
    try:
        results = check_golden(bundle, detector)
    finally:
        detector.close()
    for bad in (result for result in results if not result.passed):
        raise EngineError(
            f"{bundle.path}: selftest: {bad.file} ({bad.label}) scores {bad.score:.6g} on {backend}, "
            f"expected {bad.expected:.6g} within {bundle.manifest.golden.tolerance:.0%}; not fit to judge"
        )
    return results
