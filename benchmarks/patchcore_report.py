"""Rows of the PatchCore benchmark, and how their section of accuracy.md reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.fitted_report import FittedRow, Section, cost, figures, markdown, rates

_READING = """\
Fitted to all of train/good, evaluated on all test images; embeddings, coreset and score as published (Roth
et al., CVPR 2022), image stretched to 256 x 256, at most 10 000 bank rows. False rejects and escapes at the
threshold that the fit suggests: just above the greatest score of up to 30 good images, each judged without
itself in the bank; several images of one part make it too low. Bundle: network and bank together. CPU s and
ms: processor time of the whole fit and of the detector per image (median over 20), one thread."""


class PatchcoreRow(FittedRow, frozen=True, kw_only=True):
    """One set with one backbone and variant."""

    bank: tuple[int, ...] = ()
    """(rows, channels)."""


def _table(rows: Sequence[PatchcoreRow], folder: Path) -> str:
    cells = []
    for row in rows:
        s = row.summary
        if s is None:
            continue
        bank = " x ".join(map(str, row.bank))
        whose = [row.set, row.backbone, row.variant, str(row.good_images)]
        cells.append([*whose, *figures(s), *rates(s), bank, *cost(row)])
    names = ["set", "backbone", "variant", "good", "image AUROC", "pixel AUROC", "AUPRO", "F1-max"]
    return markdown([*names, "false rejects", "escapes", "bank", "bundle MB", "fit CPU s", "CPU ms"], cells)


PATCHCORE = Section("bench_patchcore", "patchcore", PatchcoreRow, "# Accuracy of PatchCore", _READING, _table)
