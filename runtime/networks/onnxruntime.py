"""Networks on ONNX Runtime's CPU provider, bound to NumPy memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..bundle import Bundle
from ..errors import DetectorError, EngineError
from ..network import Buffers, TensorSpec
from ..precision import NETWORK_FILES


class OnnxRuntimeNetwork:
    """One session; inputs and outputs bound once, so that a run allocates nothing of ours.

    An FP16 network takes and gives FP16, which is copied from and to the FP32 buffers. Between two layers
    most CPUs keep FP32: what such a network loses on a GPU shows here only in part.
    """

    @classmethod
    def offered(cls) -> tuple[str, ...]:
        """fp32, then fp16 to compare with."""
        return ("fp32", "fp16")

    def __init__(self, bundle: Bundle, threads: int, precision: str) -> None:
        """Loads the network of that precision from the bundle's verified bytes."""
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        # onnxruntime's errors share no base class below Exception: collect them by name.
        self._errors = (RuntimeError, ValueError, *(e for e in vars(state).values() if _is_error(e)))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A spinning worker takes the second core away from capture and publishing between two frames.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        file = NETWORK_FILES[precision]
        where = bundle.path / file
        try:
            self._session = onnxruntime.InferenceSession(
                bundle.files[file], options, providers=["CPUExecutionProvider"]
            )
        except self._errors as error:
            raise EngineError(f"{where}: onnxruntime cannot load it: {_first_line(error)}") from None
        part = bundle.manifest.network
        self.specs: tuple[TensorSpec, ...] = (part.input, *part.outputs)
        _check_specs(str(where), self.specs, [*self._session.get_inputs(), *self._session.get_outputs()])
        self._binding = self._session.io_binding()
        self._half = precision == "fp16"

    def bind(self, buffers: Buffers) -> None:
        """As in `Network`."""
        dtype = np.float16 if self._half else np.float32
        self._bound = buffers
        # The session holds bare pointers: this keeps the memory alive.
        self._own = {s.name: np.zeros(s.shape, dtype) if self._half else buffers[s.name] for s in self.specs}
        for index, spec in enumerate(self.specs):
            buffer = buffers[spec.name]
            if buffer.shape != spec.shape or buffer.dtype != np.float32 or not buffer.flags.c_contiguous:
                raise ValueError(f"{spec.name}: {buffer.dtype} {buffer.shape}, expected float32 {spec.shape}")
            bind = self._binding.bind_output if index else self._binding.bind_input
            bind(spec.name, "cpu", 0, dtype, spec.shape, self._own[spec.name].ctypes.data)

    def run(self, stream: object | None = None) -> None:
        """As in `Network`.

        Raises:
            DetectorError: onnxruntime refused the run.
        """
        self._copy(self.specs[:1], self._bound, self._own)
        try:
            self._session.run_with_iobinding(self._binding)
        except self._errors as error:
            raise DetectorError(f"onnxruntime: {_first_line(error)}") from error
        self._copy(self.specs[1:], self._own, self._bound)

    def close(self) -> None:
        """As in `Network`."""
        del self._binding, self._session

    def _copy(
        self, specs: Sequence[TensorSpec], source: Mapping[str, Any], target: Mapping[str, Any]
    ) -> None:
        for spec in specs if self._half else ():
            # What does not fit FP16 becomes infinite, and the score INVALID.
            with np.errstate(over="ignore"):
                target[spec.name][...] = source[spec.name]


def _is_error(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Exception)


def _check_specs(where: str, specs: tuple[TensorSpec, ...], found: list[object]) -> None:
    shapes = {getattr(node, "name", ""): tuple(getattr(node, "shape", ())) for node in found}
    wanted = {spec.name: spec.shape for spec in specs}
    if shapes != wanted:
        raise EngineError(f"{where}: tensors are {shapes}, the manifest says {wanted}; export again")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
