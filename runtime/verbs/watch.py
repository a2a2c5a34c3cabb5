"""`gonogo watch`: live verdicts of a station in the terminal."""

from __future__ import annotations

import argparse
import time
from collections import deque
from typing import Any

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..bus.client import Client, Message
from ..bus.endpoints import check_endpoint
from ..errors import ConfigError
from ..state import State, state_name

HELP = "live verdicts of a station in the terminal"
ROWS = 15
COLOURS = {"OK": "green", "NG": "red", "REVIEW": "yellow", "INVALID": "magenta"}
SILENT_S = 1.0
"""Without a heartbeat for so long the station counts as down."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("--bus", default="tcp://127.0.0.1:5555", help="the station's bus endpoint")
    parser.add_argument("--seconds", type=float, help="end after so long; absent: until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="one JSON line per verdict")


def run(arguments: argparse.Namespace) -> int:
    """Shows verdicts until Ctrl-C."""
    try:
        check_endpoint("--bus", arguments.bus)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    until_s = None if arguments.seconds is None else time.monotonic() + arguments.seconds
    try:
        with Client(arguments.bus) as client:
            (_print_lines if arguments.json else _show_table)(client, until_s)
    except KeyboardInterrupt:
        pass
    return 0


def _print_lines(client: Client, until_s: float | None) -> None:
    while not _over(until_s):
        message = client.receive(200)
        if message is not None and message.kind == "verdict":
            print(msgspec.json.encode(message.body).decode(), flush=True)


def _show_table(client: Client, until_s: float | None) -> None:
    board = Board()
    with Live(console=Console(), refresh_per_second=10, get_renderable=board.render):
        while not _over(until_s):
            message = client.receive(200)
            if message is not None:
                board.take(message)


def _over(until_s: float | None) -> bool:
    return until_s is not None and time.monotonic() >= until_s


class Board:
    """The last verdicts, and what the station says of itself."""

    def __init__(self) -> None:
        self._verdicts: deque[dict[str, Any]] = deque(maxlen=ROWS)
        self._beat: dict[str, Any] | None = None
        self._heard_s = 0.0

    def take(self, message: Message) -> None:
        """Notes a message."""
        if message.kind == "verdict":
            self._verdicts.append(message.body)
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
        return Text(f"{state_name(State(beat['state']))}  health {flags}  {totals}")
