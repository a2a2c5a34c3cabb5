"""Rows of the PatchCore benchmark as JSON, and their section of accuracy.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.accuracy_common import interval
from runtime.errors import ConfigError
from runtime.measure.figures import AtThreshold, Summary
from runtime.measure.machine import Machine
from runtime.output import make_folder, write_json, write_text

_TITLE = "# Accuracy of PatchCore"
_READING = """\
Fitted to all of train/good, evaluated on all test images; embeddings, coreset and score as published (Roth
et al., CVPR 2022), image stretched to 256 x 256, at most 10 000 bank rows. False rejects and escapes at the
threshold that the fit suggests: just above the greatest score of up to 30 good images, each judged without
itself in the bank; several images of one part make it too low. Bundle: network and bank together. CPU s and
ms: processor time of the whole fit and of the detector per image (median over 20), one thread."""


class PatchcoreRow(msgspec.Struct, frozen=True, kw_only=True):
    """One set with one backbone and variant; `summary` or `error`."""

    set: str
    backbone: str
    variant: str
    good_images: int
    commit: str = ""
    code: str = ""
    data: str = ""
    bank: tuple[int, ...] = ()
    """(rows, channels)."""
    fit_cpu_s: float | None = None
    cpu_ms: float | None = None
    """Processor time of the detector per image, median."""
    bundle_mb: float | None = None
    refusal: str | None = None
    """Why export refuses this fit; the figures are those it would have given."""
    summary: Summary | None = None
    error: str | None = None

    @property
    def key(self) -> str:
        """Name of the row."""
        return f"{self.set}/{self.backbone}/{self.variant}"


class PatchcoreRun(msgspec.Struct, frozen=True):
    """Where and with what the last run was made."""

    machine: Machine
    command: str
    code: str
    """SHA-256 over the source files that decide a row."""
    data: str
    """SHA-256 of the data folder's SHA256SUMS."""


class PatchcoreReport(msgspec.Struct, frozen=True):
    """results/patchcore.json."""

    run: PatchcoreRun | None
    rows: list[PatchcoreRow]


def load_rows(folder: Path) -> PatchcoreReport:
    """Earlier rows, or none where there is no file.

    Raises:
        ConfigError: the file is no report of this form.
    """
    path = _file(folder)
    if not path.exists():
        return PatchcoreReport(None, [])
    try:
        return msgspec.json.decode(path.read_bytes(), type=PatchcoreReport)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}; move it away to start anew") from None


def save_rows(report: PatchcoreReport, folder: Path) -> None:
    """Writes the rows, sorted, and their section of accuracy.md; what follows it stays."""
    make_folder(folder / "results")
    ordered = PatchcoreReport(report.run, sorted(report.rows, key=lambda row: row.key))
    write_json(_file(folder), ordered)
    page = folder / "accuracy.md"
    before, _, rest = (page.read_text("utf-8") if page.exists() else "").partition("\n" + _TITLE)
    _, heading, after = rest.partition("\n# ")
    write_text(page, before + patchcore_section(folder) + heading + after)


def patchcore_section(folder: Path) -> str:
    """The section of the page, as Markdown after a blank line; empty where nothing was measured."""
    report = load_rows(folder)
    if not report.rows:
        return ""
    figures = "Written by `benchmarks/bench_patchcore.py`; every figure stands in `results/patchcore.json`."
    notes = [f"- {row.key}: {row.error or row.refusal}" for row in report.rows if row.error or row.refusal]
    parts = [
        _TITLE,
        figures,
        _origin(report),
        _READING,
        _rows(report.rows),
        "\n".join(notes),
    ]
    return "\n" + "\n\n".join(part for part in parts if part) + "\n"


def _origin(report: PatchcoreReport) -> str:
    run = report.run
    if run is None:
        return ""
    machine, commits = run.machine, ", ".join(sorted({row.commit for row in report.rows}))
    lines = [
        f"commit of the rows: {commits}",
        f"SHA-256 of the data's SHA256SUMS: {run.data}",
        f"machine: {machine.processor}, {machine.cpus} cores, no GPU; one thread",
        f"versions: {', '.join(f'{name} {found}' for name, found in machine.versions.items())}",
        f"last command: `{run.command}`",
    ]
    stale = sum((row.code, row.data) != (run.code, run.data) for row in report.rows)
    if stale:
        lines.append(f"{stale} of {len(report.rows)} rows are from other code or data than the last run")
    return "\n".join(f"- {line}" for line in lines)


def _rows(rows: Sequence[PatchcoreRow]) -> str:
    cells = []
    for row in rows:
        s = row.summary
        if s is None:
            continue
        figures = [interval(e) for e in (s.image_auroc, s.pixel_auroc, s.aupro, s.f1_max)]
        cells.append([row.set, row.backbone, row.variant, str(row.good_images), *figures, *_cost(row, s)])
    names = ["set", "backbone", "variant", "good", "image AUROC", "pixel AUROC", "AUPRO", "F1-max"]
    names += ["false rejects", "escapes", "bank", "bundle MB", "fit CPU s", "CPU ms"]
    return "\n".join(f"| {' | '.join(line)} |" for line in [names, ["---"] * len(names), *cells])


def _cost(row: PatchcoreRow, summary: Summary) -> list[str]:
    at = summary.at_threshold
    good = 0 if summary.good_scores is None else summary.good_scores.images
    bank = " x ".join(map(str, row.bank))
    return [*_rates(at, good, sum(k.images for k in summary.kinds)), bank, *_rounded(row)]


def _rates(at: AtThreshold | None, good: int, bad: int) -> list[str]:
    if at is None or not good or not bad:
        return ["-", "-"]
    return [f"{at.false_rejects / good:.0%}", f"{at.escapes / bad:.0%}"]


def _rounded(row: PatchcoreRow) -> list[str]:
    assert row.bundle_mb is not None
    assert row.fit_cpu_s is not None
    assert row.cpu_ms is not None
    return [f"{row.bundle_mb:.0f}", f"{row.fit_cpu_s:.0f}", f"{row.cpu_ms:.0f}"]


def _file(folder: Path) -> Path:
    return folder / "results" / "patchcore.json"
