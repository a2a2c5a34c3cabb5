"""What an export says about the precisions it allows."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.bundle import Manifest


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
