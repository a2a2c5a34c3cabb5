"""Rows of a benchmark that fits: as JSON, and as a section of accuracy.md. What all such benchmarks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from benchmarks.accuracy_common import interval
from runtime.errors import ConfigError
from runtime.measure.figures import Summary
from runtime.measure.machine import Machine
from runtime.output import make_folder, write_json, write_text


class FittedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One set with one backbone and variant; `summary` or `error`."""

    set: str
    backbone: str
    variant: str
    good_images: int
    commit: str = ""
    code: str = ""
    data: str = ""
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


R = TypeVar("R", bound=FittedRow)


class FittedRun(msgspec.Struct, frozen=True):
    """Where and with what the last run was made."""

    machine: Machine
    command: str
    code: str
    """SHA-256 over the source files that decide a row."""
    data: str
    """SHA-256 of the data folder's SHA256SUMS."""


class FittedReport(msgspec.Struct, Generic[R], frozen=True):
    """The JSON file."""

    run: FittedRun | None
    rows: list[R]


@dataclass(frozen=True)
class Section(Generic[R]):
    """Where the rows of one benchmark stand, and how they are shown."""

    script: str
    """Module in benchmarks/."""
    name: str
    """results/NAME.json."""
    row: type[R]
    title: str
    """Heading, with its #."""
    reading: str
    """What a reader must know, Markdown."""
    table: Callable[[Sequence[R], Path], str]
    """Rows and the folder of all reports -> Markdown."""

    def load(self, folder: Path) -> FittedReport[R]:
        """Earlier rows, or none where there is no file.

        Raises:
            ConfigError: the file is no report of this form.
        """
        path = self._file(folder)
        if not path.exists():
            return FittedReport(None, [])
        try:
            form = FittedReport[self.row]  # type: ignore[name-defined]
            report: FittedReport[R] = msgspec.json.decode(path.read_bytes(), type=form)
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"{path}: {error}; move it away to start anew") from None
        return report

    def save(self, report: FittedReport[R], folder: Path) -> None:
        """Writes the rows, sorted, and their section of accuracy.md; what follows it stays."""
        make_folder(folder / "results")
        ordered = FittedReport(report.run, sorted(report.rows, key=lambda row: row.key))
        write_json(self._file(folder), ordered)
        page = folder / "accuracy.md"
        before, _, rest = (page.read_text("utf-8") if page.exists() else "").partition("\n" + self.title)
        _, heading, after = rest.partition("\n# ")
        write_text(page, before + self.text(folder) + heading + after)

    def text(self, folder: Path) -> str:
        """The section, as Markdown after a blank line; empty where nothing was measured."""
        report = self.load(folder)
        if not report.rows:
            return ""
        written = (
            f"Written by `benchmarks/{self.script}.py`; every figure stands in `results/{self.name}.json`."
        )
        notes = [
            f"- {row.key}: {row.error or row.refusal}" for row in report.rows if row.error or row.refusal
        ]
        table = self.table(report.rows, folder)
        parts = [self.title, written, _origin(report), self.reading, table, "\n".join(notes)]
        return "\n" + "\n\n".join(part for part in parts if part) + "\n"

    def _file(self, folder: Path) -> Path:
        return folder / "results" / f"{self.name}.json"


def _origin(report: FittedReport[R]) -> str:
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


def markdown(names: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [names, ["---"] * len(names), *cells])


def figures(summary: Summary) -> list[str]:
    """Image AUROC, pixel AUROC, AUPRO and F1-max with their intervals."""
    estimates = (summary.image_auroc, summary.pixel_auroc, summary.aupro, summary.f1_max)
    return [interval(estimate) for estimate in estimates]


def rates(summary: Summary) -> list[str]:
    """False rejects and escapes at the threshold that the fit suggests."""
    at = summary.at_threshold
    good = 0 if summary.good_scores is None else summary.good_scores.images
    bad = sum(kind.images for kind in summary.kinds)
    if at is None or not good or not bad:
        return ["-", "-"]
    return [f"{at.false_rejects / good:.0%}", f"{at.escapes / bad:.0%}"]


def cost(row: FittedRow) -> list[str]:
    """Bundle MB, CPU s of the fit and CPU ms an image of a row that was measured."""
    assert row.bundle_mb is not None
    assert row.fit_cpu_s is not None
    assert row.cpu_ms is not None
    return [f"{row.bundle_mb:.0f}", f"{row.fit_cpu_s:.0f}", f"{row.cpu_ms:.0f}"]
