"""The station's two ZeroMQ sockets. Opened, used and closed by the publish thread alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import zmq

from ..errors import BusError
from .endpoints import bindable, check_endpoint, ipc_in_use, ipc_path

logger = logging.getLogger(__name__)

SEND_HWM = 10_000
"""Messages kept for one stalled subscriber: about 12 MB of verdicts; then it loses messages, nobody else."""
RECEIVE_HWM = 200
REPLY_HWM = 200
"""Replies kept for one client that does not read: 27 MB at most, if all are replays."""
LINGER_MS = 500
"""How long closing waits for the last messages to leave."""
MAX_REQUEST_BYTES = 1 << 20
MAX_TOPIC_BYTES = 4096
REQUESTS_PER_TURN = 32
"""Messages read before the clock is looked at again: a flood of them delays no deadline."""
WELCOME = b"v1/"
"""Sent after each subscription to all whose prefix fits: that subscription is in force from here on."""

Options = dict[zmq.SocketOption, int | bytes]

HEARTBEAT: Options = {zmq.HEARTBEAT_IVL: 500, zmq.HEARTBEAT_TIMEOUT: 1500, zmq.HEARTBEAT_TTL: 3000}
"""Between the libraries, to clear away dead connections; the line watches `hb/1` instead."""
KEEPALIVE: Options = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 10,
    zmq.TCP_KEEPALIVE_INTVL: 5,
    zmq.TCP_KEEPALIVE_CNT: 3,
}
COMMON: Options = {
    zmq.LINGER: LINGER_MS,
    zmq.HANDSHAKE_IVL: 3000,
    **HEARTBEAT,
    **KEEPALIVE,
}


class Bus:
    """One XPUB that everything is published on, in one total order, and one ROUTER for requests."""

    def __init__(self, bus: str, control: str, send_hwm: int = SEND_HWM) -> None:
        """Binds both endpoints; `send_hwm` messages are kept for one stalled subscriber.

        Raises:
            BusError: not loopback or ipc, already in use, or not ours to bind.
        """
        self._context = zmq.Context()
        try:
            # Verbose: every subscription is told, also one that another subscriber has made before.
            # libzmq's own XPUB_WELCOME_MSG goes out with the connection, before the subscription is in force.
            verbose: Options = {
                zmq.SNDHWM: send_hwm,
                zmq.MAXMSGSIZE: MAX_TOPIC_BYTES,
                zmq.XPUB_VERBOSE: 1,
            }
            self._publisher = bind(self._context, zmq.XPUB, bus, "bus", verbose)
            limits: Options = {
                zmq.SNDHWM: REPLY_HWM,
                zmq.MAXMSGSIZE: MAX_REQUEST_BYTES,
                zmq.RCVHWM: RECEIVE_HWM,
                zmq.ROUTER_MANDATORY: 1,
            }
            self._router = bind(self._context, zmq.ROUTER, control, "control", limits)
        except BusError:
            self.close()
            raise
        self._poller = zmq.Poller()
        for each in (self._publisher, self._router):
            self._poller.register(each, zmq.POLLIN)

    @property
    def endpoints(self) -> tuple[str, str]:
        """Bus and control as they are, with the port that a `*` became."""
        both = (self._publisher, self._router)
        bus, control = (each.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0") for each in both)
        return bus, control

    def watch(self, descriptor: int) -> None:
        """Lets `wait` also return when `descriptor` is readable."""
        self._poller.register(descriptor, zmq.POLLIN)

    def wait(self, timeout_ms: int) -> bool:
        """Returns when there is something to read, or after `timeout_ms`: whether a request is there.

        New subscribers are greeted.
        """
        ready = [each for each, _ in self._poller.poll(timeout_ms)]
        if self._publisher in ready and self._take_subscriptions():
            self._publisher.send(WELCOME, zmq.NOBLOCK)
        return self._router in ready

    def publish(self, topic: bytes, payload: bytes) -> None:
        """Sends to whoever listens; never blocks and never fails because of a subscriber."""
        self._publisher.send_multipart((topic, payload), zmq.NOBLOCK)

    def requests(self) -> Iterator[list[bytes]]:
        """The requests that are there, `REQUESTS_PER_TURN` at most, each with its envelope."""
        for _ in range(REQUESTS_PER_TURN):
            try:
                yield self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return

    def reply(self, frames: list[bytes]) -> None:
        """Answers a request; a client that is gone or does not read loses its answer."""
        try:
            self._router.send_multipart(frames, zmq.NOBLOCK)
        except zmq.ZMQError as error:
            logger.debug("a reply was not delivered: %s", error)

    def close(self) -> None:
        """Closes both sockets; waits `LINGER_MS` at most for the last messages."""
        self._context.destroy()

    def _take_subscriptions(self) -> bool:
        """Whether somebody subscribed. Each arrives as a message; a flood of them delays nothing."""
        came = False
        for _ in range(REQUESTS_PER_TURN):
            try:
                came |= self._publisher.recv(zmq.NOBLOCK).startswith(b"\1")
            except zmq.Again:
                break
        return came


def bind(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, endpoint: str, what: str, options: Options
) -> zmq.Socket[bytes]:
    """A socket with these options beside the common ones, listening at `endpoint`.

    Raises:
        BusError: not loopback or ipc, already in use, or not ours to bind; `what` names it.
    """
    try:
        check_endpoint(what, endpoint)
    except ValueError as error:
        raise BusError(str(error)) from None
    path = ipc_path(endpoint)
    if path is not None:
        _require_free(what, path)
    socket = context.socket(kind)
    socket.setsockopt(zmq.IPV6, int("[" in endpoint))
    for option, value in (COMMON | options).items():
        socket.setsockopt(option, value)
    try:
        socket.bind(bindable(endpoint))
    except zmq.ZMQError as error:
        in_use = error.errno == zmq.EADDRINUSE
        raise BusError(
            _in_use(what, endpoint) if in_use else f"{what}: cannot bind {endpoint}: {error.strerror}"
        ) from None
    if path is not None:
        path.chmod(0o660)
    return socket


def _require_free(what: str, path: Path) -> None:
    """libzmq removes whatever lies at the path, be it another station's socket or somebody's file."""
    if ipc_in_use(path):
        raise BusError(_in_use(what, f"ipc://{path}"))
    if path.exists() and not path.is_socket():
        raise BusError(f"{what}: {path} is no socket; expected a path that is free, choose another one")


def _in_use(what: str, endpoint: str) -> str:
    return (
        f"{what}: {endpoint} is in use; stop the other station, or choose another {what} in the station file"
    )
