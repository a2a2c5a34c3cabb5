"""A subscriber's stream: whatever is lost, doubled or restarted, each verdict comes once and in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bus.client import Message
from runtime.bus.stream import Stream
from runtime.errors import BusError

FIRST, SECOND = "1" * 16, "2" * 16


def verdict(seq: int, boot_id: str = FIRST) -> Message:
    return Message("verdict", {"boot_id": boot_id, "seq": seq})


def beat(head_seq: int, boot_id: str = FIRST) -> Message:
    return Message("hb", {"boot_id": boot_id, "head_seq": head_seq})


class Station:
    """What arrives, and what may be asked for again."""

    def __init__(self, arriving: Iterable[Message], kept: range = range(0), chunk: int = 100) -> None:
        self._arriving, self._kept, self._chunk = deque(arriving), kept, chunk
        self.asked: list[tuple[int, int]] = []
        self.down = False

    def receive(self, timeout_ms: int) -> Message | None:
        return self._arriving.popleft() if self._arriving else None

    def request(self, verb: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        assert (verb, args is not None) == ("replay", True)
        assert args is not None
        if self.down:
            raise BusError("no reply")
        self.asked.append((args["from"], args["to"]))
        if args["boot_id"] != FIRST:
            return {"ok": False, "code": "NOT_FOUND", "result": {}}
        wanted = [n for n in range(args["from"], args["to"] + 1) if n in self._kept]
        items = [{"boot_id": FIRST, "seq": n, "replayed": True} for n in wanted[: self._chunk]]
        return {"ok": True, "result": {"items": items}}


def told(stream: Stream) -> list[Any]:
    """Numbers of the verdicts that come, and gaps as pairs; heartbeats left out."""
    found: list[Any] = []
    while (message := stream.receive(0)) is not None:
        if message.kind == "verdict":
            found.append(message.body["seq"])
        elif message.kind == "gap":
            found.append((message.body["from"], message.body["to"]))
    return found


def test_what_arrives_in_order_is_told_and_nothing_asked() -> None:
    station = Station([verdict(7), beat(7), verdict(8), beat(8)])
    assert told(Stream(station)) == [7, 8]
    assert station.asked == []


def test_a_gap_is_filled_before_the_verdict_behind_it() -> None:
    station = Station([verdict(1), verdict(5)], range(1, 6))
    assert told(Stream(station)) == [1, 2, 3, 4, 5]
    assert station.asked == [(2, 4)]


def test_a_lost_last_verdict_is_found_by_the_heartbeat_and_not_told_twice() -> None:
    station = Station([verdict(1), beat(3), verdict(2), verdict(3), verdict(4)], range(1, 5))
    assert told(Stream(station)) == [1, 2, 3, 4]


def test_a_long_gap_is_asked_for_in_pieces() -> None:
    station = Station([verdict(1), verdict(11)], range(1, 12), chunk=4)
    assert told(Stream(station)) == list(range(1, 12))
    assert station.asked == [(2, 10), (6, 10), (10, 10)]


def test_what_the_station_no_longer_has_is_a_gap_that_is_told() -> None:
    station = Station([verdict(1), verdict(9)], range(5, 10))
    assert told(Stream(station)) == [1, (2, 4), 5, 6, 7, 8, 9]


@pytest.mark.parametrize("replays", [True, False])
def test_without_an_answer_the_gap_is_told_and_the_stream_goes_on(replays: bool) -> None:
    station = Station([verdict(1), verdict(4), verdict(5)], range(1, 6))
    station.down = replays
    assert told(Stream(station, replays=replays)) == [1, (2, 3), 4, 5]


def test_a_late_joiner_may_have_the_whole_boot() -> None:
    assert told(Stream(Station([beat(3), verdict(4)], range(1, 5)), whole_boot=True)) == [1, 2, 3, 4]
    assert told(Stream(Station([beat(3), verdict(4)], range(1, 5)))) == [4]


def test_another_boot_begins_at_one_and_is_owed_whole() -> None:
    arriving = [verdict(8, SECOND), verdict(9, SECOND), verdict(2, FIRST)]
    assert told(Stream(Station(arriving, range(1, 3)))) == [8, 9, 1, 2]


def test_what_was_lost_of_a_boot_that_is_over_is_told_as_lost() -> None:
    station = Station([verdict(1, SECOND), verdict(3, SECOND), verdict(1, FIRST)], range(1, 3))
    assert told(Stream(station)) == [1, (2, 2), 3, 1]


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 3))
def test_whatever_is_lost_every_verdict_is_told_once_and_in_order(
    arrives: list[bool], chunk: int, doubled: int
) -> None:
    last = len(arrives)
    arriving = [verdict(seq) for seq, comes in enumerate(arrives, 1) if comes for _ in range(1 + doubled)]
    station = Station([beat(0), *arriving, beat(last)], range(1, last + 1), chunk)
    assert told(Stream(station)) == list(range(1, last + 1))
