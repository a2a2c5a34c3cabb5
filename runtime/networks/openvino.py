"""Networks on OpenVINO's CPU plugin, where it is installed."""

from __future__ import annotations

from ..bundle import Bundle
from ..errors import DetectorError, EngineError
from ..network import Buffers, TensorSpec


class OpenVinoNetwork:
    """One compiled model and one request, its tensors laid over our NumPy memory."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """Compiles `network.onnx` for the CPU; FP32 unless the bundle's parity report allows bf16."""
        try:
            import openvino
        except ImportError:
            raise EngineError("backend openvino: package missing; pip install 'gonogo[openvino]'") from None
        allowed = bundle.manifest.allowed_precisions
        options = {
            # OpenVINO picks bf16 by itself on CPUs with AMX; nothing may lose bits unasked.
            "INFERENCE_PRECISION_HINT": "bf16" if "bf16" in allowed else "f32",
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
