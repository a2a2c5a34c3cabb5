"""TensorRT as a network of the host detector: NumPy buffers in and out, one stream, one wait per run."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import numpy as np

from kernels.device import Device, DeviceError, Mark, open_device

from ...bundle import Bundle
from ...errors import DetectorError, EngineError
from ...network import Buffers, TensorSpec
from .builder import Report
from .cache import EngineCache
from .engines import engine_key, ready_engine
from .library import open_library
from .session import Session

logger = logging.getLogger(__name__)


class TensorRtNetwork:
    """An engine between pinned memory: copied up, enqueued, copied down, waited for."""

    library: ClassVar[str] = "tensorrt"

    @classmethod
    def offered(cls) -> tuple[str, ...]:
        """fp16, then fp32; raises EngineError without GPU or TensorRT."""
        open_library(cls.library)
        return ("fp16", "fp32")

    def __init__(
        self,
        bundle: Bundle,
        threads: int,
        precision: str,
        trt: Any = None,
        device: Device | None = None,
        cache: EngineCache | None = None,
        report: Report | None = None,
        anew: bool = False,
    ) -> None:
        """Takes the bundle's engine from the cache, or builds it first.

        Args:
            threads: is not used; the GPU does the work.
            trt, device, cache: None: the module of `library`, this machine's GPU, the user's cache.
            report: told how the build goes; None: the log.
            anew: build, also where the cache has the engine.
        """
        trt = open_library(self.library) if trt is None else trt
        self._device = _open_device() if device is None else device
        self.precision = precision
        self._cache = EngineCache() if cache is None else cache
        self._key = engine_key(trt, bundle, precision, self._device.name, self._device.arch)
        engine = ready_engine(trt, bundle, self._key, self._cache, report or _log, anew)
        part = bundle.manifest.network
        self.specs: tuple[TensorSpec, ...] = (part.input, *part.outputs)
        self._dtype = "float16" if precision == "fp16" else "float32"
        self._session = Session(trt, engine, self.specs, self._dtype)
        self._stream = self._device.stream()

    def bind(self, buffers: Buffers) -> None:
        """As in `Network`; the only place that asks for memory."""
        sizes = {s.name: int(np.prod(s.shape)) * np.dtype(self._dtype).itemsize for s in self.specs}
        self._bound = buffers
        self._far = {name: self._device.memory(size) for name, size in sizes.items()}
        self._near = {name: self._device.pinned(size) for name, size in sizes.items()}
        self._views = {s.name: self._near[s.name].view(s.shape, self._dtype) for s in self.specs}
        self._session.bind({name: memory.address for name, memory in self._far.items()})

    def run(self, stream: object | None = None) -> None:
        """As in `Network`; waits, since the head that follows runs on the CPU.

        Raises:
            DetectorError: TensorRT or the driver refused.
        """
        image, *outputs = (spec.name for spec in self.specs)
        with np.errstate(over="ignore"):
            self._views[image][...] = self._bound[image]
        try:
            self._enqueue(image, outputs).wait()
        except self._device.fault as error:
            raise DetectorError(f"{self.library}: the GPU failed: {error}") from error
        for name in outputs:
            self._bound[name][...] = self._views[name]

    def close(self) -> None:
        """As in `Network`."""
        self._session.close()
        self._device.close()

    def forget(self) -> None:
        """Deletes the engine from the cache: it does not decide as it should."""
        self._cache.remove(self._key)

    def _enqueue(self, image: str, outputs: list[str]) -> Mark:
        self._stream.copy(self._far[image], self._near[image])
        self._session.enqueue(self._stream.handle)
        for name in outputs:
            self._stream.copy(self._near[name], self._far[name])
        return self._stream.mark()


class TensorRtRtxNetwork(TensorRtNetwork):
    """The same on TensorRT-RTX, which compiles the last step when it loads an engine."""

    library: ClassVar[str] = "tensorrt_rtx"


ENGINES: dict[str, type[TensorRtNetwork]] = {
    "tensorrt": TensorRtNetwork,
    "tensorrt_rtx": TensorRtRtxNetwork,
}
"""The backends of `NETWORKS` that build an engine first."""


def _open_device() -> Device:
    try:
        return open_device()
    except DeviceError as error:
        raise EngineError(str(error)) from None


def _log(line: str) -> None:
    logger.warning("engine: %s", line)
