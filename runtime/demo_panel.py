"""What `gonogo demo` shows: the last verdicts beside the truth, and how the station does."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .scorecard import ROWS, Answered, Score
from .sources.defects import Defect
from .state import state_name
from .verbs.watch import COLOURS
from .virtual_plc import Report

BAR = 24
"""Characters of the bar that shows the score; its middle is the threshold."""


@dataclass(frozen=True, slots=True)
class Panel:
    """The whole picture from one report; pure."""

    title: str

    def render(self, report: Report | None) -> RenderableType:
        """Title, table of answers, figures."""
        if report is None:
            return Text(f"{self.title}\nopening the station ...", "dim")
        return Group(Text(self.title, "bold"), _answers(report.recent), figures(report))


def figures(report: Report) -> Table:
    """What the virtual PLC counted, a line per question."""
    score = report.score
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    good = score.triggers - report.defective
    grid.add_row("parts", f"{score.triggers} triggers, {score.verdicts} verdicts, {score.fps:.1f} per second")
    grid.add_row("defective", _counted(report.defective, "passed the gate (escapes)", score.escapes, "red"))
    grid.add_row("good", _counted(good, "rejected (false rejects)", score.false_rejects, "yellow"))
    grid.add_row("owed", _owed(score, report.invalid))
    grid.add_row("latency", _latency(score))
    grid.add_row("station", f"{state_name(report.state)}, health {' '.join(report.health)}")
    return grid


def _counted(parts: int, what: str, count: int, colour: str) -> Text:
    share = f", {count / parts:.1%}" if parts else ""
    return Text.assemble(f"{parts} parts, ", (f"{count} {what}{share}", colour if count else "green"))


def _owed(score: Score, invalid: int) -> Text:
    counts = f"{score.missing} missing, {score.duplicated} duplicated, {score.late} late"
    return Text.assemble((counts, "green" if score.kept else "bold red"), f", {invalid} INVALID")


def _latency(score: Score) -> str:
    found = score.latency_ms
    if found.p50 is None or found.p99 is None or found.p999 is None:
        return "no verdict yet"
    return f"trigger to verdict p50 {found.p50:.1f} ms, p99 {found.p99:.1f} ms, p99.9 {found.p999:.1f} ms"


def _answers(recent: tuple[Answered, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("part", justify="right")
    table.add_column("truth", min_width=28)
    table.add_column("score, threshold at the line", min_width=BAR)
    table.add_column("", justify="right", min_width=6)
    table.add_column("verdict", min_width=7)
    table.add_column("gate", min_width=12)
    table.add_column("ms", justify="right", min_width=5)
    for answered in recent:
        table.add_row(*_row(answered))
    for _ in range(ROWS - len(recent)):
        table.add_row()
    return table


def _row(answered: Answered) -> tuple[RenderableType, ...]:
    verdict, part = answered.verdict, answered.part
    colour = COLOURS.get(verdict["verdict"], "magenta")
    score = verdict["score"]
    return (
        str(part.trigger_id),
        Text("good", "dim") if not part.defects else Text(_named(part.defects[0])),
        _bar(verdict["pred_score"], colour),
        "-" if score is None else f"{score:.3f}",
        Text(verdict["verdict"], colour),
        _gate(answered),
        f"{answered.latency_us / 1000:.1f}",
    )


def _named(defect: Defect) -> str:
    kind = defect.kind.replace("_", " ")
    return f"{kind}, {defect.size_px:.0f} px, {100 * defect.contrast:+.0f} %"


def _bar(pred_score: float | None, colour: str) -> Text:
    """A bar of pred_score 0..1 with a mark at the threshold, 0.5."""
    if pred_score is None:
        return Text("")
    full = round(BAR * pred_score)
    bar = Text("━" * full + " " * (BAR - full), colour)
    middle = BAR // 2
    return Text.assemble(bar[:middle], ("│", "bold"), bar[middle:])


def _gate(answered: Answered) -> Text:
    if answered.escape:
        return Text("ESCAPE", "bold white on red")
    if answered.false_reject:
        return Text("false reject", "bold black on yellow")
    return Text("passes", "green") if answered.passed else Text("rejects", "red")
