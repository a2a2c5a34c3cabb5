"""Real cameras' stand-ins as processes of their own, which the tests freeze, kill and start again."""

from __future__ import annotations

import fcntl
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PEERS = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"
LOCK = Path("/tmp/gonogo-gige-camera.lock")
"""GigE Vision cameras serve on one fixed port: one at a time on this machine."""


class Peer:
    """A peer's process."""

    def __init__(self, script: str, *arguments: str) -> None:
        self._command = [SYSTEM_PYTHON, str(PEERS / script), *arguments]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when it serves; does nothing when it runs already."""
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "serving\n"

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def missing(*needs: str) -> str | None:
    """Why a peer cannot run here, by the GObject namespaces that it needs; None: it can."""
    lines = "; ".join(f"gi.require_version({need.split()[0]!r}, {need.split()[1]!r})" for need in needs)
    try:
        done = subprocess.run(
            [SYSTEM_PYTHON, "-c", f"import gi; {lines}"], capture_output=True, text=True, check=False
        )
    except OSError as error:
        return str(error)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def alone() -> Iterator[IO[str]]:
    """Waits until no other process on this machine runs a GigE camera."""
    with LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
