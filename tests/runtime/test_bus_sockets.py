"""The station's sockets on real ZeroMQ: who hears what, and what one peer can do to the others."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from runtime.bus.client import Client
from runtime.bus.sockets import MAX_REQUEST_BYTES, REQUESTS_PER_TURN, SEND_HWM, Bus
from runtime.channel import Channel
from runtime.errors import BusError

ANY = "tcp://127.0.0.1:*"
WAIT_MS = 10_000
BODY = b'{"seq": 1}'


@pytest.fixture(params=["tcp", "ipc"])
def bus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bus]:
    """Bound, on each transport."""
    ipc = request.param == "ipc"
    opened = Bus(f"ipc://{tmp_path}/bus", f"ipc://{tmp_path}/control") if ipc else Bus(ANY, ANY)
    yield opened
    opened.close()


@contextmanager
def peer(kind: int, endpoint: str) -> Iterator[zmq.Socket[bytes]]:
    """A socket of the other side."""
    with zmq.Context() as context, context.socket(kind) as opened:
        opened.setsockopt(zmq.LINGER, 0)
        opened.connect(endpoint)
        yield opened


@contextmanager
def subscriber(bus: Bus) -> Iterator[zmq.Socket[bytes]]:
    """A socket whose subscription is in force."""
    with peer(zmq.SUB, bus.endpoints[0]) as reader:
        reader.setsockopt(zmq.SUBSCRIBE, b"v1/")
        while not reader.poll(10):  # libzmq looks at subscriptions only while the publisher is used
            bus.wait(0)
        assert receive(reader) == [b"v1/"]
        assert list(bus.requests()) == []
        yield reader


def receive(reader: zmq.Socket[bytes]) -> list[bytes]:
    """The next message."""
    assert reader.poll(WAIT_MS), "nothing came"
    return reader.recv_multipart()


def serve(bus: Bus, count: int = 1) -> list[list[bytes]]:
    """Waits for requests and answers each with what it was."""
    served: list[list[bytes]] = []
    while len(served) < count:
        bus.wait(WAIT_MS)
        requests = list(bus.requests())
        for frames in requests:
            bus.reply(frames)
        served += requests
    return served


def test_a_subscriber_is_greeted_and_hears_everything_from_then_on(bus: Bus) -> None:
    with subscriber(bus) as reader:
        for number in range(100):
            bus.publish(b"v1/verdict/l/s/", b"%d" % number)
        assert [receive(reader)[1] for _ in range(100)] == [b"%d" % n for n in range(100)]


def test_the_greeting_follows_the_subscription_not_the_connection(bus: Bus) -> None:
    with peer(zmq.SUB, bus.endpoints[0]) as reader:
        reader.setsockopt(zmq.SUBSCRIBE, b"other/")
        bus.wait(WAIT_MS)  # connected, and not yet hearing the station
        assert not reader.poll(0)
        reader.setsockopt(zmq.SUBSCRIBE, b"v1/")
        bus.wait(WAIT_MS)
        assert receive(reader) == [b"v1/"]
        bus.publish(b"v1/hb/l/s/", BODY)
        assert receive(reader) == [b"v1/hb/l/s/", BODY]


def test_a_client_skips_the_greeting(bus: Bus) -> None:
    with Client(*bus.endpoints) as client:
        bus.wait(WAIT_MS)
        assert client.wait_subscribed(WAIT_MS)
        bus.publish(b"v1/hb/l/s/", BODY)
        bus.publish(b"v1/verdict/l/s/", BODY)
        message = client.receive(WAIT_MS)
        assert (message and message.kind, message and message.body) == ("hb", {"seq": 1})
        assert client.verdict(WAIT_MS) == {"seq": 1}
        assert client.receive(0) is None
        assert client.verdict(1) is None


def test_a_topic_ends_where_the_name_ends(bus: Bus) -> None:
    with peer(zmq.SUB, bus.endpoints[0]) as reader:
        reader.setsockopt(zmq.SUBSCRIBE, b"v1/verdict/l/s1/")
        bus.wait(WAIT_MS)
        bus.publish(b"v1/verdict/l/s10/", BODY)
        bus.publish(b"v1/hb/l/s1/", BODY)
        bus.publish(b"v1/verdict/l/s1/", BODY)
        assert receive(reader) == [b"v1/verdict/l/s1/", BODY]


def test_every_kind_of_client_gets_its_own_reply(bus: Bus) -> None:
    with peer(zmq.REQ, bus.endpoints[1]) as one, peer(zmq.DEALER, bus.endpoints[1]) as other:
        one.send(b"one")
        other.send(b"other")
        serve(bus, 2)
        assert (receive(one), receive(other)) == ([b"one"], [b"other"])


def test_a_turn_reads_so_many_requests_and_no_more(bus: Bus) -> None:
    with peer(zmq.DEALER, bus.endpoints[1]) as flood:
        for number in range(3 * REQUESTS_PER_TURN):
            flood.send(b"%d" % number)
        turns: list[int] = []
        while sum(turns) < 3 * REQUESTS_PER_TURN:
            bus.wait(WAIT_MS)
            turns.append(len(list(bus.requests())))
        assert max(turns) <= REQUESTS_PER_TURN


def test_a_client_that_is_gone_loses_its_reply_and_disturbs_nobody(bus: Bus) -> None:
    with peer(zmq.DEALER, bus.endpoints[1]) as gone:
        gone.send(b"bye")
        bus.wait(WAIT_MS)
        ((identity, *rest),) = list(bus.requests())
    bus.reply([identity, *rest])
    bus.reply([b"nobody", b"x"])
    with peer(zmq.DEALER, bus.endpoints[1]) as other:
        other.send(b"still there?")
        serve(bus)
        assert receive(other) == [b"still there?"]


def test_a_request_without_end_closes_its_own_connection_alone(bus: Bus) -> None:
    with peer(zmq.DEALER, bus.endpoints[1]) as greedy, peer(zmq.DEALER, bus.endpoints[1]) as other:
        greedy.send(b"x" * (MAX_REQUEST_BYTES + 1))
        other.send(b"a")
        assert [frames[1:] for frames in serve(bus)] == [[b"a"]]
        assert receive(other) == [b"a"]
        other.send(b"b")
        assert [frames[1:] for frames in serve(bus)] == [[b"b"]]


def test_a_subscriber_that_does_not_read_loses_messages_and_nobody_else_does() -> None:
    bus, body, block = Bus(ANY, ANY), bytes(2000), 500
    with subscriber(bus) as stalled, subscriber(bus) as reader:
        reader.setsockopt(zmq.RCVTIMEO, WAIT_MS)
        for _ in range(2 * SEND_HWM // block):
            for _ in range(block):
                bus.publish(b"v1/verdict/l/s/", body)  # never blocks
            for _ in range(block):
                reader.recv_multipart()
        # What fits into the queues is there, the rest is not.
        heard = 0
        while stalled.poll(100):
            stalled.recv_multipart()
            heard += 1
        assert 0 < heard < 2 * SEND_HWM
    bus.close()


def test_waiting_ends_when_a_channel_rings(bus: Bus) -> None:
    channel: Channel[int] = Channel(1)
    bus.watch(channel.fileno())
    channel.put(1)
    bus.wait(1_000_000)
    assert channel.get(0) == 1


def test_the_last_messages_leave_before_the_sockets_close() -> None:
    bus = Bus(ANY, ANY)
    with subscriber(bus) as reader:
        for number in range(1000):
            bus.publish(b"v1/verdict/l/s/", b"%d" % number)
        bus.close()
        assert [receive(reader)[1] for _ in range(1000)] == [b"%d" % n for n in range(1000)]


@pytest.mark.parametrize("what", ["bus", "control"])
def test_a_port_in_use_is_one_line_and_leaves_nothing_open(what: str) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as other:
        other.bind(ANY)
        taken = other.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        pair = (taken, ANY) if what == "bus" else (ANY, taken)
        with pytest.raises(BusError) as caught:
            Bus(*pair)
    assert str(caught.value) == (
        f"{what}: {taken} is in use; stop the other station, or choose another {what} in the station file"
    )
    Bus(*pair).close()


def test_an_ipc_path_in_use_is_one_line_and_stays_with_its_station(tmp_path: Path) -> None:
    bus, control = f"ipc://{tmp_path}/bus", f"ipc://{tmp_path}/control"
    first = Bus(bus, control)
    with pytest.raises(BusError, match=f"^bus: {bus} is in use; stop the other station"):
        Bus(bus, ANY)
    with subscriber(first) as reader:
        first.publish(b"v1/hb/l/s/", BODY)
        assert receive(reader) == [b"v1/hb/l/s/", BODY]
    first.close()
    Bus(bus, control).close()


def test_an_ipc_path_left_behind_is_taken_over_and_a_file_is_not(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "bus"))
    Bus(f"ipc://{tmp_path}/bus", ANY).close()
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(
        BusError, match="notes is no socket; expected a path that is free, choose another one"
    ):
        Bus(f"ipc://{tmp_path}/notes", ANY)
    assert (tmp_path / "notes").read_text() == "mine"


def test_an_ipc_socket_is_for_its_user_and_group(tmp_path: Path) -> None:
    bus = Bus(f"ipc://{tmp_path}/bus", ANY)
    assert (tmp_path / "bus").stat().st_mode & 0o777 == 0o660
    bus.close()


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("tcp://0.0.0.0:5555", "bus is 'tcp://0.0.0.0:5555'; expected tcp://127.0.0.1:PORT"),
        ("ipc:///absent/folder/bus", "bus: cannot bind ipc:///absent/folder/bus: No such file or directory"),
    ],
)
def test_an_endpoint_that_is_not_ours_to_bind_is_one_line(endpoint: str, message: str) -> None:
    with pytest.raises(BusError) as caught:
        Bus(endpoint, ANY)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_host_name_and_ipv6_are_bound_where_the_machine_has_them() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        loopback = "tcp://[::1]:*"
    except OSError:
        loopback = "tcp://localhost:*"
    bus = Bus(loopback, "tcp://localhost:*")
    with Client(*bus.endpoints) as client:
        bus.wait(WAIT_MS)
        assert client.wait_subscribed(WAIT_MS)
        bus.publish(b"v1/hb/l/s/", BODY)
        assert client.receive(WAIT_MS) is not None
    bus.close()
