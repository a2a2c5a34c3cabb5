"""The GPU's head without a GPU: what it asks for, in which order, and what it says where it cannot run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

import gonogo
from kernels import finish_matrix, open_kernels
from kernels.cuda import Launch
from kernels.device import DeviceError, Probe
from kernels.providers.recording import RecordingDevice
from runtime.bundle import Bundle, GrnrHead, KnnHead, load_bundle
from runtime.errors import BundleError, EngineError
from runtime.heads import open_head
from runtime.heads.cuda_grnr import CudaGrnr
from runtime.heads.grnr import HostGrnr
from runtime.network import TensorSpec

F32 = NDArray[np.float32]

SHAPES = ((1, 12, 14, 8), (1, 8, 9, 16))
PRESETS = {
    "paper": GrnrHead(outputs=("a", "b"), rings=(3, 2), target="selected", count=9, fill="min"),
    "nearest": GrnrHead(
        outputs=("a", "b"), rings=(2, 2), target="nearest", neighbours=5, score="mean_top", profile=True
    ),
    "demo": GrnrHead(outputs=("a", "b"), rings=(3, 2), target="raster", count=9, fill="min"),
}


def bound(device: RecordingDevice, part: GrnrHead, scales: int = 2) -> tuple[CudaGrnr, F32, F32]:
    """A head of one or two scales on random features, with its map and score."""
    names = part.outputs[:scales]
    part = msgspec.structs.replace(part, outputs=names, rings=part.rings[:scales])
    arrays = {
        f"{axis}_{i}": finish_matrix(SHAPES[i][1 + j], 40, 20, 2.0)
        for i in range(scales)
        for j, axis in enumerate(("rows", "columns"))
    }
    outputs = [TensorSpec(name, shape) for name, shape in zip(names, SHAPES, strict=False)]
    head = CudaGrnr(part, arrays, outputs, device)
    rng = np.random.default_rng(0)
    features = {spec.name: rng.normal(size=spec.shape).astype(np.float32) for spec in outputs}
    anomaly_map, score = np.zeros(head.map_shape, np.float32), np.zeros(1, np.float32)
    head.bind(features, anomaly_map, score, None)
    return head, anomaly_map, score


def captured(log: list[str]) -> list[str]:
    return [entry.removeprefix("captured ") for entry in log if entry.startswith("captured ")]


@pytest.mark.parametrize("scales", [1, 2])
@pytest.mark.parametrize(
    ("preset", "middle"),
    [
        ("paper", ["distance_rowsum", "select_global", "neighbour_regression", "finish_map"]),
        ("nearest", ["knn_distance", "neighbour_regression", "finish_map", "score_map"]),
        ("demo", ["select_global", "neighbour_regression", "finish_map"]),
    ],
)
def test_the_head_is_at_most_five_launches_in_one_graph(preset: str, middle: list[str], scales: int) -> None:
    device = RecordingDevice()
    bound(device, PRESETS[preset], scales)
    assert captured(device.log) == [*["copy"] * scales, "pool_norm_f32", *middle, "copy", "copy"]
    assert len(middle) <= 4
    assert device.log.count("capture") == 1


def test_a_run_is_one_graph_and_one_wait_and_asks_for_nothing() -> None:
    device = RecordingDevice()
    head, _, _ = bound(device, PRESETS["nearest"])
    before = len(device.log)
    for _ in range(3):
        head.run()
    assert device.log[before:] == ["graph", "wait"] * 3


def test_without_graphs_the_same_work_is_enqueued_one_by_one() -> None:
    with_graph, without = RecordingDevice(), RecordingDevice(graphs=False)
    bound(with_graph, PRESETS["paper"])
    head, _, _ = bound(without, PRESETS["paper"])
    before = len(without.log)
    head.run()
    assert without.log[before:] == [*captured(with_graph.log), "wait"]


def test_kernels_are_loaded_before_the_start_and_memory_is_given_back() -> None:
    device = RecordingDevice()
    head, _, _ = bound(device, PRESETS["paper"])
    first = next(i for i, entry in enumerate(device.log) if entry == "pool_norm_f32")
    assert device.log[:first].count("load") == 5
    assert {"load", "memory"}.isdisjoint(device.log[first:])
    head.close()
    assert device.log[-1] == "close"


def test_what_the_gpu_holds_is_what_map_and_score_become() -> None:
    device = RecordingDevice()
    head, anomaly_map, score = bound(device, PRESETS["paper"])
    head.run()
    # No kernel ran: the memory is still what it was when it was handed out.
    assert np.isnan(anomaly_map).all()
    assert np.isnan(score).all()


def test_a_gpu_that_fails_is_an_error_with_its_words() -> None:
    def fail(launch: Launch) -> None:
        if launch.entry == "finish_map" and device.log[-1] == "graph":
            raise DeviceError("illegal address")

    device = RecordingDevice(fail)
    head, _, _ = bound(device, PRESETS["paper"])
    with pytest.raises(EngineError, match="head cuda: the GPU failed: illegal address"):
        head.run()


def test_more_than_the_kernels_take_is_refused_with_the_way_out() -> None:
    part = msgspec.structs.replace(PRESETS["nearest"], neighbours=65)
    with pytest.raises(
        EngineError, match=r"at most 64 neighbours .*, the bundle has 65 .*; take head native"
    ):
        bound(RecordingDevice(), part)


def test_a_head_without_cuda_kernels_says_so(exported: Path) -> None:
    bundle = load_bundle(exported)
    part = KnnHead(outputs=("bank",))
    manifest = msgspec.structs.replace(bundle.manifest, head=part)
    changed = Bundle(bundle.path, manifest, bundle.sha256, bundle.files)
    kernels: Any = None
    with pytest.raises(EngineError, match="head cuda: not for the bundle's head KnnHead; take head native"):
        open_head(changed, kernels, RecordingDevice())


def test_asking_for_a_gpu_that_is_not_there_is_one_line(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kernels.device.probe", lambda: Probe("no CUDA driver (libcuda.so.1)"))
    assert gonogo.main(["bench", str(exported), "--head", "cuda", "--seconds", "1"]) == 2
    assert (
        "head cuda: no CUDA driver (libcuda.so.1); head native runs without a GPU" in capsys.readouterr().err
    )


def test_host_and_gpu_share_their_checks(exported: Path) -> None:
    bundle = load_bundle(exported)
    part, arrays = bundle.manifest.head, bundle.arrays()
    assert isinstance(part, GrnrHead)
    arrays["rows_0"] = arrays["rows_0"][:, :-1]
    outputs = bundle.manifest.network.outputs
    messages = []
    for make, kernels in ((HostGrnr, open_kernels("reference")), (CudaGrnr, RecordingDevice())):
        opened: Any = make
        with pytest.raises(BundleError, match=r"head\.npz: rows_0 has shape") as caught:
            opened(part, arrays, outputs, kernels)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
