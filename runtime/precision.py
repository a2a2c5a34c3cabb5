"""In which precision a network may compute, and what was measured before it was allowed to."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .errors import EngineError

NETWORK_FILES = {"fp32": "network.onnx", "bf16": "network.onnx", "fp16": "network.fp16.onnx"}
"""Precision -> the file of a bundle that a backend reads for it. FP16 is written into its file; what computes
in bf16 (OpenVINO) rounds the FP32 network by itself."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the manifest's parts here."""


class Island(_Part, frozen=True):
    """A layer that stays in FP32 in a network of FP16."""

    node: str
    reason: str
    """What was measured."""


class Parity(_Part, frozen=True):
    """How far one way to run a bundle decides like another, over a gate set; see `measure.parity`."""

    good: int
    """Images of good parts."""
    planted: int
    """The same with seeded planted defects."""
    threshold: float
    """The 99 % order statistic of the good scores and 2 %, from the way that is compared with."""
    flips: int
    """Images on the other side of the threshold than before."""
    shift: float
    """Greatest change of a score, in standard deviations of the good scores."""
    correlation: float
    """Least correlation of two maps of one image, -1..1; 0 where it is not defined."""
    moved: int
    """Farthest way of a map's greatest cell, in cells along the longer axis."""
    non_finite: int
    """Images whose score or map is not finite."""
    worst: str
    """The image that is not finite or flipped, else that of the greatest change."""

    def fault(self, flips_allowed: int) -> str:
        """Why this is not alike enough; empty where it is."""
        if self.flips <= flips_allowed and not self.non_finite:
            return ""
        return (
            f"{self.flips} of {self.good + self.planted} gate images change sides, {self.non_finite} are not "
            f"finite, expected {flips_allowed} and 0; the worst is {self.worst}"
        )


class PrecisionPart(_Part, frozen=True):
    """Why a precision is allowed."""

    parity: Parity
    """Against FP32, when the bundle was exported."""
    flips_allowed: int = 0
    """More than 0: somebody loosened the gate, and every verdict says so."""
    work: float = 1.0
    """Share of the multiplications in convolutions and matrix products that this precision does, 0..1."""
    islands: tuple[Island, ...] = ()


def choose_precision(
    backend: str, offered: Sequence[str], allowed: Sequence[str], wanted: str | None = None
) -> str:
    """The first precision that a backend offers here and a bundle allows, or the one that is wanted.

    Raises:
        EngineError: there is none, or the wanted one is not offered or not allowed.
    """
    fit = [precision for precision in offered if precision in allowed]
    if wanted is None and fit:
        return fit[0]
    if wanted not in fit:
        raise EngineError(
            f"backend {backend}: precision is {wanted}; it offers {', '.join(offered)} here, the bundle's "
            f"parity report allows {', '.join(allowed)}"
        )
    return wanted
