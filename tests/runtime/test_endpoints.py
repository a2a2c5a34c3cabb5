"""Sockets open to this machine alone; whatever else is asked for is one line."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from runtime.bus.endpoints import MAX_IPC_PATH, bindable, check_endpoint, ipc_in_use, ipc_path


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://127.0.0.1:5555",
        "tcp://127.0.0.1:*",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:65535",
        "tcp://localhost:5555",
        "tcp://[::1]:5555",
        "ipc:///run/gonogo/bus",
        "ipc://relative/bus",
        "ipc://" + "x" * MAX_IPC_PATH,
    ],
)
def test_loopback_and_ipc_are_taken(endpoint: str) -> None:
    check_endpoint("bus", endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://0.0.0.0:5555",
        "tcp://*:5555",
        "tcp://192.168.1.10:5555",
        "tcp://[::]:5555",
        "tcp://[fe80::1]:5555",
        "tcp://eth0:5555",
        "tcp://station.local:5555",
        "tcp://localhost.example.com:5555",
        "tcp://127.0.0.1.example.com:5555",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:http",
        "tcp://127.0.0.1:\u0665",
        "tcp://127.0.0.1:5555\n",
        "tcp://192.168.1.10:1;127.0.0.1:5555",
        "127.0.0.1:5555",
        "udp://127.0.0.1:5555",
        "inproc://bus",
        "ipc://",
        "ipc://*",
        "ipc://@gonogo",
        "ipc:///run/a\0b",
        "ipc://" + "x" * (MAX_IPC_PATH + 1),
        "",
    ],
)
def test_anything_else_is_refused_in_one_line(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"^control is ") as caught:
        check_endpoint("control", endpoint)
    message = str(caught.value)
    assert repr(endpoint) in message
    assert "expected tcp://127.0.0.1:PORT (PORT * = any free one) or ipc://PATH" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("endpoint", "bound"),
    [
        ("tcp://localhost:5555", "tcp://127.0.0.1:5555"),
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1:*"),
        ("tcp://127.0.0.1:5550", "tcp://127.0.0.1:5550"),
        ("tcp://[::1]:0", "tcp://[::1]:*"),
        ("ipc:///tmp/a:0", "ipc:///tmp/a:0"),
    ],
)
def test_endpoints_as_libzmq_takes_them(endpoint: str, bound: str) -> None:
    assert bindable(endpoint) == bound


def test_only_ipc_has_a_path() -> None:
    assert ipc_path("ipc:///run/bus") == Path("/run/bus")
    assert ipc_path("tcp://127.0.0.1:5555") is None


def test_a_path_is_in_use_while_somebody_listens(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert not ipc_in_use(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert not ipc_in_use(path)  # left behind by a process that died looks like this
        listener.listen()
        assert ipc_in_use(path)
    assert path.is_socket()
    assert not ipc_in_use(path)


def test_a_plain_file_is_not_in_use(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    assert not ipc_in_use(tmp_path / "s")
