"""A client of a station: what a PLC gateway, `gonogo watch` and the demo's virtual PLC need, and no more.

It knows nothing of the runtime but the wire: two sockets and JSON. Used by one thread.
"""

from __future__ import annotations

import secrets
import time
from types import TracebackType
from typing import Any, NamedTuple

import msgspec
import zmq

from ..errors import BusError

TRIES = 3
REPLY_TIMEOUT_MS = 1000
"""How long one try waits."""
COMMON: dict[zmq.SocketOption, int] = {zmq.LINGER: 0, zmq.RECONNECT_IVL: 100, zmq.RECONNECT_IVL_MAX: 5000}


class Message(NamedTuple):
    """One message of the bus."""

    kind: str
    """`verdict`, `state`, `hb` or `event`."""
    body: dict[str, Any]


class Client:
    """Subscribed to everything a station says, and able to ask it; a context manager."""

    def __init__(
        self, bus: str, control: str | None = None, reply_timeout_ms: int = REPLY_TIMEOUT_MS
    ) -> None:
        """Connects; nothing is awaited. `control` None: listens only."""
        self._reply_timeout_ms = reply_timeout_ms
        self._context = zmq.Context()
        self._bus = self._connect(zmq.SUB, bus, {zmq.RCVHWM: 0})
        self._bus.setsockopt(zmq.SUBSCRIBE, b"v1/")
        self._control_at = control
        self._control = None if control is None else self._connect(zmq.DEALER, control, {})

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait_subscribed(self, timeout_ms: int) -> bool:
        """Whether the station took the subscription: from then on no message is missed unnoticed."""
        # The first message of any kind proves it: the greeting comes at once, a heartbeat within 100 ms.
        return bool(self._bus.poll(timeout_ms))

    def receive(self, timeout_ms: int) -> Message | None:
        """The next message; None when none came in time."""
        until_s = time.monotonic() + timeout_ms / 1000
        while self._bus.poll(max(0, round(1000 * (until_s - time.monotonic())))):
            frames = self._bus.recv_multipart()
            if len(frames) == 2:  # the greeting of a new subscription is a single frame
                return Message(frames[0].split(b"/")[1].decode(), msgspec.json.decode(frames[1]))
        return None

    def verdict(self, timeout_ms: int) -> dict[str, Any] | None:
        """The next verdict; other messages are skipped."""
        until_s = time.monotonic() + timeout_ms / 1000
        while (left_s := until_s - time.monotonic()) > 0:
            message = self.receive(round(1000 * left_s))
            if message is not None and message.kind == "verdict":
                return message.body
        return None

    def trigger(
        self, trigger_id: int, part_id: str | None = None, encoder: int | None = None
    ) -> dict[str, Any]:
        """Says that a part is there and returns the reply; only `ok` true means that a verdict will come."""
        args = {"trigger_id": trigger_id, "part_id": part_id, "encoder": encoder}
        return self.request("trigger", args)

    def status(self) -> dict[str, Any]:
        """State, health, counters and names of the station."""
        result: dict[str, Any] = self.request("status")["result"]
        return result

    def shutdown(self) -> dict[str, Any]:
        """Asks the station to finish what is in flight and to end."""
        return self.request("shutdown")

    def request(self, verb: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        """Sends a request, the same again when no reply comes, and returns the reply.

        Each try that found no answer ends its connection, and with it whatever was not delivered yet: a
        station that starts later must not meet a trigger whose part is long past.

        Raises:
            BusError: no reply after `TRIES`; take the station as down.

        Source: the Lazy Pirate pattern, ZeroMQ guide, chapter 4.
        """
        if self._control is None or self._control_at is None:
            raise BusError("control: this client was opened to listen only")
        request_id = secrets.token_hex(8)
        body = msgspec.json.encode({"p": "ctl/1", "id": request_id, "verb": verb, "args": args or {}})
        for _ in range(TRIES):
            reply = _ask(self._control, body, request_id, self._reply_timeout_ms)
            if reply is not None:
                return reply
            self._control.close(linger=0)
            self._control = self._connect(zmq.DEALER, self._control_at, {})
        raise BusError(f"control: no reply to {verb} after {TRIES} tries; is the station running?")

    def close(self) -> None:
        """Closes the sockets."""
        self._context.destroy(linger=0)

    def _connect(self, kind: int, endpoint: str, options: dict[zmq.SocketOption, int]) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        for option, value in (COMMON | options).items():
            socket.setsockopt(option, value)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise BusError(f"{endpoint}: {error.strerror}; expected tcp://HOST:PORT or ipc://PATH") from None
        return socket


def _ask(socket: zmq.Socket[bytes], body: bytes, request_id: str, timeout_ms: int) -> dict[str, Any] | None:
    """One try: the reply to this request; None when none came in time."""
    until_s = time.monotonic() + timeout_ms / 1000
    # No IMMEDIATE on this socket: with it libzmq throws away a reply that has arrived and was not read yet
    # when the station closes its end, as it does after `stop`.
    socket.send_multipart((b"", body), zmq.NOBLOCK)
    while socket.poll(max(0, round(1000 * (until_s - time.monotonic())))):
        reply: dict[str, Any] = msgspec.json.decode(socket.recv_multipart()[-1])
        if reply["id"] == request_id:  # else the late answer to an earlier request
            return reply
    return None
