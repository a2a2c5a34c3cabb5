"""What a station does about faults of its camera, its pictures and its disk, as the line sees it.

    python -m benchmarks.bench_faults          # writes results/faults.json and the table in docs/faults.md

A station with real sockets and threads is triggered every 40 ms, whether it answers or not. After a second
the fault is put in, and taken out again `SECONDS` later. Times count from there to the moment the line knows:
the arrival of an answer, or of a message about the state. The detector is scripted, so that every sound
picture is OK.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmarks import fault_rigs
from benchmarks.fault_rigs import Rig
from runtime.bus.client import Client
from runtime.measure.machine import Machine, this_machine
from runtime.output import write_json, write_text
from runtime.pipeline import Pipeline
from runtime.provenance import EngineFacts, Provenance, RecipeFacts
from runtime.quality import QualityLimits
from runtime.scripted import ScriptedDetector
from runtime.settings import Settings
from runtime.state import RUNNING
from runtime.terms import Thresholds

RESULTS = Path(__file__).parent / "results" / "faults.json"
PAGE = Path(__file__).parents[1] / "docs" / "faults.md"
MARKS = ("<!-- table: python -m benchmarks.bench_faults -->\n", "<!-- end -->\n")
COLUMNS = (
    "row",
    "fault",
    "detected",
    "Ready off",
    "recovered",
    "answers meanwhile",
    "OK meanwhile",
    "missing",
)

PERIOD_S = 0.04
BEFORE, SECONDS = 25, 1.5
"""Parts before the fault, and how long it lasts."""
GOOD_AGAIN = 5
"""OK parts in a row after which it counts as recovered."""
PATIENCE_S = 10.0
DEADLINE_MS, FRAME_TIMEOUT_MS = 250, 100


class Case(NamedTuple):
    """One fault; `row` is that of the fault table in the line interface contract, section 6.3."""

    row: str
    name: str
    rig: Callable[[str, Path], AbstractContextManager[Rig]]
    fault: str


CASES = (
    Case("1", "GigE camera gone (killed, started again)", fault_rigs.gige, "kill"),
    Case("1", "RTSP camera gone (killed, started again)", fault_rigs.rtsp, "kill"),
    Case("1", "camera lost by its driver", fault_rigs.synthetic, "lost"),
    Case("2", "GigE camera frozen (SIGSTOP)", fault_rigs.gige, "freeze"),
    Case("2", "RTSP camera frozen (SIGSTOP)", fault_rigs.rtsp, "freeze"),
    Case("3", "last picture repeated under new numbers", fault_rigs.synthetic, "repeated"),
    Case("3", "last frame repeated under its old number", fault_rigs.synthetic, "stale"),
    Case("5", "black picture", fault_rigs.synthetic, "dark"),
    Case("5", "overexposed picture", fault_rigs.synthetic, "bright"),
    Case("5", "blurred picture", fault_rigs.synthetic, "blurred"),
    Case("5", "two fifths of the view covered", fault_rigs.synthetic, "covered"),
    Case("6", "GigE camera loses 2 % of its packets", fault_rigs.gige, "packets"),
    Case("7", "picture cannot be decoded", fault_rigs.synthetic, "decode"),
    Case("8", "picture of another size", fault_rigs.synthetic, "format"),
    Case("9", "capture call hangs", fault_rigs.synthetic, "hang"),
    Case("29", "disk of the records full", fault_rigs.store, "full"),
    Case("30", "disk of the records stalls", fault_rigs.store, "slow"),
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One fault as the line saw it."""

    row: str
    fault: str
    detected_ms: float | None
    """From the fault to the first answer that is not a plain OK; None: none came."""
    ready_off_ms: float | None
    """To the message that no trigger is accepted; None: they were, all the time."""
    recovered_ms: float | None
    """From the end of the fault to the first of `GOOD_AGAIN` OK parts in a row."""
    answers: dict[str, int]
    """What the parts triggered during the fault were answered."""
    ok: int
    """Of those, OK."""
    missing: int
    """Parts of the whole run without any answer."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The result file."""

    machine: Machine
    rows: list[Row]
    not_played: dict[str, str]
    """Fault -> why not."""


class Answer(NamedTuple):
    """What became of a part; times of the line's own clock, s."""

    sent_s: float
    told_s: float
    text: str


def main() -> int:
    """Plays every case that runs here."""
    machine, rows, not_played = this_machine(), [], {}
    for case in CASES:
        why = fault_rigs.runs_here(case.rig, case.fault)
        if why is not None:
            not_played[case.name] = why
            continue
        rows.append(play(case))
        print(_cells(rows[-1]), flush=True)
    result = Result(machine=machine, rows=rows, not_played=not_played)
    write_json(RESULTS, result)
    before, rest = PAGE.read_text("utf-8").split(MARKS[0])
    write_text(PAGE, before + MARKS[0] + page(result) + MARKS[1] + rest.split(MARKS[1])[1])
    return int(any(row.missing for row in rows))


def play(case: Case) -> Row:
    """One station with one fault."""
    with tempfile.TemporaryDirectory() as folder, case.rig(case.fault, Path(folder)) as rig:
        pipeline = Pipeline(
            settings_of(rig.quality), rig.open_source, lambda: ScriptedDetector([0.5]), recorder=rig.recorder
        )
        pipeline.start()
        try:
            assert pipeline.wait_ready(30)
            with Client(*pipeline.endpoints) as client:
                assert client.wait_subscribed(5000)
                return Line(client, plain="OK yes" if rig.recorder else "OK").play(case, rig)
        finally:
            rig.remove()
            pipeline.finish(20)


class Line:
    """Triggers at a fixed pace and hears what comes of it."""

    def __init__(self, client: Client, plain: str) -> None:
        """`plain` is the answer of a part with which nothing is wrong."""
        self._client, self._plain = client, plain
        self._sent: dict[int, float] = {}
        self._answers: dict[int, Answer] = {}
        self._ready_off: list[float] = []
        self._next_s = time.monotonic()

    def play(self, case: Case, rig: Rig) -> Row:
        """Before, during and after the fault."""
        self._run(lambda: len(self._sent) >= BEFORE)
        began_s, first = time.monotonic(), len(self._sent) + 1
        rig.inject()
        self._run(lambda: time.monotonic() >= began_s + SECONDS)
        ended_s, last = time.monotonic(), len(self._sent)
        rig.remove()
        self._run(lambda: self._good_since(ended_s) or time.monotonic() > ended_s + PATIENCE_S)
        sent, until_s = set(self._sent), time.monotonic() + 1
        while sent - set(self._answers) and time.monotonic() < until_s:
            self._hear(until_s)
        during = [self._answers[n] for n in range(first, last + 1) if n in self._answers]
        wrong = [a.told_s for a in self._answers.values() if a.text != self._plain and a.told_s >= began_s]
        off = [moment for moment in self._ready_off if moment >= began_s]
        good = self._good_since(ended_s)
        return Row(
            row=case.row,
            fault=case.name,
            detected_ms=_ms(began_s, min(wrong, default=None)),
            ready_off_ms=_ms(began_s, min(off, default=None)),
            recovered_ms=_ms(ended_s, good),
            answers=dict(Counter(answer.text for answer in during).most_common()),
            ok=sum(answer.text.startswith("OK") for answer in during),
            missing=len(sent - set(self._answers)),
        )

    def _run(self, done: Callable[[], object]) -> None:
        while not done():
            number = len(self._sent) + 1
            self._sent[number] = sent_s = time.monotonic()
            reply = self._client.trigger(number)
            if not reply["ok"]:
                self._answers[number] = Answer(sent_s, time.monotonic(), f"refused: {reply['code']}")
            self._next_s = max(self._next_s + PERIOD_S, time.monotonic())
            while time.monotonic() < self._next_s:
                self._hear(self._next_s)

    def _hear(self, until_s: float) -> None:
        message = self._client.receive(max(0, round(1000 * (until_s - time.monotonic()))))
        if message is None:
            return
        now_s, body = time.monotonic(), message.body
        if message.kind == "state" and body["from"] in RUNNING and body["to"] == 1:
            self._ready_off.append(now_s)
        if message.kind == "verdict":
            number = body["trigger_id"]
            self._answers.setdefault(number, Answer(self._sent[number], now_s, self._text(body)))

    def _text(self, body: dict[str, Any]) -> str:
        words = [body["verdict"], *body["reasons"]]
        return " ".join([*words, body["stored"]] if self._plain == "OK yes" else words)

    def _good_since(self, since_s: float) -> float | None:
        """Arrival of the first of `GOOD_AGAIN` plain OK in a row, of parts triggered since then."""
        later = sorted(a for a in self._answers.values() if a.sent_s >= since_s)
        for n in range(len(later) - GOOD_AGAIN + 1):
            if all(answer.text == self._plain for answer in later[n : n + GOOD_AGAIN]):
                return later[n].told_s
        return None


def page(result: Result) -> str:
    """The table and what it was measured on, as it stands in docs/faults.md."""
    machine = result.machine
    head = (
        f"A part every {1000 * PERIOD_S:.0f} ms; deadline {DEADLINE_MS} ms, {FRAME_TIMEOUT_MS} ms for the "
        f"frame; each fault lasts {SECONDS} s. {machine.processor}, {machine.cpus} CPUs, commit "
        f"{machine.commit}."
    )
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS), *map(_cells, result.rows)]
    missed = [f"Not played here: {name} ({why})." for name, why in result.not_played.items()]
    return "\n".join(
        ["", head, "", *(f"| {line} |" for line in lines), "", *missed, *([""] if missed else [])]
    )


def _cells(row: Row) -> str:
    answers = ", ".join(f"{count} {text}" for text, count in row.answers.items())
    times = (row.detected_ms, row.ready_off_ms, row.recovered_ms)
    return " | ".join((row.row, row.fault, *map(_time, times), answers, str(row.ok), str(row.missing)))


def _time(ms: float | None) -> str:
    return "-" if ms is None else f"{ms:.0f} ms"


def _ms(since_s: float, moment_s: float | None) -> float | None:
    return None if moment_s is None else round(1000 * (moment_s - since_s), 1)


def settings_of(quality: QualityLimits) -> Settings:
    """A station on free loopback ports."""
    recipe, engine = RecipeFacts("faults", "1", 0, "0" * 64), EngineFacts("scripted", "0" * 64, "none", "cpu")
    return Settings(
        provenance=Provenance("faults", "web", recipe, engine, "camera", True),
        thresholds=Thresholds(1.0),
        deadline_ms=DEADLINE_MS,
        frame_timeout_ms=FRAME_TIMEOUT_MS,
        queue=8,
        bus="tcp://127.0.0.1:*",
        control="tcp://127.0.0.1:*",
        quality=quality,
    )


if __name__ == "__main__":
    sys.exit(main())
