"""An engine that was deserialised: memory bound once, then enqueued on a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import DetectorError, EngineError
from ...network import TensorSpec
from .library import open_log


class Session:
    """One engine and one execution context, for one stream at a time."""

    def __init__(self, trt: Any, engine: bytes, specs: Sequence[TensorSpec], dtype: str) -> None:
        """Deserialises an engine that this machine built.

        Args:
            specs: what the manifest says: the input first, then the outputs.
            dtype: "float16" or "float32", that of every one of these tensors.

        Raises:
            EngineError: TensorRT refuses it, or its tensors are others.
        """
        self._log = open_log(trt)
        # The runtime must live as long as its engine.
        self._runtime = trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise EngineError(f"{trt.__name__} {trt.__version__} refuses the engine: {self._log.error}")
        _check(trt, self._engine, specs, dtype)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"{trt.__name__}: no memory for the engine: {self._log.error}")

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Fixes the device memory of every tensor, by name."""
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise EngineError(f"{name}: TensorRT refuses its memory: {self._log.error}")

    def enqueue(self, stream: int) -> None:
        """Enqueues one inference on a stream of the driver and returns at once.

        Raises:
            DetectorError: TensorRT refused.
        """
        if not self._context.execute_async_v3(stream):
            raise DetectorError(f"TensorRT: {self._log.error or 'the engine could not be enqueued'}")

    def close(self) -> None:
        """Frees context, engine and runtime, in this order."""
        self._context = self._engine = self._runtime = None


def _check(trt: Any, engine: Any, specs: Sequence[TensorSpec], dtype: str) -> None:
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    found = {
        name: (
            tuple(engine.get_tensor_shape(name)),
            engine.get_tensor_dtype(name),
            engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
        )
        for name in names
    }
    kind = trt.DataType.HALF if dtype == "float16" else trt.DataType.FLOAT
    wanted = {spec.name: (spec.shape, kind, n == 0) for n, spec in enumerate(specs)}
    if found != wanted:
        raise EngineError(f"engine: tensors are {found}, the manifest says {wanted}; export again")
