"""What joins two threads: bounded, closeable, and never silent about what it drops."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from collections import deque
from typing import Generic, Literal, TypeVar, get_args

T = TypeVar("T")

Policy = Literal["wait", "drop_oldest", "drop_latest"]
"""What a full channel does: let the sender wait, drop its oldest item, or refuse the new one."""


class Closed(Exception):
    """The channel was closed and its last item is gone."""


class Channel(Generic[T]):
    """A bounded first-in first-out queue between threads; items are anything but None."""

    def __init__(self, size: int, policy: Policy = "wait") -> None:
        """`size` items at most, >= 1."""
        if size < 1 or policy not in get_args(Policy):
            raise ValueError(
                f"size {size}, policy {policy!r}; expected size >= 1 and one of {get_args(Policy)}"
            )
        self._size, self._policy = size, policy
        self._items: deque[T] = deque()
        self._closed = False
        lock = threading.Lock()
        self._filled, self._emptied = threading.Condition(lock), threading.Condition(lock)
        self._bell: _Bell | None = None

    def put(self, item: T, timeout_ms: float | None = None, quietly: bool = False) -> T | None:
        """Adds an item and returns the one that the channel does not hold because of it, else None.

        That is the oldest item (`drop_oldest`), or `item` itself: when full (`drop_latest`), when no room
        came free within `timeout_ms` (`wait`; None: for ever), or when closed. The caller answers for it.
        `quietly` wakes no poller: the caller owes a `ring`.
        """
        with self._filled:
            if self._policy == "wait" and not self._has_room():
                self._emptied.wait_for(self._has_room, _seconds(timeout_ms))
            if self._closed or (len(self._items) >= self._size and self._policy != "drop_oldest"):
                return item
            dropped = self._items.popleft() if len(self._items) >= self._size else None
            self._items.append(item)
            self._filled.notify()
        if not quietly:
            self.ring()
        return dropped

    def ring(self) -> None:
        """Wakes who polls, if there is anything to take."""
        with self._filled:
            due = self._bell is not None and self._is_readable() and self._bell.due()
        # Outside of the lock, or the thread that wakes up would run into it.
        if due and self._bell is not None:
            self._bell.ring()

    def get(self, timeout_ms: float | None = None) -> T | None:
        """Removes the oldest item; None when none came within `timeout_ms` (None: for ever).

        Raises:
            Closed: closed, and nothing is left.
        """
        with self._filled:
            if not self._items:
                self._filled.wait_for(self._is_readable, _seconds(timeout_ms))
            if not self._items:
                if self._closed:
                    raise Closed
                self._lower()
                return None
            item = self._items.popleft()
            self._emptied.notify()
            self._lower()
            return item

    def drain(self) -> list[T]:
        """Removes everything there is, oldest first; does not wait."""
        with self._filled:
            items = list(self._items)
            self._items.clear()
            self._emptied.notify_all()
            self._lower()
            return items

    def close(self) -> None:
        """Takes no more items; wakes everyone who waits. Safe to call twice."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()
            self._emptied.notify_all()
        self.ring()

    @property
    def closed(self) -> bool:
        """Whether `close` was called; items may be left."""
        return self._closed

    def __len__(self) -> int:
        return len(self._items)

    def fileno(self) -> int:
        """A descriptor that is readable while an item waits or the channel is closed; for pollers only.

        Seldom it is readable though nothing waits: whoever was woken must call `get(0)` all the same.
        """
        with self._filled:
            if self._bell is None:
                self._bell = _Bell()
                weakref.finalize(self, self._bell.close)
        self.ring()
        return self._bell.fileno()

    def _has_room(self) -> bool:
        return self._closed or len(self._items) < self._size

    def _is_readable(self) -> bool:
        return bool(self._items) or self._closed

    def _lower(self) -> None:
        if self._bell is not None and not self._is_readable():
            self._bell.lower()


class _Bell:
    """A flag that a poller can wait on. Sockets, since ZeroMQ polls nothing else on some systems.

    Neither side ever blocks, whatever became of the other: a sender that was interrupted between `due` and
    `ring` costs the poller one call, and a ring that comes after `lower` wakes it once for nothing.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._on = False

    def fileno(self) -> int:
        return self._reader.fileno()

    def due(self) -> bool:
        """Whether the flag is down: the caller owes a `ring`, and soon."""
        due, self._on = not self._on, True
        return due

    def ring(self) -> None:
        """Raises the flag."""
        with contextlib.suppress(BlockingIOError):  # full of rings: it is up
            self._writer.send(b"\0")

    def lower(self) -> None:
        """Lowers the flag."""
        self._on = False
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


def _seconds(timeout_ms: float | None) -> float | None:
    return None if timeout_ms is None else timeout_ms / 1000
