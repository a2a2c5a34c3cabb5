"""FP16 in the graph: types, Casts, what FP32 keeps, and that the emulation rounds where FP16 would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from export.networks import build_network
from export.networks.graph import Graph
from export.precision.half import emulate_half, to_half
from export.precision.islands import find_islands
from export.precision.work import half_share
from runtime.errors import ConfigError

Floats = NDArray[np.floating[Any]]


def run(model: onnx.ModelProto, image: Floats) -> list[Floats]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {"image": image})]


def graph_of(*steps: Any) -> onnx.ModelProto:
    """A network of (1, 3, 8, 8) with one output from functions of a graph and a tensor."""
    graph, x = Graph(), "image"
    for step in steps:
        x = step(graph, x)
    graph.node("Transpose", x, name="out", perm=[0, 2, 3, 1])
    return graph.model("test", {"image": (1, 3, 8, 8)}, {"out": (1, 8, 8, 3)})


def image(low: float = 0.0, high: float = 1.0) -> NDArray[np.float32]:
    return np.random.default_rng(2).uniform(low, high, (1, 3, 8, 8)).astype(np.float32)


def variance(graph: Graph, x: str) -> str:
    """Of a value far from zero, as a difference of nearly equal numbers."""
    shifted = graph.add(x, graph.scalar(10.0))
    return graph.sub(graph.mul(shifted, shifted), graph.scalar(100.0))


def test_every_tensor_of_the_typed_network_is_fp16() -> None:
    half = to_half(build_network("filter_bank", (64, 64), ("bank",), None))
    whole = onnx.shape_inference.infer_shapes(half, strict_mode=True).graph
    values = (*whole.input, *whole.value_info, *whole.output)
    assert {value.type.tensor_type.elem_type for value in values} == {TensorProto.FLOAT16}
    assert {c.data_type for c in whole.initializer} == {TensorProto.FLOAT16, TensorProto.INT64}
    assert not [node for node in whole.node if node.op_type == "Cast"]


def test_an_island_computes_in_fp32_between_two_casts() -> None:
    model = graph_of(Graph.relu, Graph.sqrt, Graph.relu)
    half = to_half(model, {"sqrt_1"})
    assert [node.op_type for node in half.graph.node] == [
        *("Relu", "Cast", "Sqrt", "Cast", "Relu", "Transpose"),
    ]
    (out,) = run(half, image().astype(np.float16))
    assert out.dtype == np.float16


def test_an_output_in_an_island_leaves_in_fp16_under_its_own_name() -> None:
    half = to_half(graph_of(Graph.relu), {"out"})
    assert [output.name for output in half.graph.output] == ["out"]
    exact = image().astype(np.float16)
    np.testing.assert_array_equal(run(half, exact)[0], exact.transpose(0, 2, 3, 1))


def test_the_same_arguments_give_the_same_bytes() -> None:
    model = build_network("filter_bank", (64, 64), ("bank",), None)
    assert to_half(model).SerializeToString() == to_half(model).SerializeToString()


def test_the_emulation_rounds_after_every_layer_as_numpy_s_fp16_does() -> None:
    (seen,) = run(emulate_half(graph_of(variance)), image())
    shifted = image().astype(np.float16) + np.float16(10)
    expected = (shifted * shifted - np.float16(100)).transpose(0, 2, 3, 1)
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen, expected.astype(np.float32))


def test_a_difference_of_nearly_equal_numbers_and_what_it_takes_become_islands() -> None:
    found = find_islands(graph_of(variance), [image(0.0, 0.01)])
    assert [island.node for island in found.islands] == ["sub_2", "mul_1", "add_0"]
    assert "times its inputs' error" in found.islands[0].reason
    assert "its rounding costs sub_2" in found.islands[1].reason
    assert max(found.errors.values()) < 1e-3


def test_what_is_too_large_for_fp16_becomes_an_island() -> None:
    model = graph_of(lambda g, x: g.mul(x, g.scalar(1e5)), lambda g, x: g.mul(x, g.scalar(1e-5)), Graph.relu)
    found = find_islands(model, [image(0.8, 1.0)])
    assert [island.node for island in found.islands] == ["mul_0", "mul_1"]
    assert max(found.errors.values()) < 1e-3


def test_an_output_that_fp16_cannot_hold_is_refused_with_its_layer() -> None:
    with pytest.raises(ConfigError, match=r"FP16: output out is off by .*the worst layer is"):
        find_islands(graph_of(lambda g, x: g.mul(x, g.scalar(1e6))), [image(0.8, 1.0)])


def test_the_share_of_work_counts_multiplications_of_convolutions() -> None:
    weights = {"a.weight": np.ones((3, 3, 3, 3), np.float32), "b.weight": np.ones((3, 3, 1, 1), np.float32)}
    model = graph_of(
        lambda g, x: g.conv(x, weights, "a", pad=1), Graph.relu, lambda g, x: g.conv(x, weights, "b")
    )
    assert half_share(model, ()) == 1.0
    assert half_share(model, {"relu_1"}) == 1.0
    assert half_share(model, {"conv_2"}) == pytest.approx(0.9)
    assert half_share(model, {"conv_0"}) == pytest.approx(0.1)


def test_a_network_of_random_weights_loses_no_more_than_its_roundings(tmp_path: Path) -> None:
    model = build_network("filter_bank", (64, 64), ("bank",), None)
    rng = np.random.default_rng(1)
    noise = np.repeat(rng.uniform(0, 1, (1, 1, 64, 64)), 3, 1).astype(np.float32)
    found = find_islands(model, [noise])
    (exact,), (half,) = run(model, noise), run(emulate_half(model, [i.node for i in found.islands]), noise)
    assert np.sqrt(np.mean((half - exact) ** 2)) < 0.01 * np.sqrt(np.mean(exact**2))
