"""The page made from the rows of the accuracy benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from benchmarks.accuracy_common import interval
from benchmarks.accuracy_report import Report, Row, Run
from runtime.measure.figures import Estimate, Summary

Get = Callable[[Summary], Estimate | None]

_READING = """\
Value (95 % bootstrap interval over images; several images of one part make it too narrow). Pixel AUROC
is pooled over all inspected pixels; AUPRO up to a false-positive rate of 0.3; F1 is the best over all
thresholds, chosen on the same images. `excluded` is the share of pixels outside the inspected area and
the defect regions that lie wholly there: they are in no pixel figure, so presets that exclude differently
are not judged on the same pixels. CPU ms: processor time of the whole detector, one thread, median over 20
images; not wall time, so other work on the machine hardly counts. The defaults were chosen on these sets:
their gains are optimistic."""
_FEW = """\
Good images as memory: each cell's global vector is its nearest embedding of them. Mean over the draws
(least to greatest), 0 = zero-shot. False rejects and escapes at the threshold just above the greatest
score of the good images, each judged without itself; expected false rejects 1 / (n + 1)."""
_TRIED = """\
One change at a time to preset `default`, zero-shot, all images: image AUROC / pixel AUROC. The last two
columns are the mean change over the texture sets. What stands below zero did not help; what stands
within .01 of it is no better than chance on sets of this size."""


def to_page(report: Report) -> str:
    """The report as Markdown; limited rows are left out unless there are no others."""
    rows = [row for row in report.rows if row.limit is None] or list(report.rows)
    plain = [row for row in rows if not row.variant]
    textures = [name for name, kind in report.head.kinds.items() if kind == "texture"]
    parts = [
        "# Accuracy of GRNR",
        "Written by `benchmarks/bench_accuracy.py`; every figure stands in `results/accuracy.json`.",
        _head_lines(report.head, rows),
        "## Texture sets together, zero-shot",
        _mean_table([row for row in plain if row.set in textures and not row.shots]),
        "## How to read the tables",
        _READING,
    ]
    for name in sorted({row.set for row in plain}):
        kind = report.head.kinds.get(name, "unknown kind")
        parts += [f"## {name} ({kind})", *_set_lines([row for row in plain if row.set == name])]
    parts += _tried([row for row in rows if not row.shots and row.preset == "default"], textures)
    refused = [f"- {row.key}: {row.error}" for row in rows if row.error is not None]
    parts += ["## Refused by the export", "\n".join(refused)] if refused else []
    return "\n\n".join(part for part in parts if part) + "\n"


def _head_lines(head: Run, rows: Sequence[Row]) -> str:
    commits = ", ".join(sorted({row.commit for row in rows}))
    stale = sum((row.code, row.data) != (head.code, head.data) for row in rows)
    lines = [
        f"- commit of the rows: {commits}",
        f"- SHA-256 of the data's SHA256SUMS: {head.data}",
        f"- machine: {head.machine}; no GPU used, one thread per image",
        f"- versions: {', '.join(f'{name} {value}' for name, value in head.versions.items())}",
        f"- last command: `{head.command}`",
    ]
    if stale:
        lines.append(f"- {stale} of {len(rows)} rows are from other code or data than the last run")
    return "\n".join(lines)


def _mean_table(rows: Sequence[Row]) -> str:
    """Means over sets, one line per backbone and preset."""
    cells = []
    for backbone, preset in sorted({(row.backbone, row.preset) for row in rows}):
        found = [row for row in rows if (row.backbone, row.preset) == (backbone, preset)]
        times = [row.cpu_ms for row in found if row.cpu_ms is not None]
        figures = [_mean(found, lambda s: s.image_auroc), _mean(found, lambda s: s.pixel_auroc)]
        figures.append(_mean(found, lambda s: s.aupro))
        time = f"{statistics.fmean(times):.0f}" if times else "-"
        cells.append([backbone, preset, *(_plain(figure) for figure in figures), time])
    return _table(["backbone", "preset", "image AUROC", "pixel AUROC", "AUPRO", "CPU ms"], cells)


def _set_lines(rows: Sequence[Row]) -> list[str]:
    zero = [row for row in rows if not row.shots]
    judged = [row.summary for row in rows if row.summary is not None]
    counts = judged[0].images if judged else {}
    lines = [", ".join(f"{count} {kind}" for kind, count in counts.items()), _zero_table(zero)]
    if len(zero) < len(rows):
        lines += [_FEW, _few_table([row for row in rows if row.preset == "default"])]
    notes = sorted({note for summary in judged for note in summary.notes})
    lines.append("\n".join(f"- {note}" for note in notes))
    return lines


def _zero_table(rows: Sequence[Row]) -> str:
    cells = []
    for row in sorted(rows, key=lambda row: (row.backbone, row.preset)):
        s = row.summary
        figures = [None] * 4 if s is None else [s.image_auroc, s.pixel_auroc, s.aupro, s.f1_max]
        time = "-" if row.cpu_ms is None else f"{row.cpu_ms:.0f}"
        cells.append([row.backbone, row.preset, *map(interval, figures), _excluded(s), time])
    names = ["backbone", "preset", "image AUROC", "pixel AUROC", "AUPRO", "F1-max", "excluded", "CPU ms"]
    return _table(names, cells)


def _few_table(rows: Sequence[Row]) -> str:
    """One line per backbone and number of good images, over the draws."""
    cells = []
    measured = {row.backbone for row in rows if row.shots}
    for backbone, shots in sorted({(row.backbone, row.shots) for row in rows if row.backbone in measured}):
        draws = [row for row in rows if (row.backbone, row.shots) == (backbone, shots)]
        found = [row.summary for row in draws if row.summary is not None]
        figures = [[s.image_auroc for s in found], [s.pixel_auroc for s in found], [s.aupro for s in found]]
        at = [s.at_threshold for s in found if s.at_threshold is not None]
        good = [s.good_scores.images if s.good_scores is not None else 0 for s in found]
        bad = [sum(kind.images for kind in s.kinds) for s in found]
        rates = [_share([a.false_rejects for a in at], good), _share([a.escapes for a in at], bad)]
        cells.append([backbone, str(shots), str(len(found)), *map(_range, figures), *rates])
    names = ["backbone", "good", "draws", "image AUROC", "pixel AUROC", "AUPRO"]
    return _table([*names, "false rejects", "escapes"], cells)


def _tried(rows: Sequence[Row], textures: Sequence[str]) -> list[str]:
    """What was tried: a table per backbone, nothing where no variant was measured."""
    parts: list[str] = []
    for backbone in sorted({row.backbone for row in rows if row.variant}):
        own = [row for row in rows if row.backbone == backbone]
        parts += [f"### {backbone}", _variant_table(own, textures)]
    return ["## What was tried, and what did not help", _TRIED, *parts] if parts else []


def _variant_table(rows: Sequence[Row], textures: Sequence[str]) -> str:
    sets = sorted({row.set for row in rows})
    default = [row for row in rows if not row.variant]
    cells = [["default", *(_both(default, name) for name in sets), "", ""]]
    for variant in dict.fromkeys(row.variant for row in rows if row.variant):
        found = [row for row in rows if row.variant == variant]
        cells.append([variant, *(_both(found, name) for name in sets), *_changes(found, default, textures)])
    cells[1:] = sorted(cells[1:], key=lambda line: float(line[-2]), reverse=True)
    return _table(["change", *sets, "image", "pixel"], cells)


def _both(rows: Sequence[Row], name: str) -> str:
    found = [row for row in rows if row.set == name]
    return (
        f"{_plain(_mean(found, lambda s: s.image_auroc))} / {_plain(_mean(found, lambda s: s.pixel_auroc))}"
    )


def _changes(rows: Sequence[Row], default: Sequence[Row], textures: Sequence[str]) -> list[str]:
    """Mean change of image and pixel AUROC over the texture sets that both were measured on."""
    sets = {row.set for row in rows if row.summary is not None} & set(textures)
    kept = [[row for row in group if row.set in sets] for group in (rows, default)]
    gets: list[Get] = [lambda s: s.image_auroc, lambda s: s.pixel_auroc]
    pairs = [[_mean(group, get) for group in kept] for get in gets]
    return [f"{new - old:+.3f}" if new is not None and old is not None else "nan" for new, old in pairs]


def _mean(rows: Sequence[Row], get: Get) -> float | None:
    """Mean of a figure over the rows that have it."""
    found = [get(row.summary) for row in rows if row.summary is not None]
    values = [estimate.value for estimate in found if estimate is not None]
    return statistics.fmean(values) if values else None


def _table(names: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    lines = [list(names), ["---"] * len(names), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


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
