"""What was answered in the last minute, so that asking again does nothing twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from ..ticket import Ticket

WINDOW = 4096
"""Answers remembered."""
WINDOW_US = 60_000_000
"""How long; a PLC that restarts its counter may use the numbers again after that."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Accepted(NamedTuple):
    """An accepted trigger."""

    request_id: str
    """Of the request that it came with: the same again is a retry, and gets the same answer."""
    ticket: Ticket


class Recent(Generic[K, V]):
    """The last `WINDOW` answers of the last `WINDOW_US`; the clock is passed in."""

    def __init__(self) -> None:
        self._kept: OrderedDict[K, tuple[int, V]] = OrderedDict()

    def find(self, key: K, now_us: int) -> V | None:
        """What is remembered of it, if anything."""
        at_us, value = self._kept.get(key, (now_us - WINDOW_US, None))
        return value if now_us - at_us < WINDOW_US else None

    def remember(self, key: K, value: V, now_us: int) -> None:
        """Notes an answer."""
        self._kept[key] = (now_us, value)
        self._kept.move_to_end(key)
        while len(self._kept) > WINDOW:
            self._kept.popitem(last=False)
