"""Which hangs a station survives, counted by the line.

    python -m benchmarks.bench_hangs [--realtime]

The station is `gonogo run` in a process of its own, with the demo's bundle and a hang on a script (`stalls`
of its file, or a source of kind `faulty`). This process plays the line: parts at a fixed pace, whether
answers come or not, each trigger refused by the station once it is older than the deadline. A part is
answered by a verdict or a refusal; on time is the deadline and `GRACE_MS`, from sending to arrival on the
line's own clock. Writes results/hangs.json and the table in docs/hangs.md. On a machine that does other work,
--realtime lets both processes go before others.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import zmq

from runtime.assembly import WARM_RUNS
from runtime.bus.client import Client
from runtime.measure.machine import Machine, this_machine
from runtime.output import write_json, write_text
from runtime.recipe import load_recipe

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "runtime" / "data" / "demo" / "recipe.yaml"
RESULTS = Path(__file__).parent / "results" / "hangs.json"
PAGE = ROOT / "docs" / "hangs.md"
MARKS = ("<!-- table: python -m benchmarks.bench_hangs -->\n", "<!-- end -->\n")
"""Between them stands the table."""
COLUMNS = (
    *("hang", "lasts", "OK on time", "reject on time", "late", "late and OK", "missing"),
    *("latest answer", "exit code"),
)

PARTS, PERIOD_S = 100, 0.05
HANG_AT = 20
"""Part during which it hangs."""
GRACE_MS = 5.0
"""Of the timer, two sockets and the kernel."""
PATIENCE_S = 3.0
"""How long answers are awaited after the last part."""
END_S = 8.0
FOR_EVER_S = 3600.0

STATION = """\
line: hangs
station: web
recipe: {recipe}
source: {source}
queue: 8
bus: tcp://127.0.0.1:*
control: tcp://127.0.0.1:*
"""
WEB = "{kind: synthetic, width: 640, height: 512, rate_hz: null, buffers: 16}"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One hang as the line saw it; all counts are parts."""

    hang: str
    """What hangs, and how."""
    seconds: float | None
    """None: for ever."""
    ok: int
    """OK on time: passed."""
    rejected: int
    """Another answer on time: rejected, and known why."""
    late: int
    """An answer after the time; the line has rejected the part by its own clock."""
    late_ok: int
    """Of those, OK: never."""
    missing: int
    """No answer at all."""
    worst_ms: float | None
    """The latest answer, ms after the deadline; None: none came after it."""
    exit: int | None
    """Exit code after SIGTERM; None: had to be killed."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The result file."""

    machine: Machine
    scheduling: str
    parts: int
    period_ms: float
    deadline_ms: float
    grace_ms: float
    rows: list[Row]


def main() -> int:
    """Plays every hang, and writes and prints what came of it."""
    realtime = _arguments().realtime
    if realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))  # the station inherits it
    machine, deadline_ms = this_machine(), load_recipe(RECIPE).deadline_ms
    rows = [play(*case, deadline_ms) for case in CASES]
    result = Result(
        machine=machine,
        scheduling="realtime" if realtime else "normal",
        parts=PARTS,
        period_ms=1000 * PERIOD_S,
        deadline_ms=deadline_ms,
        grace_ms=GRACE_MS,
        rows=rows,
    )
    write_json(RESULTS, result)
    before, rest = PAGE.read_text("utf-8").split(MARKS[0])
    write_text(PAGE, before + MARKS[0] + page(result) + MARKS[1] + rest.split(MARKS[1])[1])
    print(page(result))
    return 0


CASES: list[tuple[str, float | None]] = [
    ("none", 0.0),
    ("source", 2.0),
    ("network sleeps", 0.5),
    ("network sleeps", 2.0),
    ("network sleeps", None),
    ("network holds the GIL", 0.5),
    ("network holds the GIL", 2.0),
    ("network holds the GIL", None),
]


def station_text(hang: str, seconds: float | None) -> str:
    """The station file of a case."""
    lasts = FOR_EVER_S if seconds is None else seconds
    fault = f"{{frame: {HANG_AT}, kind: hang, seconds: {lasts}}}"
    source = f"{{kind: faulty, source: {WEB}, faults: [{fault}]}}" if hang == "source" else WEB
    text = STATION.format(recipe=RECIPE, source=source)
    kind = {"network sleeps": "sleep", "network holds the GIL": "hold_gil"}.get(hang)
    stall = f"stalls: [{{run: {WARM_RUNS + HANG_AT}, kind: {kind}, seconds: {lasts}}}]\n"
    return text if kind is None else text + stall


def play(hang: str, seconds: float | None, deadline_ms: float) -> Row:
    """One station from start to end, with its hang."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "station.yaml"
        path.write_text(station_text(hang, seconds), "utf-8")
        command = [sys.executable, "-m", "gonogo", "run", str(path)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.search(r"verdicts on (\S+), control on (\S+)", line)
            if found is None:
                raise RuntimeError(f"the station did not start: {line}{process.stderr.read()}")
            answers = issue(found[1], found[2], deadline_ms)
            code = _end(process)
        finally:
            process.kill()
            process.communicate()
    return _row(hang, seconds, answers, deadline_ms, code)


def issue(bus: str, control: str, deadline_ms: float) -> dict[int, tuple[str, float]]:
    """Sends all parts and returns by part the first answer, verdict or refusal, and its latency, ms."""
    sent_s: dict[int, float] = {}
    answers: dict[int, tuple[str, float]] = {}

    def note(part: int, answer: str) -> None:
        answers.setdefault(part, (answer, 1000 * (time.perf_counter() - sent_s[part])))

    with Client(bus) as ear, zmq.Context() as context, context.socket(zmq.DEALER) as mouth:
        mouth.setsockopt(zmq.LINGER, 0)
        mouth.connect(control)
        if not ear.wait_subscribed(5000):
            raise RuntimeError("the station is not heard")
        start_s = time.perf_counter()
        end_s = start_s + PARTS * PERIOD_S + PATIENCE_S
        while len(answers) < PARTS and time.perf_counter() < end_s:
            if len(sent_s) < PARTS and time.perf_counter() >= start_s + len(sent_s) * PERIOD_S:
                part = len(sent_s)
                sent_s[part] = time.perf_counter()
                mouth.send_multipart((b"", _trigger(part, deadline_ms)))
            while mouth.poll(0):
                reply = msgspec.json.decode(mouth.recv_multipart()[-1])
                if not reply["ok"]:
                    note(int(reply["id"]), reply["code"])
            message = ear.receive(1)
            if message is not None and message.kind == "verdict":
                note(message.body["trigger_id"], message.body["verdict"])
    return answers


def _trigger(part: int, deadline_ms: float) -> bytes:
    request = {"p": "ctl/1", "id": str(part), "verb": "trigger", "args": {"trigger_id": part}}
    return msgspec.json.encode({**request, "t_sent_us": time.time_ns() // 1000, "ttl_ms": round(deadline_ms)})


def _end(process: subprocess.Popen[str]) -> int | None:
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(END_S)
    except subprocess.TimeoutExpired:
        return None


def _row(
    hang: str,
    seconds: float | None,
    answers: dict[int, tuple[str, float]],
    deadline_ms: float,
    code: int | None,
) -> Row:
    over = {part: ms - deadline_ms for part, (_, ms) in answers.items()}
    late = [part for part, ms in over.items() if ms > GRACE_MS]
    ok = [part for part, (answer, _) in answers.items() if answer == "OK"]
    worst = max(over.values(), default=0.0)
    return Row(
        hang=hang,
        seconds=seconds,
        ok=len(set(ok) - set(late)),
        rejected=len(answers) - len(set(ok) | set(late)),
        late=len(late),
        late_ok=len(set(ok) & set(late)),
        missing=PARTS - len(answers),
        worst_ms=round(worst, 1) if worst > 0 else None,
        exit=code,
    )


def page(result: Result) -> str:
    """The result as Markdown."""
    machine = result.machine
    lines = [
        f"{result.parts} parts, one every {result.period_ms:g} ms; deadline {result.deadline_ms:g} ms, grace "
        f"{result.grace_ms:g} ms. {machine.processor}, {machine.cpus} CPUs shared with other work (load "
        f"{machine.load_before:g}), {result.scheduling} scheduling, commit {machine.commit}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{' --- |' * len(COLUMNS)}",
    ]
    for row in result.rows:
        lasts = "for ever" if row.seconds is None else f"{row.seconds:g} s"
        worst = "-" if row.worst_ms is None else f"deadline + {row.worst_ms:g} ms"
        counts = (row.ok, row.rejected, row.late, row.late_ok, row.missing)
        code = "killed" if row.exit is None else row.exit
        lines.append(f"| {' | '.join(map(str, (row.hang, lasts, *counts, worst, code)))} |")
    return "\n".join(["", *lines, "", ""])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Which hangs a station survives.")
    parser.add_argument("--realtime", action="store_true", help="go before all other processes (Linux, root)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
