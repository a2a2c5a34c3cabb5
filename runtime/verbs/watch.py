"""`gonogo watch`: live verdicts of a station in the terminal."""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..bus.client import Client, Message
from ..bus.endpoints import check_endpoint
from ..bus.stream import Stream
from ..errors import ConfigError
from ..process import require_seconds
from ..state import State, state_name

BUS, CONTROL = "tcp://127.0.0.1:5555", "tcp://127.0.0.1:5556"
ROWS = 15
COLOURS = {"OK": "green", "NG": "red", "REVIEW": "yellow", "INVALID": "magenta"}
SILENT_S = 1.0
"""Without a heartbeat for so long the station counts as down."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.epilog = (
        "Waits for a station that is not there, and says so. Exit code 0: ended by Ctrl-C or --seconds."
    )
    parser.add_argument("--bus", default=BUS, help="the station's bus endpoint")
    parser.add_argument(
        "--control",
        help=f"where verdicts that were lost on the way are asked for again; absent: {CONTROL} with the bus "
        "of that default, else nowhere: they are told as lost",
    )
    parser.add_argument(
        "--all", action="store_true", help="begin with the oldest verdict that the station still has"
    )
    parser.add_argument("--seconds", type=float, help="end after so long; absent: until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="one JSON line per verdict")


def run(arguments: argparse.Namespace) -> int:
    """Shows verdicts until Ctrl-C."""
    require_seconds(arguments.seconds)
    control = arguments.control or (CONTROL if arguments.bus == BUS else None)
    try:
        check_endpoint("--bus", arguments.bus)
        if control is not None:
            check_endpoint("--control", control)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if arguments.all and control is None:
        raise ConfigError("--all asks the station for what was before; expected --control with it")
    until_s = None if arguments.seconds is None else time.monotonic() + arguments.seconds
    try:
        with Client(arguments.bus, control) as client:
            stream = Stream(client, whole_boot=arguments.all, replays=control is not None)
            (_print_lines if arguments.json else _show_table)(_messages(stream, until_s), arguments.bus)
    except KeyboardInterrupt:
        pass
    return 0


def _messages(stream: Stream, until_s: float | None) -> Iterator[Message | None]:
    """What comes; None now and then when nothing does."""
    while until_s is None or time.monotonic() < until_s:
        yield stream.receive(200)


def _print_lines(messages: Iterable[Message | None], bus: str) -> None:
    pulse = Pulse(bus)
    for message in messages:
        pulse.take(message)
        if message is not None and message.kind == "verdict":
            print(msgspec.json.encode(message.body).decode(), flush=True)


def _show_table(messages: Iterable[Message | None], bus: str) -> None:
    console, board, pulse = Console(), Board(), Pulse(bus)
    with Live(console=console, refresh_per_second=10, get_renderable=board.render):
        for message in messages:
            board.take(message)
            if not console.is_terminal:  # where it is one, the board says so itself
                pulse.take(message)


class Pulse:
    """Says in one line, once each time, that a station is not heard, or that verdicts are lost."""

    def __init__(self, bus: str) -> None:
        self._bus, self._heard_s, self._told = bus, time.monotonic(), False

    def take(self, message: Message | None) -> None:
        """Notes a message, or that there was none."""
        if message is not None and message.kind == "gap":
            gap = message.body
            print(f"verdicts {gap['from']} to {gap['to']} of boot {gap['boot_id']} are lost", file=sys.stderr)
        elif message is not None:
            self._heard_s, self._told = time.monotonic(), False
        elif not self._told and time.monotonic() - self._heard_s > SILENT_S:
            self._told = True
            print(f"{self._bus}: no heartbeat; is the station running? waiting for it", file=sys.stderr)


class Board:
    """The last verdicts, and what the station says of itself."""

    def __init__(self) -> None:
        self._verdicts: deque[dict[str, Any]] = deque(maxlen=ROWS)
        self._beat: dict[str, Any] | None = None
        self._heard_s = 0.0
        self._lost = 0

    def take(self, message: Message | None) -> None:
        """Notes a message."""
        if message is None:
            return
        if message.kind == "verdict":
            self._verdicts.append(message.body)
        elif message.kind == "gap":
            self._lost += message.body["to"] - message.body["from"] + 1
        elif message.kind == "hb":
            self._beat, self._heard_s = message.body, time.monotonic()

    def render(self) -> Group:
        """Table of verdicts, newest last, over a line about the station."""
        table = Table("seq", "trigger", "verdict", "score", "threshold", "total ms", "reasons")
        for v in list(self._verdicts):
            table.add_row(
                str(v["seq"]),
                "-" if v["trigger_id"] is None else str(v["trigger_id"]),
                Text(v["verdict"], COLOURS.get(v["verdict"], "magenta")),
                "-" if v["score"] is None else f"{v['score']:.4g}",
                f"{v['threshold']:.4g}",
                f"{v['lat_us']['total'] / 1000:.1f}",
                " ".join(v["reasons"]),
            )
        return Group(table, self._line())

    def _line(self) -> Text:
        beat = self._beat
        if beat is None or time.monotonic() - self._heard_s > SILENT_S:
            return Text("no heartbeat: the station is down, every part is a reject", "red")
        totals = "  ".join(f"{name} {n}" for name, n in beat["counters"].items())
        health = beat["health"]
        flags = " ".join([health["level"], *health["flags"]])
        lost = f"  lost on the way here {self._lost}" if self._lost else ""
        return Text(f"{state_name(State(beat['state']))}  health {flags}  {totals}{lost}")
