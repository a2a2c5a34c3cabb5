"""Where sockets may listen: this machine only, until the bus has keys."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

LOOPBACK = re.compile(r"tcp://(127\.0\.0\.1|localhost|\[::1\]):(\*|[0-9]{1,5})")
MAX_IPC_PATH = 100
"""Bytes; the kernel's limit is 107."""


def check_endpoint(what: str, endpoint: str) -> None:
    """Raises ValueError unless `endpoint` is loopback TCP or ipc; `what` names it in the message."""
    match = LOOPBACK.fullmatch(endpoint)
    if not _is_ipc(endpoint) and (match is None or (match[2] != "*" and int(match[2]) > 65535)):
        raise ValueError(
            f"{what} is {endpoint!r}; expected tcp://127.0.0.1:PORT (PORT * = any free one) or ipc://PATH: "
            "nothing is opened to other machines yet, since the bus carries no keys"
        )


def bindable(endpoint: str) -> str:
    """The same endpoint as libzmq takes it: it binds to no host names, and calls a free port `*`."""
    plain = endpoint.replace("//localhost:", "//127.0.0.1:")
    return plain[:-1] + "*" if plain.startswith("tcp://") and plain.endswith(":0") else plain


def ipc_path(endpoint: str) -> Path | None:
    """The socket's file; None for TCP."""
    path = endpoint.removeprefix("ipc://")
    return None if path == endpoint else Path(path)


def ipc_in_use(path: Path) -> bool:
    """Whether a living process listens there; libzmq would silently take the path from it."""
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _is_ipc(endpoint: str) -> bool:
    """To libzmq @ is a name without a file, hence without permissions, and * any path: neither is ours."""
    path = ipc_path(endpoint)
    if path is None or "\0" in endpoint:
        return False
    text = endpoint.removeprefix("ipc://")
    return 0 < len(os.fsencode(text)) <= MAX_IPC_PATH and text[0] not in "@*"
