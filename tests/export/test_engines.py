"""The networks of GRNR and PatchCore on every backbone are built by NVIDIA's own parser and builder.

FP32 and typed FP16; what a method trains behind its features (INP-Former) is not among them yet.

TensorRT-RTX builds for a GPU that is not there; what it parses and types, TensorRT does by the same rules.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from export.methods import METHODS
from export.methods.grnr import DEFAULTS
from export.networks import BACKBONES
from export.precision.half import to_half
from runtime.errors import EngineError
from runtime.networks.tensorrt.builder import build_engine

if importlib.util.find_spec("tensorrt_rtx") is None:
    pytest.skip("tensorrt-rtx has no wheel for this platform", allow_module_level=True)


@pytest.fixture(scope="module")
def trt() -> Any:
    import tensorrt_rtx

    return tensorrt_rtx


def build(trt: Any, model: bytes) -> bytes:
    return build_engine(trt, model, "network.onnx", print, capability="SM86")[0]


@pytest.fixture(scope="module")
def weights(
    random_state: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str | None]:
    """Backbone -> a file of random weights."""
    folder = tmp_path_factory.mktemp("weights")

    def draw(backbone: str) -> str | None:
        if BACKBONES[backbone].layout is None:
            return None
        path = folder / f"{backbone}.npz"
        if not path.exists():
            np.savez(path, **random_state(backbone, True))
        return str(path)

    return draw


@pytest.mark.parametrize(("method", "backbone"), [*itertools.product(("grnr", "patchcore"), DEFAULTS)])
def test_every_network_builds_in_fp32_and_in_typed_fp16(
    method: str, backbone: str, trt: Any, weights: Callable[[str], str | None]
) -> None:
    laid = METHODS[method](id="a", backbone=backbone, weights=weights(backbone)).network(Path())
    model = onnx.load_from_string(laid.model)
    # One island, so that its Casts are parsed too: the node that gives the first output.
    island = {model.graph.node[-1].name}
    full, half = build(trt, laid.model), build(trt, to_half(model, island).SerializeToString())
    size = sum(np.prod(c.dims) for c in model.graph.initializer)
    # Weights are most of an engine where there are many, and FP16 halves them.
    assert size < 1e6 or len(half) < 0.7 * len(full)


def test_what_the_parser_refuses_is_one_line_with_its_words(trt: Any) -> None:
    with pytest.raises(EngineError, match=r"^network\.onnx: tensorrt_rtx .* cannot parse it: .+$") as caught:
        build(trt, b"no network")
    assert "\n" not in str(caught.value)


def test_a_network_of_two_types_without_a_cast_is_refused(trt: Any) -> None:
    """What strong typing is for: nobody casts on the quiet."""
    model = onnx.load_from_string(METHODS["grnr"](id="a").network(Path()).model)
    half = to_half(model)
    for constant in half.graph.initializer:
        if constant.name == "quadrature.weight_half":
            full = onnx.numpy_helper.to_array(constant).astype(np.float32)
            constant.CopyFrom(onnx.numpy_helper.from_array(full, constant.name))
    with pytest.raises(EngineError, match=r"cannot (parse|build) it"):
        build(trt, half.SerializeToString())
