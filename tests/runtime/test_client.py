"""The client against a real ROUTER: a reply is never lost, a stale request never delivered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import msgspec
import pytest
import zmq

from runtime.bus.client import TRIES, Client
from runtime.errors import BusError

WAIT_MS = 10_000
ROUNDS = 20
"""One lost reply in as many is a failure; an IMMEDIATE socket loses one within the first few."""
SHORT_MS = 300
"""Wait for a reply that never comes."""


@contextmanager
def _router(endpoint: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.LINGER, 500)
        router.bind(endpoint)
        yield router


def _receive(router: zmq.Socket[bytes]) -> tuple[list[bytes], dict[str, object]]:
    """Envelope and body of the next request."""
    assert router.poll(WAIT_MS), "no request came"
    *envelope, body = router.recv_multipart()
    return envelope, msgspec.json.decode(body)


def _reply(router: zmq.Socket[bytes], envelope: list[bytes], request_id: object) -> None:
    router.send_multipart([*envelope, msgspec.json.encode({"id": request_id, "ok": True, "result": {}})])


@contextmanager
def _station(body: Callable[[], None]) -> Iterator[None]:
    """Runs `body` in a thread; what it raises fails the test."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            body()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        thread.join(WAIT_MS / 1000)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    """An ipc endpoint that nobody listens on yet."""
    return f"ipc://{tmp_path}/control"


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_reply_is_read_though_the_station_closed_at_once(transport: str, endpoint: str) -> None:
    for _ in range(ROUNDS):
        bound: Queue[str] = Queue()

        def answer_and_leave(bound: Queue[str] = bound) -> None:
            with _router("tcp://127.0.0.1:*" if transport == "tcp" else endpoint) as router:
                bound.put(router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"))
                envelope, body = _receive(router)
                _reply(router, envelope, body["id"])

        with _station(answer_and_leave):
            at = bound.get(timeout=WAIT_MS / 1000)
            with Client(at, at) as client:
                assert client.shutdown()["ok"]


def test_a_retry_carries_the_same_id_and_is_answered_by_a_station_that_restarted(endpoint: str) -> None:
    requests = []

    def restart() -> None:
        with _router(endpoint) as router:
            requests.append(_receive(router)[1])  # and dies without an answer
        with _router(endpoint) as router:
            envelope, body = _receive(router)
            requests.append(body)
            _reply(router, envelope, body["id"])

    with _station(restart), Client(endpoint, endpoint) as client:
        assert client.trigger(7)["id"] == requests[0]["id"]
    assert requests[0] == requests[1]


def test_a_station_that_starts_after_the_last_try_never_meets_the_stale_trigger(endpoint: str) -> None:
    with Client(endpoint, endpoint, SHORT_MS) as client:
        with pytest.raises(
            BusError, match=f"no reply to trigger after {TRIES} tries; is the station running"
        ):
            client.trigger(7)
        met = []
        bound = threading.Event()

        def start_late() -> None:
            with _router(endpoint) as router:
                bound.set()
                envelope, body = _receive(router)
                met.append(body["verb"])
                _reply(router, envelope, body["id"])

        with _station(start_late):
            assert bound.wait(WAIT_MS / 1000)
            client.status()
    assert met == ["status"]


def test_a_station_that_never_answers_sees_each_try_once_and_on_a_connection_of_its_own(
    endpoint: str,
) -> None:
    with _router(endpoint) as router:
        client = Client(endpoint, endpoint, SHORT_MS)
        with client, pytest.raises(BusError, match="no reply to shutdown"):
            client.shutdown()
        tries = [_receive(router) for _ in range(TRIES)]
        assert not router.poll(0)
    assert len({envelope[0] for envelope, _ in tries}) == TRIES
    assert len({body["id"] for _, body in tries}) == 1


def test_a_late_answer_to_an_earlier_request_is_not_taken_for_this_one(endpoint: str) -> None:
    def mix_up() -> None:
        with _router(endpoint) as router:
            envelope, body = _receive(router)
            _reply(router, envelope, "of another request")
            _reply(router, envelope, body["id"])
            envelope, body = _receive(router)
            _reply(router, envelope, body["id"])

    with _station(mix_up), Client(endpoint, endpoint) as client:
        first, second = client.shutdown(), client.shutdown()
    assert first["id"] != second["id"]
    assert "of another request" not in (first["id"], second["id"])


def test_an_endpoint_that_is_none_and_a_client_that_only_listens_are_one_line(endpoint: str) -> None:
    with pytest.raises(BusError, match=r"^nonsense: .*; expected tcp://HOST:PORT or ipc://PATH$"):
        Client("nonsense")
    with Client(endpoint) as client, pytest.raises(BusError, match="opened to listen only"):
        client.status()
