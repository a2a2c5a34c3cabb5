"""From a bundle to one ONNX: preprocessing, network, head and score, for any server that runs ONNX.

The names of outputs and metadata are those of Anomalib's exports.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kernels import resize_matrix
from runtime.bundle import Bundle, GrnrHead, KnnHead, Manifest, Preprocessing
from runtime.errors import ConfigError

from .grnr import lay_grnr
from .knn import lay_knn
from .layers import Layers

LARGEST = 16384
"""Longest side of a frame, px."""


def standalone(bundle: Bundle, frame: tuple[int, int]) -> onnx.ModelProto:
    """The bundle as one checked model of FP32 for frames of one size.

    Takes `image` (1, H, W, 3) uint8, blue-green-red as OpenCV gives it. Gives `score` (1,) in the bundle's
    unit, `pred_score` (1,) in 0..1 with 0.5 at the threshold, `pred_label` (1,) bool, and `anomaly_map`
    (1, 1, h, w) on the head's grid. The threshold is the bundle's suggestion, else that of its golden
    images; it stands in the metadata.

    Args:
        frame: (H, W) of the frames, px.

    Raises:
        ConfigError: a frame that is none, or a head that has no such form.
    """
    if not all(1 <= side <= LARGEST for side in frame):
        raise ConfigError(f"standalone: frame is {frame[1]} x {frame[0]}; expected 1..{LARGEST} px each way")
    manifest, graph = bundle.manifest, Layers()
    image = _preprocess(graph, manifest.preprocessing, frame)
    features = _adopt(graph, onnx.load_from_string(bundle.files["network.onnx"]), image)
    shapes = {output.name: output.shape[1:] for output in manifest.network.outputs}
    arrays, head = bundle.arrays(), manifest.head
    if isinstance(head, GrnrHead):
        anomaly_map, score = lay_grnr(graph, head, arrays, features, shapes)
        size = len(arrays["rows_0"]), len(arrays["columns_0"])
    elif isinstance(head, KnnHead):
        anomaly_map, score = lay_knn(graph, head, arrays, features, shapes)
        size = len(arrays["rows"]), len(arrays["columns"])
    else:
        raise ConfigError(f"standalone: head {type(head).__name__} has no form in standard operators")
    return _finish(graph, manifest, frame, anomaly_map, score, size)


def _preprocess(graph: Layers, how: Preprocessing, frame: tuple[int, int]) -> str:
    """(1, 3, h, w) float32, as `kernels.preprocess` defines it."""
    down, across = (resize_matrix(n, m).astype(np.float32) for n, m in zip(frame, how.size, strict=True))
    planes = graph.transpose(graph.node("Cast", "image", to=TensorProto.FLOAT), 0, 3, 1, 2)
    # The camera's channel 0 is blue, the network's is red.
    planes = graph.node("Gather", planes, graph.ints(2, 1, 0), axis=1)
    tall = graph.matmul(graph.constant("preprocess.rows", down), planes)
    resized = graph.matmul(tall, graph.constant("preprocess.columns", across.T))
    std, mean = (np.array(values, np.float64)[:, None, None] for values in (how.std, how.mean))
    scaled = graph.mul(resized, graph.constant("preprocess.scale", (1 / (255 * std)).astype(np.float32)))
    return graph.sub(scaled, graph.constant("preprocess.shift", (mean / std).astype(np.float32)))


def _adopt(graph: Layers, model: onnx.ModelProto, image: str) -> dict[str, str]:
    """Lays the network's nodes under names of their own; from the name of an output to its tensor."""

    def renamed(name: str) -> str:
        return image if name == "image" else f"network/{name}" if name else ""

    for constant in model.graph.initializer:
        graph.constant(renamed(constant.name), numpy_helper.to_array(constant))
    for node in model.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.name = renamed(node.name)
        copy.input[:] = [renamed(name) for name in node.input]
        copy.output[:] = [renamed(name) for name in node.output]
        graph.append(copy)
    return {output.name: renamed(output.name) for output in model.graph.output}


def _finish(
    graph: Layers,
    manifest: Manifest,
    frame: tuple[int, int],
    anomaly_map: str,
    score: str,
    size: tuple[int, int],
) -> onnx.ModelProto:
    hint = manifest.suggestion
    threshold = manifest.golden.threshold if hint is None else hint.threshold
    graph.reshape(anomaly_map, 1, 1, *size, name="anomaly_map")
    raw = graph.reshape(score, 1, name="score")
    limit, one = graph.constant("threshold", np.array([threshold], np.float32)), graph.scalar(1)
    relative = graph.div(graph.sub(raw, limit), graph.scalar(2 * threshold))
    graph.node("Clip", graph.add(relative, graph.scalar(0.5)), graph.scalar(0), one, name="pred_score")
    graph.node("GreaterOrEqual", raw, limit, name="pred_label")
    outputs = {"score": (1,), "pred_score": (1,), "pred_label": (1,), "anomaly_map": (1, 1, *size)}
    types = {"image": TensorProto.UINT8, "pred_label": TensorProto.BOOL}
    model = graph.model(manifest.id, {"image": (1, *frame, 3)}, outputs, types)
    facts = {
        "image_threshold": repr(threshold),
        "pixel_threshold": repr(threshold),
        "normalization_scale": repr(2 * threshold),
        "labels": "Normal Anomaly",
        "method": manifest.method,
        "bundle": manifest.id,
    }
    helper.set_model_props(model, facts)
    return model
