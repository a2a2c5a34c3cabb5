"""Networks on OpenVINO's CPU plugin, where it is installed."""

from __future__ import annotations

from typing import Any

from ..bundle import Bundle
from ..errors import DetectorError, EngineError
from ..network import Buffers, TensorSpec


class OpenVinoNetwork:
    """One compiled model and one request, its tensors laid over our NumPy memory."""

    @classmethod
    def offered(cls) -> tuple[str, ...]:
        """bf16 where the CPU computes in it, then fp32."""
        capabilities = _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return ("bf16", "fp32") if "BF16" in capabilities else ("fp32",)

    def __init__(self, bundle: Bundle, threads: int, precision: str) -> None:
        """Compiles `network.onnx` for the CPU."""
        openvino = _openvino()
        options = {
            # OpenVINO picks bf16 by itself on CPUs with AMX; nothing may lose bits unasked.
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": str(threads),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._openvino = openvino
        try:
            model = openvino.Core().compile_model(
                openvino.Core().read_model(bundle.files["network.onnx"]), "CPU", options
            )
        except RuntimeError as error:
            first = str(error).strip().splitlines()[0][:300]
            raise EngineError(f"{bundle.path / 'network.onnx'}: openvino cannot load it: {first}") from None
        part = bundle.manifest.network
        self.specs: tuple[TensorSpec, ...] = (part.input, *part.outputs)
        self._request = model.create_infer_request()

    def bind(self, buffers: Buffers) -> None:
        """As in `Network`."""
        for spec in self.specs:
            self._request.set_tensor(spec.name, self._openvino.Tensor(buffers[spec.name], shared_memory=True))
        self._bound = buffers

    def run(self, stream: object | None = None) -> None:
        """As in `Network`.

        Raises:
            DetectorError: OpenVINO refused the run.
        """
        try:
            self._request.infer()
        except RuntimeError as error:
            raise DetectorError(f"openvino: {str(error).strip().splitlines()[0][:300]}") from error

    def close(self) -> None:
        """As in `Network`."""
        del self._request


def _openvino() -> Any:
    try:
        import openvino
    except ImportError:
        raise EngineError("backend openvino: package missing; pip install 'gonogo[openvino]'") from None
    return openvino
