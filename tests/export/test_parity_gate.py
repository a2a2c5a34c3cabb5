"""The gate at export: what is measured, what is written, and that nothing is written over the limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from export.bundling import export_bundle
from export.draft import Draft, draft_bundle
from export.golden import encode_png
from export.methods.grnr import GrnrExport
from export.parity import prove_precisions
from runtime.assembly import is_loosened
from runtime.bundle import load_bundle
from runtime.errors import BundleError, ConfigError, EngineError
from runtime.measure.gate import FOLDER, gate_set
from runtime.networks import offered_precisions
from runtime.opening import open_detector
from runtime.selftest import require_golden

U8 = NDArray[np.uint8]


def draft() -> Draft:
    return draft_bundle(GrnrExport(id="a", margin=0.0), Path(), Path("out"))


def with_filters(factor: float) -> Draft:
    """A bundle whose filters are so faint or strong that FP16 does not hold what they give."""
    model = onnx.load_from_string(draft().bundle.files["network.onnx"])
    for constant in model.graph.initializer:
        if constant.name == "quadrature.weight":
            weights = numpy_helper.to_array(constant) * np.float32(factor)
            constant.CopyFrom(numpy_helper.from_array(weights, constant.name))
    return draft().with_files({"network.onnx": model.SerializeToString()})


def with_gate(start: Draft, images: list[U8]) -> Draft:
    return start.with_files({f"{FOLDER}{n}.png": encode_png(image) for n, image in enumerate(images)})


def test_a_bundle_says_how_fp16_was_measured(exported: Path) -> None:
    manifest = load_bundle(exported).manifest
    assert manifest.allowed_precisions == ("fp32", "fp16")
    part = manifest.precisions["fp16"]
    assert part.work >= 0.95
    assert (part.flips_allowed, part.parity.flips, part.parity.non_finite) == (0, 0, 0)
    assert (part.parity.good, part.parity.planted) == (8, 16)
    assert part.parity.correlation > 0.99
    # The difference of two nearly equal means; the reason says what was measured.
    assert "sub_6" in [island.node for island in part.islands]


def test_the_fp16_network_takes_and_gives_fp16_and_judges_the_golden_images(exported: Path) -> None:
    bundle = load_bundle(exported)
    graph = onnx.load_from_string(bundle.files["network.fp16.onnx"]).graph
    types = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    assert types == {onnx.TensorProto.FLOAT16}
    assert len(require_golden(bundle, "onnxruntime:fp16", 1)) == 2


def test_the_cpu_takes_fp32_unless_it_is_told_otherwise(exported: Path, web_image: U8) -> None:
    bundle = load_bundle(exported)
    backends = ("onnxruntime", "onnxruntime:fp32", "onnxruntime:fp16")
    unsaid, full, half = (open_detector(bundle, backend=b).predict(web_image).score for b in backends)
    assert unsaid == full
    assert half != full
    assert half == pytest.approx(full, rel=0.02)


def test_over_the_limit_image_and_layer_are_named() -> None:
    # The layers are compared on a web of little contrast, where squares of filters this strong fit FP16.
    web = gate_set(draft().bundle)[0].pixels // 4
    loud = np.random.default_rng(0).integers(0, 2, web.shape, np.uint8) * 255
    with pytest.raises(
        ConfigError,
        match=r"^fp16: 3 of 6 gate images change sides, 3 are not finite, expected 0 and 0; the worst is "
        r"gate/1\.png, there layer mul_10 is furthest off; export without fp16",
    ):
        prove_precisions(with_gate(with_filters(300.0), [web, loud]), ("fp16",))


def test_a_network_whose_work_would_stay_in_fp32_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"fp16: only 6\.5% of the convolutions' work .* layers are in FP32"
    ):
        prove_precisions(with_filters(1e-7), ("fp16",))


def test_a_golden_image_that_a_precision_does_not_keep_is_named(exported: Path) -> None:
    bundle = load_bundle(exported)
    golden = msgspec.structs.replace(bundle.manifest.golden, tolerance=1e-6)
    strict = replace(draft(), bundle=bundle).with_manifest(golden=golden)
    with pytest.raises(ConfigError, match=r"fp16: .*selftest: golden/.*png .*export without fp16"):
        prove_precisions(strict, ("fp16",))


def test_a_precision_that_was_not_shown_is_refused(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "fp32"
    bundle = export_bundle(GrnrExport(id="a"), Path(), [], out, precisions=("fp32",))
    assert sorted(bundle.files) == ["golden/ng.png", "golden/ok.png", "head.npz", "network.onnx"]
    with pytest.raises(EngineError, match=r"onnxruntime: precision is fp16; .* allows fp32"):
        open_detector(load_bundle(out), backend="onnxruntime:fp16")


def test_a_manifest_that_allows_fp16_must_list_its_network(exported: Path, bundle_path: Path) -> None:
    (bundle_path / "network.fp16.onnx").unlink()
    manifest = msgspec.json.decode((bundle_path / "manifest.json").read_bytes())
    del manifest["files"]["network.fp16.onnx"]
    (bundle_path / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(BundleError, match=r"lists no network\.fp16\.onnx"):
        load_bundle(bundle_path)


def test_loosening_is_written_down_and_reaches_the_station(tmp_path: Path) -> None:
    loose = prove_precisions(draft(), ("fp16",), flips_allowed=2).bundle
    assert loose.manifest.precisions["fp16"].flips_allowed == 2
    assert is_loosened("onnxruntime:fp16", loose)
    # What computes in FP32 has nothing to do with it.
    assert not is_loosened("onnxruntime", loose)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"precisions: fp8 .*expected some of fp32, bf16, fp16"):
        prove_precisions(draft(), ("fp8",))


def test_bf16_is_measured_where_the_cpu_has_it_and_else_refused() -> None:
    pytest.importorskip("openvino")
    if "bf16" not in offered_precisions("openvino"):
        with pytest.raises(ConfigError, match=r"bf16: .*it offers fp32 here"):
            prove_precisions(draft(), ("bf16",))
        return
    part = prove_precisions(draft(), ("bf16",)).bundle.manifest.precisions["bf16"]
    # 8 bits of mantissa: it moves, and still decides alike.
    assert part.parity.flips == 0
    assert part.parity.shift > 1e-3
