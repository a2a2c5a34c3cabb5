"""What `gonogo demo` shows: the last verdicts beside the truth, and how the station does."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..sources.defects import Defect
from ..state import state_name
from ..verbs.watch import COLOURS
from .scorecard import Answered, Score
from .virtual_plc import Report

LAST, NOTABLE = 4, 6
"""Rows of the two tables: answers as they come, and those that a reader would otherwise not catch."""
BAR_WIDTH = (9, 25)
"""Least and most characters of a score's bar."""


@dataclass(frozen=True, slots=True)
class Panel:
    """The whole picture from one report; pure."""

    title: str

    def render(self, report: Report | None) -> RenderableType:
        """Title, answers, figures."""
        if report is None:
            return Text.assemble((self.title, "bold"), ("\nopening the station ...", "dim"))
        return Group(Text(self.title, "bold"), _answers(report), figures(report))


def figures(report: Report) -> Table:
    """What the virtual PLC counted, a line per question."""
    score = report.score
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    good = score.triggers - report.defective
    grid.add_row("parts", f"{score.triggers} triggers, {score.verdicts} verdicts, {score.fps:.1f} per second")
    grid.add_row("defective", _counted(report.defective, "escaped", score.escapes, "red"))
    grid.add_row("good", _counted(good, "falsely rejected", score.false_rejects, "yellow"))
    grid.add_row("answers", _owed(score, report.invalid))
    grid.add_row("latency", _latency(score))
    grid.add_row("station", f"{state_name(report.state)}, health {', '.join(report.health)}")
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


def _answers(report: Report) -> Table:
    """The last answers, and below them the last that had a defect or were rejected; oldest first."""
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    table.add_column("part", justify="right", min_width=6)
    table.add_column("truth", min_width=26, no_wrap=True)
    table.add_column("score", justify="right", min_width=6)
    table.add_column("threshold ┃", min_width=BAR_WIDTH[0])
    table.add_column("verdict", min_width=7)
    table.add_column("gate", min_width=12)
    table.add_column("ms", justify="right", min_width=5)
    for answers, rows in ((report.recent, LAST), (report.notable, NOTABLE)):
        for answered in answers[-rows:]:
            table.add_row(*_row(answered))
        for _ in range(rows - len(answers)):
            table.add_row()
        table.add_section()
    return table


def _row(answered: Answered) -> tuple[RenderableType, ...]:
    verdict, part = answered.verdict, answered.part
    colour = COLOURS.get(verdict["verdict"], "magenta")
    score = verdict["score"]
    return (
        str(part.trigger_id),
        Text("good", "dim") if not part.defects else Text(_named(part.defects[0])),
        "-" if score is None else f"{score:.3f}",
        Bar(verdict["pred_score"], colour),
        Text(verdict["verdict"], colour),
        _gate(answered),
        f"{answered.latency_us / 1000:.1f}",
    )


def _named(defect: Defect) -> str:
    return f"{defect.kind.replace('_', ' ')} {defect.size_px:.0f} px {100 * defect.contrast:+.0f}%"


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of pred_score, 0..1, with a mark at the threshold, 0.5; as wide as there is room."""

    pred_score: float | None
    colour: str

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Between the two of `BAR_WIDTH`."""
        return Measurement(*BAR_WIDTH)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One line."""
        width, middle = options.max_width, options.max_width // 2
        full = round(width * (self.pred_score or 0))
        bar = Text("━" * full + " " * (width - full), self.colour)
        yield Text.assemble(bar[:middle], ("┃", "bold"), bar[middle + 1 :])


def _gate(answered: Answered) -> Text:
    if answered.escape:
        return Text("ESCAPE", "bold white on red")
    if answered.false_reject:
        return Text("FALSE REJECT", "bold black on yellow")
    return Text("pass", "green") if answered.passed else Text("reject", "red")
