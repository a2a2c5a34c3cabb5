"""Where sockets may listen: this machine only, until the bus has keys."""

from __future__ import annotations

import re
import socket
from pathlib import Path

LOOPBACK = re.compile(r"tcp://(127\.0\.0\.1|localhost|\[::1\]):(\*|\d{1,5})")
MAX_IPC_PATH = 100
"""Bytes; the kernel's limit is 107."""


def check_endpoint(what: str, endpoint: str) -> None:
    """Raises ValueError unless `endpoint` is loopback TCP or ipc; `what` names it in the message."""
    match = LOOPBACK.fullmatch(endpoint)
    path = endpoint.removeprefix("ipc://")
    is_ipc = path != endpoint and 0 < len(path.encode()) <= MAX_IPC_PATH and "\0" not in path
    if not is_ipc and (match is None or (match[2] != "*" and int(match[2]) > 65535)):
        raise ValueError(
            f"{what} is {endpoint!r}; expected tcp://127.0.0.1:PORT (PORT * = any free one) or ipc://PATH: "
            "nothing is opened to other machines yet, since the bus carries no keys"
        )


def bindable(endpoint: str) -> str:
    """The same endpoint as libzmq takes it: it binds to no host names, and calls a free port `*`."""
    plain = endpoint.replace("//localhost:", "//127.0.0.1:")
    return plain[:-1] + "*" if plain.startswith("tcp://") and plain.endswith(":0") else plain


def ipc_in_use(endpoint: str) -> bool:
    """Whether a living process listens on an ipc endpoint; libzmq would silently take the path from it."""
    path = Path(endpoint.removeprefix("ipc://"))
    if not endpoint.startswith("ipc://") or not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
