"""The bundle as one ONNX: its scores and maps are those of the runtime, on any server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from export.bundling import export_bundle
from export.method import Method
from export.methods.grnr import GrnrExport
from export.methods.patchcore import PatchcoreExport
from export.standalone import standalone
from runtime.bundle import Bundle
from runtime.errors import ConfigError
from runtime.opening import open_detector
from runtime.sources.defects import Defect, plant_defect
from runtime.sources.synthetic import SyntheticConfig, SyntheticSource

U8 = NDArray[np.uint8]
FRAME = (320, 400)


def sections(count: int) -> list[U8]:
    source = SyntheticSource(
        SyntheticConfig(width=FRAME[1], height=FRAME[0], texture="brushed", seed=11, defect_rate=0.0)
    )
    images = [np.zeros(source.shape, np.uint8) for _ in range(count)]
    for section, image in enumerate(images):
        source.render(section, section, image)
    return images


CASES: dict[str, tuple[Method, int]] = {
    "grnr, its own image": (GrnrExport(id="a"), 0),
    "grnr, good images": (GrnrExport(id="a", margin=0.0), 4),
    "grnr, as in the paper": (GrnrExport(id="a", preset="paper"), 0),
    "grnr, as in the authors' script": (GrnrExport(id="a", preset="demo"), 0),
    "patchcore": (PatchcoreExport(id="a", size=160), 4),
    "patchcore, three neighbours": (PatchcoreExport(id="a", size=160, neighbours=3, support=1), 4),
}
"""What is exported, and from how many good images."""


def on_onnxruntime(model: onnx.ModelProto, image: U8) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": image[None]}), strict=True))


def on_openvino(model: onnx.ModelProto, image: U8) -> dict[str, Any]:
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(
        openvino.Core().read_model(model.SerializeToString()), "CPU", options
    )
    results = compiled(image[None])
    return {name: results[output] for output in compiled.outputs for name in output.names}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """Name of a case -> its bundle, exported once."""
    made: dict[str, Bundle] = {}

    def get(name: str) -> Bundle:
        if name not in made:
            method, good = CASES[name]
            out = tmp_path_factory.mktemp("bundle") / "out"
            made[name] = export_bundle(method, Path(), sections(good), out, precisions=("fp32",))
        return made[name]

    return get


@pytest.mark.parametrize("server", [on_onnxruntime, on_openvino])
@pytest.mark.parametrize("case", CASES)
def test_score_and_map_are_those_of_the_runtime(
    case: str, server: Callable[..., dict[str, Any]], bundles: Callable[[str], Bundle]
) -> None:
    if server is on_openvino:
        pytest.importorskip("openvino")
    bundle = bundles(case)
    good = sections(6)[-1]
    model = standalone(bundle, FRAME)
    detector = open_detector(bundle)
    for grey in (good, plant_defect(good, Defect("stain", 200, 150, 50, -0.5))):
        # Colours that differ, so that their order counts.
        image = np.stack([grey, grey // 2, 255 - grey], axis=2)
        expected, seen = detector.predict(image), server(model, image)
        # As far as two forms of a head may differ: sums in another order, 8x8 systems solved in float32.
        assert seen["score"][0] == pytest.approx(expected.score, rel=2e-3)
        off = np.abs(seen["anomaly_map"][0, 0] - expected.anomaly_map) / expected.anomaly_map.max()
        # Of nearly equal neighbours another may be the last that counts: measured in up to 0.7 % of cells.
        assert np.quantile(off, 0.98) < 1e-3
        assert off.max() < 0.01


def test_scores_are_scaled_and_labelled_at_the_threshold(bundles: Callable[[str], Bundle]) -> None:
    bundle = bundles("grnr, good images")
    hint = bundle.manifest.suggestion
    assert hint is not None
    model = standalone(bundle, FRAME)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert float(facts["image_threshold"]) == hint.threshold
    assert float(facts["normalization_scale"]) == 2 * hint.threshold
    assert facts["labels"] == "Normal Anomaly"
    good = np.stack([sections(6)[-1]] * 3, axis=2)
    defective = plant_defect(good, Defect("stain", 200, 150, 50, -0.5))
    for image in (good, defective):
        seen = on_onnxruntime(model, image)
        score = float(seen["score"][0])
        assert bool(seen["pred_label"][0]) == (score >= np.float32(hint.threshold))
        scaled = np.clip(0.5 + (score - hint.threshold) / (2 * hint.threshold), 0, 1)
        assert seen["pred_score"][0] == pytest.approx(scaled, abs=1e-5)
    assert on_onnxruntime(model, defective)["pred_label"][0]


def test_only_standard_operators_are_used_and_every_shape_is_fixed(bundles: Callable[[str], Bundle]) -> None:
    for case in CASES:
        model = standalone(bundles(case), FRAME)
        assert {entry.domain for entry in model.opset_import} == {""}
        assert {node.domain for node in model.graph.node} == {""}
        whole = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
        dims = [d for v in (*whole.input, *whole.output) for d in v.type.tensor_type.shape.dim]
        assert all(d.dim_value > 0 for d in dims)


@pytest.mark.parametrize("frame", [(0, 100), (100, 20000)])
def test_a_frame_that_is_none_is_refused(frame: tuple[int, int], bundles: Callable[[str], Bundle]) -> None:
    with pytest.raises(ConfigError, match=r"standalone: frame is .*expected 1\.\.16384"):
        standalone(bundles("grnr, its own image"), frame)
