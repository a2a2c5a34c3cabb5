"""The peers, loaded with one thread each: what their environment variables do not reach."""

from __future__ import annotations

from typing import Any


def one_thread_torch() -> Any:
    """torch, without gradients, on one thread."""
    import torch

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    return torch


def one_thread_cv2() -> Any:
    """cv2 on the calling thread."""
    import cv2

    cv2.setNumThreads(1)
    return cv2


def one_thread_session(model: bytes) -> Any:
    """An ONNX Runtime session on the calling thread, fully optimised."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def one_thread_openvino(model: Any) -> Any:
    """An OpenVINO request on one core for latency; FP32 as it was given."""
    import openvino

    hints = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    return openvino.Core().compile_model(model, "CPU", hints).create_infer_request()
