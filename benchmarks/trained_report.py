"""Rows of the benchmark of trained methods as JSON, and their section of accuracy.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks import accuracy_report, patchcore_report
from benchmarks.accuracy_common import interval
from runtime.errors import ConfigError
from runtime.measure.figures import Estimate, Summary
from runtime.measure.machine import Machine
from runtime.output import make_folder, write_json, write_text

TITLE = "# Accuracy of methods that train"
_READING = """\
Preset `edge`, one default for all sets, on ResNet-18: fitted to train/good less every fifth image (at most
30), which gives the threshold; evaluated on all test images. False rejects and escapes at that threshold.
Parameters: the trained part and its projection. CPU s and ms: processor time of the whole fit and of the
detector per image (median over 20), one thread. Beside it PatchCore and zero-shot GRNR (preset `default`) on
the same backbone.

INP-Former is experimental: on aitex_fabric03 it stays 9 points of image AUROC below PatchCore. The cause,
seen in the maps: the frame of every image is raised, as tokens carry no place and the backbone pads with
zeros; in good images the frame decides the score, and defects a few pixels wide stay below it. Mirroring
32 px at the border raised AUPRO from .665 to .706 and lowered image AUROC from .837 to .783: a mirrored
weave is no weave, and the frame still decides. Not tried: the border profile of GRNR's score."""


class TrainedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One set with one method, backbone, variant and seed; `summary` or `error`."""

    method: str
    set: str
    backbone: str
    variant: str
    seed: int
    good_images: int
    commit: str = ""
    code: str = ""
    data: str = ""
    fit_cpu_s: float | None = None
    parameters: int | None = None
    cpu_ms: float | None = None
    """Processor time of the detector per image, median."""
    gmac: float | None = None
    """Multiplications of the whole network for one image, 1e9."""
    bundle_mb: float | None = None
    refusal: str | None = None
    """Why export refuses this fit; the figures are those it would have given."""
    summary: Summary | None = None
    error: str | None = None

    @property
    def key(self) -> str:
        """Name of the row."""
        return f"{self.method}/{self.set}/{self.backbone}/{self.variant}/{self.seed}"


class TrainedRun(msgspec.Struct, frozen=True):
    """Where and with what the last run was made."""

    machine: Machine
    command: str
    code: str
    """SHA-256 over the source files that decide a row."""
    data: str
    """SHA-256 of the data folder's SHA256SUMS."""


class TrainedReport(msgspec.Struct, frozen=True):
    """results/trained.json."""

    run: TrainedRun | None
    rows: list[TrainedRow]


def load_rows(folder: Path) -> TrainedReport:
    """Earlier rows, or none where there is no file.

    Raises:
        ConfigError: the file is no report of this form.
    """
    path = _file(folder)
    if not path.exists():
        return TrainedReport(None, [])
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrainedReport)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}; move it away to start anew") from None


def save_rows(report: TrainedReport, folder: Path) -> None:
    """Writes the rows, sorted, and their section at the end of accuracy.md."""
    make_folder(folder / "results")
    write_json(_file(folder), TrainedReport(report.run, sorted(report.rows, key=lambda row: row.key)))
    page = folder / "accuracy.md"
    before = page.read_text("utf-8").partition("\n" + TITLE)[0] if page.exists() else ""
    write_text(page, before + trained_section(folder))


def trained_section(folder: Path) -> str:
    """The section of the page, as Markdown after a blank line; empty where nothing was measured."""
    report = load_rows(folder)
    if not report.rows:
        return ""
    written = "Written by `benchmarks/bench_trained.py`; every figure stands in `results/trained.json`."
    notes = [f"- {row.key}: {row.error or row.refusal}" for row in report.rows if row.error or row.refusal]
    parts = [TITLE, written, _origin(report), _READING, _table(report.rows, folder), "\n".join(notes)]
    return "\n" + "\n\n".join(part for part in parts if part) + "\n"


def _origin(report: TrainedReport) -> str:
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


def _table(rows: Sequence[TrainedRow], folder: Path) -> str:
    """The trained rows set by set, after each set what the other methods reach on it."""
    cells = []
    for name in sorted({row.set for row in rows}):
        for row in rows:
            if row.set == name and row.summary is not None:
                label = f"{row.method} {row.variant}, seed {row.seed}"
                cells.append([name, label, *_figures(row.summary), *_cost(row, row.summary)])
        cells += _others(name, {row.backbone for row in rows}, folder)
    names = ["set", "method", "image AUROC", "pixel AUROC", "AUPRO", "F1-max", "false rejects", "escapes"]
    names += ["parameters", "GMAC", "bundle MB", "fit CPU s", "CPU ms"]
    return "\n".join(f"| {' | '.join(line)} |" for line in [names, ["---"] * len(names), *cells])


def _others(name: str, backbones: set[str], folder: Path) -> list[list[str]]:
    """Rows of PatchCore and zero-shot GRNR on a set."""
    cells = []
    for own in patchcore_report.load_rows(folder).rows:
        if (own.set, own.variant) == (name, "default") and own.backbone in backbones and own.summary:
            spent = f"{own.fit_cpu_s or 0:.0f}"
            rest = ["-", "-", "-", "-", f"{own.bundle_mb or 0:.0f}", spent, f"{own.cpu_ms or 0:.0f}"]
            cells.append([name, "patchcore", *_figures(own.summary), *rest])
    for other in accuracy_report.load_rows(folder / "results" / "accuracy.json"):
        plain = (other.set, other.preset, other.shots, other.variant) == (name, "default", 0, "")
        if plain and other.backbone in backbones and other.limit is None and other.summary:
            rest = ["-", "-", "-", "-", "-", "0", f"{other.cpu_ms or 0:.0f}"]
            cells.append([name, "grnr, zero-shot", *_figures(other.summary), *rest])
    return cells


def _figures(s: Summary) -> list[str]:
    estimates: list[Estimate | None] = [s.image_auroc, s.pixel_auroc, s.aupro, s.f1_max]
    return [interval(estimate) for estimate in estimates]


def _cost(row: TrainedRow, summary: Summary) -> list[str]:
    assert row.bundle_mb is not None
    assert row.fit_cpu_s is not None
    assert row.cpu_ms is not None
    work = "-" if row.gmac is None else f"{row.gmac:.2f}"
    figures = [f"{row.parameters}", work, f"{row.bundle_mb:.0f}", f"{row.fit_cpu_s:.0f}", f"{row.cpu_ms:.0f}"]
    return [*_rates(summary), *figures]


def _rates(summary: Summary) -> list[str]:
    at = summary.at_threshold
    good = 0 if summary.good_scores is None else summary.good_scores.images
    bad = sum(kind.images for kind in summary.kinds)
    if at is None or not good or not bad:
        return ["-", "-"]
    return [f"{at.false_rejects / good:.0%}", f"{at.escapes / bad:.0%}"]


def _file(folder: Path) -> Path:
    return folder / "results" / "trained.json"
