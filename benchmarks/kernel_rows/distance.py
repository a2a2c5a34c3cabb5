"""Rows of `distance_map` and `finish_map`: two feature maps per scale to one blurred map and its maximum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.contest import Call, Entrant, Row
from kernels import native, reference
from kernels.arrays import F32
from kernels.matrices import finish_matrix

from .compare import relative_map
from .ours import native_call
from .threads import one_thread_cv2, one_thread_openvino, one_thread_session, one_thread_torch

SHAPES = ((64, 256), (32, 512), (16, 1024))
"""Cells per side and channels of each scale."""
SIDE, SIGMA = 256, 4.0


@dataclass(frozen=True)
class Pairs:
    """Feature pairs of all scales, channels last."""

    first: list[F32]
    second: list[F32]
    matrices: list[F32]
    """(SIDE, cells) of each scale: bilinear, then Gaussian."""

    def pairs(self) -> list[tuple[F32, F32]]:
        """First and second of each scale."""
        return list(zip(self.first, self.second, strict=True))


def _make() -> Pairs:
    draw = np.random.default_rng(0)
    first = [draw.normal(0, 1, (n, n, c)).astype(np.float32) for n, c in SHAPES]
    second = [f + draw.normal(0, 0.5, f.shape).astype(np.float32) for f in first]
    return Pairs(first, second, [finish_matrix(n, SIDE, SIDE, SIGMA) for n, _ in SHAPES])


def _reference(given: Pairs) -> Call:
    def call() -> Any:
        maps = [reference.distance_map(a, b, "cosine") for a, b in given.pairs()]
        return reference.finish_map(maps, given.matrices, given.matrices, "sum")

    return call


def _native(given: Pairs) -> Call:
    maps = [np.empty(a.shape[:2], np.float32) for a in given.first]
    out = np.empty((SIDE, SIDE), np.float32)

    def call() -> Any:
        for (a, b), distances in zip(given.pairs(), maps, strict=True):
            native.distance_map(a, b, "cosine", distances)
        return native.finish_map(maps, given.matrices, given.matrices, "sum", out=out)

    return native_call(call)


def _numpy_cv2(given: Pairs) -> Call:
    cv2 = one_thread_cv2()
    size = 2 * int(4 * SIGMA + 0.5) + 1

    def distance(a: F32, b: F32) -> F32:
        norms = np.vecdot(a, a) * np.vecdot(b, b)
        return np.asarray(1 - np.vecdot(a, b) / np.sqrt(norms))

    def call() -> Any:
        total = np.zeros((SIDE, SIDE), np.float32)
        for a, b in given.pairs():
            total += cv2.resize(distance(a, b), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        blurred = cv2.GaussianBlur(total, (size, size), SIGMA, borderType=cv2.BORDER_REFLECT)
        return blurred, float(blurred.max())

    return call


def _torch(given: Pairs) -> Call:
    torch = one_thread_torch()
    first, second, matrices = (
        [torch.from_numpy(a) for a in arrays] for arrays in (given.first, given.second, given.matrices)
    )

    def call() -> Any:
        total = sum(
            m @ (1 - torch.cosine_similarity(a, b, dim=2)) @ m.T
            for a, b, m in zip(first, second, matrices, strict=True)
        )
        return total.numpy(), float(total.max())

    return call


def _onnxruntime(given: Pairs) -> Call:
    session = one_thread_session(_graph(given))
    feed = _feed(given)
    return lambda: tuple(session.run(None, feed))


def _openvino(given: Pairs) -> Call:
    import openvino

    request = one_thread_openvino(openvino.Core().read_model(_graph(given)))
    feed = _feed(given)

    def call() -> Any:
        answer = request.infer(feed, share_inputs=True, share_outputs=True)
        return answer[0], answer[1]

    return call


def _feed(given: Pairs) -> dict[str, F32]:
    return {f"a{i}": a for i, a in enumerate(given.first)} | {f"b{i}": b for i, b in enumerate(given.second)}


def _graph(given: Pairs) -> bytes:
    """The same work as standard operators, the matrices as constants."""
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    inputs, maps = [], []
    constants = [numpy_helper.from_array(np.array([2], np.int64), "axis")]

    def node(kind: str, *names: str, **attributes: Any) -> str:
        out = f"t{len(nodes)}"
        nodes.append(helper.make_node(kind, list(names), [out], **attributes))
        return out

    for i, (features, matrix) in enumerate(zip(given.first, given.matrices, strict=True)):
        a, b = f"a{i}", f"b{i}"
        inputs += [helper.make_tensor_value_info(x, TensorProto.FLOAT, features.shape) for x in (a, b)]
        constants += [numpy_helper.from_array(matrix, f"m{i}")]
        constants += [numpy_helper.from_array(np.ascontiguousarray(matrix.T), f"n{i}")]
        dot, aa, bb = (
            node("ReduceSum", node("Mul", x, y), "axis", keepdims=0) for x, y in ((a, b), (a, a), (b, b))
        )
        cosine = node("Div", dot, node("Sqrt", node("Mul", aa, bb)))
        maps.append(node("MatMul", node("MatMul", f"m{i}", cosine), f"n{i}"))
    constants.append(numpy_helper.from_array(np.float32(len(maps)), "count"))
    # Rows of the matrices sum to 1: 1 - cosine, enlarged, is 1 - the enlarged cosine.
    fused = node("Sub", "count", node("Sum", *maps))
    score = node("ReduceMax", fused, keepdims=0)
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (fused, score)]
    graph = helper.make_graph(nodes, "distance", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return bytes(model.SerializeToString())


def _read_once(given: Pairs) -> Call:
    pairs = [(a.ravel(), b.ravel()) for a, b in given.pairs()]
    return lambda: [np.dot(a, b) for a, b in pairs]


ROWS = [
    Row(
        work="distance map: 64^2x256 + 32^2x512 + 16^2x1024 -> 256^2, cosine, blur, sum, max",
        target="<= 1.0 ms, >= 3 x numpy + cv2",
        make=_make,
        entrants=(
            Entrant("native", "native", _native),
            Entrant("reference", "reference", _reference),
            Entrant("numpy + cv2", "peer", _numpy_cv2, "vecdot (BLAS), cv2.resize of each scale, one blur"),
            Entrant("OpenVINO", "peer", _openvino, "FP32, LATENCY, matrices for resize and blur"),
            Entrant("ONNX Runtime", "peer", _onnxruntime, "all optimisations, matrices for resize and blur"),
            Entrant(
                "torch", "peer", _torch, "cosine_similarity, channels last, matrices for resize and blur"
            ),
            Entrant("memory", "limit", _read_once, "one sdot over all features: 14.7 MB read once"),
        ),
        compare=relative_map,
    ),
]
