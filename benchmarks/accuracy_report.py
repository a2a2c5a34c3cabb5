"""Rows of the accuracy benchmark as JSON, and as the page made from them."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from runtime.errors import ConfigError
from runtime.measure.figures import Estimate, Summary
from runtime.measure.machine import processor
from runtime.output import make_folder, write_text

ROOT = Path(__file__).parents[1]
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "onnx")
DECIDES = (
    "kernels/*.py",
    "export/networks/*.py",
    "export/bundling.py",
    "export/methods/grnr.py",
    "runtime/detector.py",
    "runtime/opening.py",
    "runtime/heads/grnr.py",
    "runtime/networks/onnxruntime.py",
    "runtime/images/*.py",
    "runtime/measure/*.py",
)
"""Source files whose change makes a row stale."""

_READING = """\
Value (95 % bootstrap interval over images; several images of one part make it too narrow). Pixel AUROC
is pooled over all inspected pixels; AUPRO up to a false-positive rate of 0.3; F1 is the best over all
thresholds, chosen on the same images. `excluded` is the share of pixels outside the inspected area and
the defect regions that lie wholly there: they are in no pixel figure, so rows that exclude differently
are not judged on the same pixels. CPU ms: processor time of the detector alone, one thread, median over 20
images; not wall time, so other work on the machine hardly counts. The defaults were chosen on these sets:
their gains are optimistic."""
_FEW = (
    "With good images as memory, mean over draws (least to greatest); false rejects and escapes at the\n"
    "threshold that the export suggested from them, expected false rejects 1 / (n + 1):"
)


class Head(msgspec.Struct, frozen=True):
    """Where and with what the last run was made."""

    commit: str
    """With `+` where files of the code that decides a row were changed after it."""
    code: str
    """SHA-256 over the source files that decide a row."""
    data: str
    """SHA-256 of the data folder's SHA256SUMS."""
    machine: str
    versions: dict[str, str]
    command: str
    workers: int


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One set with one backbone and preset; `summary` or `error`."""

    key: str
    set: str
    backbone: str
    preset: str
    shots: int
    draw: int
    limit: int | None
    margin: float | None
    commit: str
    code: str
    data: str = ""
    workers: int = 1
    summary: Summary | None = None
    cpu_ms: float | None = None
    """Processor time of the detector per image, median."""
    error: str | None = None


class Report(msgspec.Struct, frozen=True):
    """results/accuracy.json."""

    head: Head | None
    rows: list[Row]


def machine(data: Path, words: Sequence[str], workers: int) -> Head:
    """Facts of this run.

    Raises:
        ConfigError: the data folder has no SHA256SUMS.
    """
    try:
        sums = hashlib.sha256((data / "SHA256SUMS").read_bytes()).hexdigest()
    except OSError:
        raise ConfigError(f"{data}: no SHA256SUMS; make it with: sha256sum */*/*/* > SHA256SUMS") from None
    files = _deciding_files()
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    changed = _git("status", "--porcelain", "--", *(str(path) for path in files))
    return Head(
        commit=_git("rev-parse", "HEAD")[:12] + ("+" if changed else ""),
        code=digest.hexdigest(),
        data=sums,
        machine=f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        command=f"python -m benchmarks.bench_accuracy {shlex.join(words)}",
        workers=workers,
    )


def load_report(path: Path) -> Report:
    """Earlier rows, or none where there is no file.

    Raises:
        ConfigError: the file is no report of this form.
    """
    if not path.exists():
        return Report(None, [])
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}; move it away to start anew") from None


def save_report(report: Report, results: Path, page: Path) -> None:
    """Writes the rows and the page made from them."""
    make_folder(results.parent)
    text = msgspec.json.format(msgspec.json.encode(report), indent=1).decode()
    write_text(results, text + "\n")
    write_text(page, to_page(report))


def to_page(report: Report) -> str:
    """The report as Markdown: one table per set, limited rows left out unless there are no others."""
    rows = [row for row in report.rows if row.limit is None] or list(report.rows)
    parts = [
        "# Accuracy of GRNR",
        "Written by `benchmarks/bench_accuracy.py`; every figure stands in `results/accuracy.json`.",
        _head_lines(report.head, rows),
        _READING,
    ]
    for name in sorted({row.set for row in rows}):
        parts += [f"## {name}", *_set_lines([row for row in rows if row.set == name])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head_lines(head: Head | None, rows: Sequence[Row]) -> str:
    if head is None:
        return ""
    commits = ", ".join(sorted({row.commit for row in rows}))
    stale = sum((row.code, row.data) != (head.code, head.data) for row in rows)
    lines = [
        f"- commit of the rows: {commits}",
        f"- SHA-256 of the data's SHA256SUMS: {head.data}",
        f"- machine: {head.machine}; {head.workers} workers at once, one thread each",
        f"- versions: {', '.join(f'{name} {value}' for name, value in head.versions.items())}",
        f"- last command: `{head.command}`",
    ]
    if stale:
        lines.append(f"- {stale} of {len(rows)} rows are from other code or data than the last run")
    return "\n".join(lines)


def _set_lines(rows: Sequence[Row]) -> list[str]:
    zero = [row for row in rows if row.shots == 0]
    few = [row for row in rows if row.shots]
    counts = next((row.summary.images for row in rows if row.summary is not None), {})
    lines = [", ".join(f"{count} {kind}" for kind, count in counts.items())]
    if zero:
        lines.append(_zero_table(zero))
    if few:
        lines.append(_FEW)
        lines.append(_few_table(few))
    notes = sorted(
        {f"{_preset(r)}: {note}" for r in rows if r.summary is not None for note in r.summary.notes}
    )
    failed = [f"{row.key}: {row.error}" for row in rows if row.error is not None]
    lines.append("\n".join(f"- {line}" for line in notes + failed))
    return lines


def _zero_table(rows: Sequence[Row]) -> str:
    cells = []
    for row in sorted(rows, key=lambda r: (r.backbone, r.preset, r.margin or 0)):
        s = row.summary
        figures = [None] * 4 if s is None else [s.image_auroc, s.pixel_auroc, s.aupro, s.f1_max]
        time = "-" if row.cpu_ms is None else f"{row.cpu_ms:.0f}"
        cells.append([row.backbone, _preset(row), *map(_interval, figures), _excluded(s), time])
    names = ["backbone", "preset", "image AUROC", "pixel AUROC", "AUPRO", "F1-max", "excluded", "CPU ms"]
    return _table(names, cells)


def _few_table(rows: Sequence[Row]) -> str:
    """One line per backbone and number of good images, over the draws."""
    cells = []
    groups = sorted({(row.backbone, row.shots, _preset(row)) for row in rows})
    for backbone, shots, preset in groups:
        found = [
            row.summary
            for row in rows
            if (row.backbone, row.shots, _preset(row)) == (backbone, shots, preset)
            and row.summary is not None
        ]
        figures = [[s.image_auroc for s in found], [s.pixel_auroc for s in found], [s.aupro for s in found]]
        at = [s.at_threshold for s in found if s.at_threshold is not None]
        good = [s.good_scores.images if s.good_scores is not None else 0 for s in found]
        bad = [sum(kind.images for kind in s.kinds) for s in found]
        rates = [_share([a.false_rejects for a in at], good), _share([a.escapes for a in at], bad)]
        cells.append([backbone, preset, str(shots), str(len(found)), *map(_range, figures), *rates])
    names = ["backbone", "preset", "good", "draws", "image AUROC", "pixel AUROC", "AUPRO"]
    return _table([*names, "false rejects", "escapes"], cells)


def _preset(row: Row) -> str:
    return row.preset if row.margin is None else f"{row.preset}, margin {row.margin:g}"


def _table(names: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    lines = [list(names), ["---"] * len(names), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _interval(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _range(estimates: Sequence[Estimate | None]) -> str:
    values = [estimate.value for estimate in estimates if estimate is not None]
    if not values:
        return "-"
    return f"{statistics.fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _excluded(summary: Summary | None) -> str:
    if summary is None:
        return "-"
    outside = f", {summary.regions_outside} regions" if summary.regions_outside else ""
    return f"{summary.excluded_share:.0%}{outside}"


def _share(counts: Sequence[int], of: Sequence[int]) -> str:
    """Mean share over draws, at the threshold that the export suggested."""
    return f"{sum(counts) / sum(of):.0%}" if counts and sum(of) else "-"


def _deciding_files() -> list[Path]:
    return sorted(path for pattern in DECIDES for path in ROOT.glob(pattern))


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or ("unknown" if words[0] == "rev-parse" else "")
