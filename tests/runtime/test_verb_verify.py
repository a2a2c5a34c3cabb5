"""`gonogo verify`: any backend of a bundle against any other."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

import gonogo
from runtime.bundle import load_bundle, write_bundle
from runtime.images.files import save_image


def test_every_backend_that_runs_here_is_compared(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gonogo.main(["verify", str(exported), "--json"]) == 0
    results = {r["backend"]: r for r in json.loads(capsys.readouterr().out)}
    assert results["onnxruntime:fp16"]["parity"]["flips"] == 0
    assert "onnxruntime:fp32" not in results
    ran = [r for r in results.values() if r["parity"] is not None]
    assert all(r["reason"] == "" and r["parity"]["good"] == 8 for r in ran)
    assert all(r["reason"] for r in results.values() if r["parity"] is None)


def test_the_users_images_take_the_place_of_the_gate_set(
    exported: Path, web_image: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(2):
        save_image(tmp_path / f"{n}.png", np.roll(web_image, 7 * n, axis=0))
    words = ["verify", str(exported), str(tmp_path), "--backend", "onnxruntime:fp16"]
    assert gonogo.main(words) == 0
    assert "against onnxruntime:fp32: 2 good images and 4 with a planted defect" in capsys.readouterr().out


def test_a_network_that_decides_otherwise_fails(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = load_bundle(exported)
    model = onnx.load_from_string(bundle.files["network.fp16.onnx"])
    for constant in model.graph.initializer:
        if constant.name.startswith("quadrature.weight"):  # half, or not, as the islands came out
            blind = np.zeros_like(numpy_helper.to_array(constant))
            constant.CopyFrom(numpy_helper.from_array(blind, constant.name))
    files = {**bundle.files, "network.fp16.onnx": model.SerializeToString()}
    write_bundle(tmp_path / "wrong", bundle.manifest, files)
    words = ["verify", str(tmp_path / "wrong"), "--backend", "onnxruntime:fp16"]
    assert gonogo.main(words) == 1
    out = capsys.readouterr().out
    assert "FAIL" in out
    assert "gate images change sides" in out


def test_a_backend_that_is_asked_for_and_does_not_run_is_one_line(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gonogo.main(["verify", str(exported), "--backend", "onnxruntime:bf16"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "onnxruntime: precision is bf16; it offers fp32, fp16 here" in err


def test_a_loosened_limit_is_that_of_the_manifest(exported: Path, tmp_path: Path) -> None:
    bundle = load_bundle(exported)
    part = msgspec.structs.replace(bundle.manifest.precisions["fp16"], flips_allowed=3)
    assert part.parity.fault(part.flips_allowed) == ""
