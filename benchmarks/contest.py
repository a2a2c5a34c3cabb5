"""One piece of work, done by our kernels, by their peers and by what sets the limit: rows of a benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from .timing import interleave

Call = Callable[[], Any]
Role = Literal["native", "reference", "peer", "limit"]


class Absent(Exception):
    """An entrant cannot be had here; the message says why."""


@dataclass(frozen=True)
class Entrant:
    """One way of doing the work of a row."""

    name: str
    role: Role
    """"native" and "reference" are ours; a "limit" does a part of the work; who is faster does less."""
    open: Callable[[Any], Call]
    """From the row's input to the call that is timed, its memory allocated, its threads set to one.

    ImportError: not installed. Absent: not for this machine. What the call returns is compared."""
    setting: str = ""
    """What was chosen for it, as it is printed: each peer gets its best."""


@dataclass(frozen=True)
class Row:
    """One line of the issue's table of targets."""

    work: str
    target: str
    """What is to be reached, in words."""
    make: Callable[[], Any]
    """The input of every entrant; seeded."""
    entrants: tuple[Entrant, ...]
    compare: Callable[[Any, Any], str]
    """(an answer, the right answer) -> how far they are apart, in a few words."""
    right: Callable[[Any], Any] | None = None
    """The right answer from the input; None: that of the reference."""
    note: str = ""
    """What a reader must know."""


class Line(msgspec.Struct, frozen=True):
    """One entrant's result."""

    name: str
    role: Role
    setting: str
    ms: float | None = None
    """Median CPU time of one call; None where it is missing."""
    ms_low: float | None = None
    """Tenth percentile."""
    ms_high: float | None = None
    """Ninetieth."""
    ratio: float | None = None
    """ms over the native kernel's ms, or over the reference's where there is no native one."""
    agreement: str = ""
    missing: str = ""
    """Why there is no time."""


class Result(msgspec.Struct, frozen=True):
    """One row, measured."""

    work: str
    target: str
    note: str
    busy: float
    """CPU time over wall time while it was measured; see `timing.Times`."""
    rounds: int
    lines: list[Line]


def hold(row: Row, budget_s: float) -> Result:
    """Opens every entrant of a row, compares the answers and times them in turn."""
    given = row.make()
    calls: dict[str, Call] = {}
    missing: dict[str, str] = {}
    for entrant in row.entrants:
        try:
            calls[entrant.name] = entrant.open(given)
        except ImportError as error:
            missing[entrant.name] = f"not installed: {error.name or error}"
        except Absent as error:
            missing[entrant.name] = str(error)
    agreement = _compare(row, given, calls)
    times = interleave(calls, budget_s)
    base = _base(row, times.seconds)
    lines = [_line(e, times.seconds.get(e.name), base, agreement, missing) for e in row.entrants]
    rounds = min(map(len, times.seconds.values()), default=0)
    return Result(row.work, row.target, row.note, round(times.busy, 3), rounds, lines)


def _compare(row: Row, given: Any, calls: dict[str, Call]) -> dict[str, str]:
    does_all = [entrant for entrant in row.entrants if entrant.role != "limit" and entrant.name in calls]
    reference = [entrant.name for entrant in does_all if entrant.role == "reference"]
    if row.right is None and not reference:
        return {}
    right = row.right(given) if row.right is not None else calls[reference[0]]()
    return {entrant.name: row.compare(calls[entrant.name](), right) for entrant in does_all}


def _base(row: Row, seconds: dict[str, list[float]]) -> float | None:
    """Median of ours: the first native entrant that ran, else the reference."""
    ours = [entrant for entrant in row.entrants if entrant.role in ("native", "reference")]
    ran = [entrant.name for entrant in sorted(ours, key=lambda e: e.role) if entrant.name in seconds]
    return statistics.median(seconds[ran[0]]) if ran else None


def _line(
    entrant: Entrant,
    seconds: list[float] | None,
    base: float | None,
    agreement: dict[str, str],
    missing: dict[str, str],
) -> Line:
    name, role, setting = entrant.name, entrant.role, entrant.setting
    if not seconds:
        return Line(name, role, setting, missing=missing[name])
    ordered = sorted(seconds)
    median = statistics.median(ordered)
    low, high = (ordered[round(share * (len(ordered) - 1))] for share in (0.1, 0.9))
    ratio = None if base is None else round(median / base, 3)
    ms, ms_low, ms_high = (round(1000 * value, 5) for value in (median, low, high))
    return Line(name, role, setting, ms, ms_low, ms_high, ratio, agreement.get(name, ""))
