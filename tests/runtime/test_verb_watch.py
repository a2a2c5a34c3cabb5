"""`gonogo watch` as it is used: beside a station that is there, and before one that is not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import gonogo
from runtime.bus.client import Message
from runtime.bus.witness import Witness
from runtime.pipeline import Pipeline
from runtime.scripted import ScriptedDetector
from runtime.sources import SyntheticConfig, SyntheticSource
from runtime.verbs.watch import Board

Launch = Callable[..., tuple[Pipeline, Witness]]
Watch = Callable[..., "subprocess.Popen[str]"]

WAIT_S = 60.0


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Starts `gonogo watch` in processes of their own, and leaves none behind."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "gonogo", "watch", *arguments]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _moving_web() -> SyntheticSource:
    return SyntheticSource(SyntheticConfig(width=64, height=48, rate_hz=50, buffers=16))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_waits_for_a_station_and_then_prints_every_verdict_until_a_signal(
    launch: Launch, watch: Watch, tmp_path: Path, number: signal.Signals
) -> None:
    bus = f"ipc://{tmp_path}/bus"
    process = watch("--bus", bus, "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stderr.readline() == f"{bus}: no heartbeat; is the station running? waiting for it\n"
    launch(_moving_web, lambda: ScriptedDetector([0.5, 2.0]), bus=bus, trigger="free_run")
    verdicts = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert [v["seq"] - verdicts[0]["seq"] for v in verdicts] == [0, 1, 2]
    process.send_signal(number)
    _, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, err) == (0 if number == signal.SIGINT else -number, "")


def test_without_a_station_it_says_so_once_and_ends_when_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bus = f"ipc://{tmp_path}/bus"
    assert gonogo.main(["watch", "--bus", bus, "--seconds", "1.5", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"{bus}: no heartbeat; is the station running? waiting for it\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--bus", "tcp://192.168.0.1:5555"], "tcp://192.168.0.1:5555"),
        (["--bus", "5555"], "'5555'"),
        (["--seconds", "nan"], "--seconds is nan"),
    ],
)
def test_misuse_is_one_line(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gonogo.main(["watch", *arguments]) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")


def _text(board: Board) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(board.render())
    return captured.get()


def test_the_table_shows_verdicts_and_that_a_silent_station_is_down(launch: Launch) -> None:
    board = Board()
    assert "every part is a reject" in _text(board)
    pipeline, witness = launch(_moving_web, lambda: ScriptedDetector([2.0]))
    assert pipeline.wait_ready(WAIT_S)
    assert witness.trigger(77)["ok"]
    verdict: dict[str, Any] = witness.hear_verdicts(1)[0]
    board.take(Message("verdict", verdict))
    shown = _text(board)
    assert "77" in shown
    assert "SCORE_OVER_THRESHOLD" in shown
