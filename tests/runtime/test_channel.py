"""A channel is bounded, wakes whoever waits, and hands back what it does not hold."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import zmq

from runtime.channel import Channel, Closed, Policy

WAIT_S = 30
WAIT_MS = 1000 * WAIT_S


class Call(threading.Thread):
    """A call in a thread of its own; `result` waits for it, and gives or raises what it did."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call, self._error, self._value = call, None, None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error  # type: ignore[assignment]

    def result(self) -> Any:
        self.join(WAIT_S)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error
        return self._value


@pytest.mark.parametrize(
    ("policy", "handed_back", "kept"),
    [("drop_oldest", [None, None, 1, 2], [3, 4]), ("drop_latest", [None, None, 3, 4], [1, 2])],
)
def test_a_full_channel_hands_back_what_it_does_not_hold(
    policy: Policy, handed_back: list[int | None], kept: list[int]
) -> None:
    channel: Channel[int] = Channel(2, policy)
    assert [channel.put(n) for n in (1, 2, 3, 4)] == handed_back
    assert len(channel) == 2
    assert channel.drain() == kept


def test_a_sender_waits_for_room_and_no_longer_than_it_wants() -> None:
    channel: Channel[int] = Channel(1, "wait")
    assert channel.put(1) is None
    assert channel.put(2, 10) == 2
    waiting = Call(lambda: channel.put(3))
    assert channel.get() == 1
    assert waiting.result() is None
    assert channel.get() == 3


def test_draining_lets_a_waiting_sender_in() -> None:
    channel: Channel[int] = Channel(1, "wait")
    channel.put(1)
    waiting = Call(lambda: channel.put(2))
    assert channel.drain() == [1]
    assert waiting.result() is None


def test_a_receiver_waits_for_an_item_and_no_longer_than_it_wants() -> None:
    channel: Channel[int] = Channel(1)
    assert channel.get(0) is None
    assert channel.get(10) is None
    waiting = Call(channel.get)
    channel.put(1)
    assert waiting.result() == 1


def test_items_come_out_in_the_order_they_went_in() -> None:
    channel: Channel[int] = Channel(8)
    for n in range(8):
        channel.put(n)
    assert [channel.get() for _ in range(8)] == list(range(8))


def test_a_closed_channel_hands_back_what_is_put_and_still_gives_what_it_holds() -> None:
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.close()
    channel.close()
    assert channel.closed
    assert channel.put(2) == 2
    assert channel.get() == 1
    with pytest.raises(Closed):
        channel.get()
    assert channel.drain() == []


@pytest.mark.parametrize("waiters", [1, 5])
def test_closing_wakes_everyone_who_waits(waiters: int) -> None:
    full: Channel[int] = Channel(1, "wait")
    full.put(0)
    empty: Channel[int] = Channel(1)
    senders = [Call(lambda n=n: full.put(n)) for n in range(1, waiters + 1)]  # type: ignore[misc]
    receivers = [Call(empty.get) for _ in range(waiters)]
    full.close()
    empty.close()
    assert [sender.result() for sender in senders] == list(range(1, waiters + 1))
    for receiver in receivers:
        with pytest.raises(Closed):
            receiver.result()


@pytest.mark.parametrize(("size", "policy"), [(0, "wait"), (-1, "wait"), (1, "drop"), (1, "")])
def test_a_size_or_policy_that_is_none_is_refused(size: int, policy: Any) -> None:
    with pytest.raises(ValueError, match=f"size {size}, policy '{policy}'; expected size >= 1 and one of"):
        Channel(size, policy)


def _readable(poller: zmq.Poller, timeout_ms: int = 0) -> bool:
    return bool(poller.poll(timeout_ms))


def test_its_descriptor_is_readable_while_an_item_waits_or_it_is_closed() -> None:
    channel: Channel[int] = Channel(3)
    channel.put(1)
    poller = zmq.Poller()
    poller.register(channel.fileno(), zmq.POLLIN)
    assert _readable(poller)
    channel.put(2)
    assert channel.get() == 1
    assert _readable(poller)
    assert channel.get() == 2
    assert not _readable(poller)
    channel.put(3)
    assert channel.drain() == [3]
    assert not _readable(poller)
    channel.close()
    assert _readable(poller)


def test_a_poller_that_waits_is_woken_by_an_item_from_another_thread() -> None:
    channel: Channel[int] = Channel(1)
    poller = zmq.Poller()
    poller.register(channel.fileno(), zmq.POLLIN)
    sender = Call(lambda: channel.put(1))
    assert _readable(poller, WAIT_MS)
    assert sender.result() is None


def test_the_bell_never_blocks_however_often_the_channel_fills_and_empties() -> None:
    channel: Channel[int] = Channel(1, "drop_oldest")
    poller = zmq.Poller()
    poller.register(channel.fileno(), zmq.POLLIN)
    for n in range(100_000):  # more than the buffer of a socket pair would hold
        channel.put(n)
    assert channel.drain() == [99_999]
    assert not _readable(poller)


@pytest.mark.parametrize("policy", ["wait", "drop_oldest", "drop_latest"])
@pytest.mark.parametrize("polled", [False, True])
def test_among_many_threads_every_item_is_received_or_handed_back_exactly_once(
    policy: Policy, polled: bool
) -> None:
    channel: Channel[int] = Channel(3, policy)
    if polled:
        channel.fileno()
    senders, each = 4, 500

    def send(first: int) -> list[int]:
        return [back for n in range(each) if (back := channel.put(first + n)) is not None]

    def receive() -> list[int]:
        taken: list[int] = []
        while True:
            try:
                item = channel.get()
            except Closed:
                return taken
            assert item is not None
            taken.append(item)

    receivers = [Call(receive) for _ in range(3)]
    sending = [Call(lambda k=k: send(k * each)) for k in range(senders)]  # type: ignore[misc]
    handed_back = [n for call in sending for n in call.result()]
    channel.close()
    received = [n for call in receivers for n in call.result()]
    assert sorted(handed_back + received) == list(range(senders * each))
    assert policy != "wait" or handed_back == []


def test_a_quiet_item_wakes_a_poller_only_at_the_ring_and_is_there_all_the_same() -> None:
    channel: Channel[int] = Channel(4)
    poller = zmq.Poller()
    poller.register(channel.fileno(), zmq.POLLIN)
    channel.put(1, quietly=True)
    assert not _readable(poller)
    channel.ring()
    assert _readable(poller)
    assert channel.get(0) == 1
    channel.ring()
    assert not _readable(poller)
    channel.put(2, quietly=True)
    assert channel.get(0) == 2


def test_a_sender_that_was_interrupted_before_it_rang_blocks_nobody() -> None:
    channel: Channel[int] = Channel(4)
    poller = zmq.Poller()
    poller.register(channel.fileno(), zmq.POLLIN)
    assert channel._bell is not None
    channel.put(1, quietly=True)
    assert channel._bell.due()  # and here the exception came
    assert channel.get(0) == 1
    channel.put(2)
    assert _readable(poller)
    assert channel.get(0) == 2
    assert not _readable(poller)


def test_a_ring_that_comes_late_wakes_once_for_nothing() -> None:
    channel: Channel[int] = Channel(4)
    poller = zmq.Poller()
    poller.register(channel.fileno(), zmq.POLLIN)
    assert channel._bell is not None
    channel._bell.ring()  # for an item that is gone already
    assert _readable(poller)
    assert channel.get(0) is None
    assert not _readable(poller)
