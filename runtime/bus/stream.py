"""Everything a station says, in order; verdicts that were lost on the way are asked for again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from ..errors import BusError
from .client import Message


class Line(Protocol):
    """What a stream needs of a `Client`."""

    def receive(self, timeout_ms: int) -> Message | None: ...
    def request(self, verb: str, args: dict[str, Any] | None = None) -> dict[str, Any]: ...


class Stream:
    """Each verdict of each boot once, by rising `seq`; a message of kind `gap` where one is gone for good.

    A verdict's own number, and the `head_seq` of heartbeats and states, say what must have come before.
    Verdicts that were replayed have `replayed`: they are for the record, never for a reject gate.

    Source: the Clone pattern, ZeroMQ guide, chapter 5, read only.
    """

    def __init__(self, client: Line, whole_boot: bool = False, replays: bool = True) -> None:
        """Starts with the first verdict it hears of, or with the first of that boot (`whole_boot`).

        `replays` False: nothing is asked for, what is lost is told as a gap.
        """
        self._client, self._whole_boot, self._replays = client, whole_boot, replays
        self._boot_id: str | None = None
        self._seq = 0
        self._waiting: deque[Message] = deque()

    def receive(self, timeout_ms: int) -> Message | None:
        """The next message; None when none came in time.

        A gap's body has `boot_id`, `from` and `to`.
        """
        until_s = time.monotonic() + timeout_ms / 1000
        while not self._waiting:
            message = self._client.receive(max(0, round(1000 * (until_s - time.monotonic()))))
            if message is None:
                return None
            self._waiting.extend(self._completed(message))
        return self._waiting.popleft()

    def _completed(self, message: Message) -> Iterator[Message]:
        """The message, after what is missing before it; nothing when it was told before."""
        body, came = message.body, message.kind == "verdict"
        if came or "head_seq" in body:
            head = body["seq"] - 1 if came else body["head_seq"]
            if body["boot_id"] != self._boot_id:
                first = self._boot_id is None and not self._whole_boot
                self._boot_id, self._seq = body["boot_id"], head if first else 0
            if came and body["seq"] <= self._seq:
                return
            yield from self._missing(self._seq + 1, head)
            self._seq = max(self._seq, head + came)
        yield message

    def _missing(self, first: int, last: int) -> Iterator[Message]:
        """Verdicts that were lost, or the gap that they leave."""
        while first <= last and (items := self._ask(first, last)):
            for item in items:
                yield from self._gap(first, item["seq"] - 1)
                yield Message("verdict", item)
                first = item["seq"] + 1
        yield from self._gap(first, last)

    def _ask(self, first: int, last: int) -> list[dict[str, Any]]:
        """Some of them, by rising number; none when there are none, or nobody answers."""
        if not self._replays:
            return []
        try:
            reply = self._client.request("replay", {"boot_id": self._boot_id, "from": first, "to": last})
        except BusError:
            return []
        return list(reply["result"].get("items", ()))

    def _gap(self, first: int, last: int) -> Iterator[Message]:
        if first <= last:
            yield Message("gap", {"boot_id": self._boot_id, "from": first, "to": last})
