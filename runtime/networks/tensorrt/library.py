"""The TensorRT module of this machine, opened only where a GPU answers: without one it crashes at exit."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from kernels.device import Probe, probe

from ...errors import EngineError

logger = logging.getLogger(__name__)

MODULES = {"tensorrt": "TensorRT >= 10.3", "tensorrt_rtx": "TensorRT-RTX"}
"""Python module -> what is missing where it cannot be imported."""
OLDEST = (10, 3)


def open_library(module: str, found: Probe | None = None) -> Any:
    """The imported module.

    Args:
        found: what the driver said; None asks it.

    Raises:
        EngineError: no GPU, no such package, or one that is too old; in one line.
    """
    found = probe() if found is None else found
    if found.reason:
        raise EngineError(f"backend {module}: {found.reason}; --backend onnxruntime runs on the CPU")
    try:
        library = importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise EngineError(
            f"backend {module}: {MODULES[module]} cannot be imported ({error}); "
            "on a Jetson take JetPack's in a venv with --system-site-packages"
        ) from None
    require_release(module, library.__version__)
    return library


def require_release(module: str, version: str) -> None:
    """Raises EngineError for a TensorRT before `OLDEST`; TensorRT-RTX counts anew, from 1.0."""
    release = tuple(int(part) for part in version.split(".")[:2])
    if module == "tensorrt" and release < OLDEST:
        raise EngineError(
            f"backend tensorrt: TensorRT is {version}; expected at least {OLDEST[0]}.{OLDEST[1]}"
        )


def open_log(trt: Any) -> Any:
    """A logger for TensorRT that writes to ours and keeps the last error in `error`."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.error = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.error = message.strip().splitlines()[0][:300]
            logger.debug("TensorRT %s: %s", severity, message)

    return Log()
