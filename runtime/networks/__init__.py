"""What runs a network: a table from the backend's name to the class behind it."""

from __future__ import annotations

import importlib
from typing import Protocol

from ..bundle import Bundle
from ..errors import ConfigError, EngineError
from ..network import Network
from ..precision import choose_precision


class NetworkClass(Protocol):
    """What each backend's class offers besides `Network`."""

    def __call__(self, bundle: Bundle, threads: int, precision: str) -> Network:
        """Loads the bundle's network; raises EngineError when it cannot run here."""

    def offered(self) -> tuple[str, ...]:
        """Precisions that this backend has on this machine, best first; EngineError when it has none."""


NETWORKS: dict[str, tuple[str, str]] = {
    "onnxruntime": (".onnxruntime", "OnnxRuntimeNetwork"),
    "openvino": (".openvino", "OpenVinoNetwork"),
    "tensorrt": (".tensorrt.network", "TensorRtNetwork"),
    "tensorrt_rtx": (".tensorrt.network", "TensorRtRtxNetwork"),
}
"""Backend -> (module, class); a module is imported only when its backend is asked for."""


def open_network(backend: str, bundle: Bundle, threads: int = 1) -> Network:
    """Opens the bundle's network on a backend with `threads` CPU threads, 1..64.

    Args:
        backend: a key of `NETWORKS`, alone or with a precision, such as "onnxruntime:fp16"; alone it takes
            the best that the bundle's parity report allows.

    Raises:
        ConfigError: `threads` is out of range.
        EngineError: unknown backend, its package is missing, or it cannot run this network.
    """
    check_threads(threads)
    opener = _find(backend)
    return opener(bundle, threads, precision_of(backend, bundle))


def precision_of(backend: str, bundle: Bundle) -> str:
    """The precision that `open_network` takes; see there."""
    name, _, wanted = backend.partition(":")
    allowed = bundle.manifest.allowed_precisions
    return choose_precision(name, offered_precisions(name), allowed, wanted or None)


def offered_precisions(backend: str) -> tuple[str, ...]:
    """Those that a backend has on this machine, best first; EngineError when it does not run here."""
    return _find(backend).offered()


def _find(backend: str) -> NetworkClass:
    backend = backend.partition(":")[0]
    if backend not in NETWORKS:
        raise EngineError(f"backend {backend!r} unknown; expected one of {', '.join(sorted(NETWORKS))}")
    module, name = NETWORKS[backend]
    opener: NetworkClass = getattr(importlib.import_module(module, __package__), name)
    return opener


def check_threads(threads: int) -> None:
    """Raises ConfigError unless a network may be given so many CPU threads."""
    if not 1 <= threads <= 64:
        raise ConfigError(f"threads is {threads}; expected 1..64")
