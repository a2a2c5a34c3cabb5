"""Backends, head and detector together on a real bundle."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.bundle import Bundle, load_bundle
from runtime.detector import HostDetector
from runtime.errors import BundleError, ConfigError, EngineError
from runtime.frame import Frame, FramePool
from runtime.heads import host_kernels, open_head
from runtime.images.files import save_image
from runtime.networks import open_network
from runtime.opening import load_mask, open_detector
from runtime.recipe import Recipe, Region
from runtime.selftest import check_golden, require_golden

U8 = NDArray[np.uint8]

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is an extra that is not installed"
)


@pytest.fixture
def detector(exported: Path) -> HostDetector:
    return open_detector(load_bundle(exported))


def _recipe(exported: Path, **changes: object) -> Recipe:
    return msgspec.structs.replace(Recipe(bundle=str(exported), threshold=1.0), **changes)


def test_the_same_image_gives_the_same_prediction_twice(detector: HostDetector, web_image: U8) -> None:
    first = detector.predict(web_image)
    score, anomaly_map = first.score, first.anomaly_map.copy()
    second = detector.predict(web_image)
    assert second.score == score
    np.testing.assert_array_equal(second.anomaly_map, anomaly_map)


def test_grey_and_the_same_grey_as_colour_are_judged_alike(detector: HostDetector, web_image: U8) -> None:
    grey = detector.predict(web_image).score
    colour = detector.predict(np.repeat(web_image[:, :, None], 3, axis=2)).score
    # Three equal channels are averaged in FP32 by the bank's grey: rounding only.
    assert colour == pytest.approx(grey, rel=1e-4)


def test_submit_and_collect_judge_as_predict_does(detector: HostDetector, web_image: U8) -> None:
    score = detector.predict(web_image).score
    detector.submit(Frame(web_image, 0, 0, 0))
    assert detector.collect().score == score
    with pytest.raises(ValueError, match="collect without submit"):
        detector.collect()


def test_the_region_is_all_that_is_inspected(exported: Path, web_image: U8) -> None:
    region = Region(x=32, y=16, width=256, height=200)
    with_region = open_detector(load_bundle(exported), _recipe(exported, region=region))
    prediction = with_region.predict(web_image)
    cropped = np.ascontiguousarray(web_image[16:216, 32:288])
    assert prediction.score == open_detector(load_bundle(exported)).predict(cropped).score
    to_image = prediction.to_image
    rows, columns = prediction.anomaly_map.shape
    assert (to_image.x0, to_image.y0) == (32, 16)
    assert to_image.dx * columns == pytest.approx(256)
    assert to_image.dy * rows == pytest.approx(200)


def test_a_region_outside_the_image_is_refused(exported: Path, web_image: U8) -> None:
    region = Region(x=300, y=0, width=100, height=100)
    detector = open_detector(load_bundle(exported), _recipe(exported, region=region))
    with pytest.raises(ValueError, match="region"):
        detector.predict(web_image)


def test_a_masked_defect_does_not_count_and_an_unmasked_one_does(
    exported: Path, web_image: U8, tmp_path: Path
) -> None:
    defective = web_image.copy()
    defective[60:90, 200:230] = 0
    mask = np.full(web_image.shape, 255, np.uint8)
    mask[40:110, 180:250] = 0
    save_image(tmp_path / "mask.png", mask)
    bundle = load_bundle(exported)
    plain = open_detector(bundle)
    masked = open_detector(bundle, _recipe(exported, mask=str(tmp_path / "mask.png")))
    assert plain.predict(defective).score > 2 * plain.predict(web_image).score
    assert masked.predict(defective).score < 0.5 * plain.predict(defective).score


def test_a_mask_becomes_shares_of_the_map_cells(tmp_path: Path) -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 255
    save_image(tmp_path / "mask.png", mask)
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.png", (2, 2)), [[0, 1], [0, 1]])


def test_a_missing_mask_is_one_line(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.png"):
        open_detector(load_bundle(exported), _recipe(exported, mask=str(tmp_path / "absent.png")))


@needs_openvino
def test_openvino_judges_as_onnxruntime_does(exported: Path, web_image: U8) -> None:
    bundle = load_bundle(exported)
    expected = open_detector(bundle).predict(web_image)
    found = open_detector(bundle, backend="openvino").predict(web_image)
    # Both run FP32; summation order differs, and the residual is a small part of large vectors.
    assert found.score == pytest.approx(expected.score, rel=1e-3)
    np.testing.assert_allclose(found.anomaly_map, expected.anomaly_map, rtol=5e-3)


def test_an_unknown_backend_is_refused(exported: Path) -> None:
    with pytest.raises(EngineError, match="backend 'tensorflow' unknown; expected one of"):
        open_network("tensorflow", load_bundle(exported))


def _with_files(bundle: Bundle, **files: bytes) -> Bundle:
    return Bundle(bundle.path, bundle.manifest, bundle.sha256, {**bundle.files, **files})


def test_a_network_that_is_none_is_refused(exported: Path) -> None:
    bundle = _with_files(load_bundle(exported), **{"network.onnx": b"not a graph"})
    with pytest.raises(EngineError, match=r"network\.onnx: onnxruntime cannot load it") as caught:
        open_network("onnxruntime", bundle)
    assert "\n" not in str(caught.value)


def test_a_network_that_is_not_the_manifests_is_refused(exported: Path) -> None:
    bundle = load_bundle(exported)
    part = bundle.manifest.network
    wrong = msgspec.structs.replace(part, outputs=(msgspec.structs.replace(part.outputs[0], name="other"),))
    manifest = msgspec.structs.replace(bundle.manifest, network=wrong)
    with pytest.raises(EngineError, match="the manifest says"):
        open_network("onnxruntime", Bundle(bundle.path, manifest, bundle.sha256, bundle.files))


def test_a_head_that_does_not_fit_the_network_is_refused(exported: Path) -> None:
    bundle = load_bundle(exported)
    head = msgspec.structs.replace(bundle.manifest.head, rings=(30,))
    manifest = msgspec.structs.replace(bundle.manifest, head=head)
    with pytest.raises(BundleError, match="ring 30"):
        open_head(Bundle(bundle.path, manifest, bundle.sha256, bundle.files), host_kernels())


def test_buffers_of_another_shape_are_refused(exported: Path) -> None:
    network = open_network("onnxruntime", load_bundle(exported))
    buffers = {spec.name: np.zeros((1, *spec.shape), np.float32) for spec in network.specs}
    with pytest.raises(ValueError, match="expected float32"):
        network.bind(buffers)


def test_golden_images_are_judged_as_at_export(exported: Path) -> None:
    results = require_golden(load_bundle(exported), "onnxruntime", 1)
    assert {result.label for result in results} == {"OK", "NG"}
    assert all(result.passed for result in results)


def test_a_bundle_that_judges_otherwise_must_not_judge(exported: Path) -> None:
    bundle = load_bundle(exported)
    golden = msgspec.structs.replace(bundle.manifest.golden, threshold=1e9)
    strict = Bundle(
        bundle.path, msgspec.structs.replace(bundle.manifest, golden=golden), bundle.sha256, bundle.files
    )
    assert [r.passed for r in check_golden(strict, open_detector(strict))] == [True, False]
    with pytest.raises(EngineError, match=r"selftest: golden/ng\.png \(NG\) scores .* not fit to judge"):
        require_golden(strict, "onnxruntime", 1)


def test_a_frame_is_released_once_and_its_buffer_comes_back() -> None:
    pool = FramePool((2, 3), 1)
    buffer = pool.lease()
    assert buffer is not None
    assert pool.lease() is None
    frame = Frame(buffer, 0, 0, 0, pool=pool)
    frame.release()
    assert pool.lease() is buffer
    with pytest.raises(ValueError, match="released twice"):
        frame.release()
