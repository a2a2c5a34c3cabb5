"""The front door: every verb explains itself, and misuse is one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import gonogo
from kernels.device import Probe
from runtime.images.files import load_image, save_image

U8 = NDArray[np.uint8]


def test_the_version_is_the_changelogs_newest() -> None:
    changelog = (Path(__file__).parents[1] / "CHANGELOG.md").read_text("utf-8")
    newest = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == gonogo.__version__


def test_help_names_every_verb_and_imports_none_of_the_heavy_packages() -> None:
    code = (
        "import sys, gonogo\n"
        "try: gonogo.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'numpy', 'cv2', 'onnxruntime', 'zmq', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in gonogo.VERBS)


@pytest.mark.parametrize("verb", sorted(gonogo.VERBS))
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        gonogo.main([verb, "--help"])
    assert stopped.value.code == 0
    assert f"gonogo {verb}" in capsys.readouterr().out


def _fails_in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert gonogo.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    return captured.err


def test_predict_prints_a_score_per_image_and_saves_overlays(
    exported: Path, web_image: U8, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_image(tmp_path / "a.png", web_image)
    arguments = ["predict", str(exported), str(tmp_path / "a.png"), "--json", "--save", str(tmp_path / "out")]
    assert gonogo.main(arguments) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["image"].endswith("a.png")
    assert line["score"] > 0
    assert line["verdict"] is None
    assert load_image(tmp_path / "out" / "a.png").shape[2] == 3


def test_predict_with_a_recipe_gives_verdicts(
    exported: Path, web_image: U8, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_image(tmp_path / "good.png", web_image)
    bad = web_image.copy()
    bad[100:140, 150:190] = 0
    save_image(tmp_path / "bad.png", bad)
    (tmp_path / "recipe.yaml").write_text(f"bundle: {exported}\nthreshold: 2.0\n")
    images = [str(tmp_path / "good.png"), str(tmp_path / "bad.png")]
    recipe = ["--recipe", str(tmp_path / "recipe.yaml"), "--json"]
    assert gonogo.main(["predict", str(exported), *images, *recipe]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["verdict"] for line in lines] == ["OK", "NG"]
    assert lines[0]["pred_score"] < 0.5 <= lines[1]["pred_score"]


def test_an_unreadable_image_among_good_ones_stops_predict_and_is_named(
    exported: Path, web_image: U8, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_image(tmp_path / "a.png", web_image)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    assert "b.png" in _fails_in_one_line(["predict", str(exported), str(tmp_path)], capsys)


@pytest.mark.parametrize("verb", ["inspect", "selftest", "evaluate", "calibrate", "predict", "bench"])
def test_a_missing_bundle_is_one_line(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"evaluate": [str(tmp_path)], "calibrate": [str(tmp_path), "-o", str(tmp_path / "r.yaml")]}
    arguments = [
        verb,
        str(tmp_path / "absent"),
        *more.get(verb, []),
        *(["x.png"] if verb == "predict" else []),
    ]
    assert "no such folder" in _fails_in_one_line(arguments, capsys)


def test_export_refuses_what_it_cannot_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yaml"
    out = ["-o", str(tmp_path / "out")]
    config.write_text("method: grnr\nid: a\nbackbone: resnet19\n")
    assert "unknown name 'resnet19'" in _fails_in_one_line(["export", str(config), *out], capsys)
    config.write_text("method: grnr\nid: a\nbackbone: resnet18\n")
    assert "weights: none given" in _fails_in_one_line(["export", str(config), *out], capsys)
    config.write_text("method: grrn\nid: a\n")
    assert "grrn" in _fails_in_one_line(["export", str(config), *out], capsys)
    assert not (tmp_path / "out").exists()


def test_inspect_tells_what_a_bundle_is(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gonogo.main(["inspect", str(exported)]) == 0
    assert "filter_bank" in capsys.readouterr().out
    assert gonogo.main(["inspect", str(exported), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "bundle/1"


def test_selftest_fails_a_bundle_that_judges_otherwise(
    bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gonogo.main(["selftest", str(bundle_path)]) == 0
    text = (bundle_path / "manifest.json").read_text()
    score = json.loads(text)["golden"]["images"][0]["score"]
    (bundle_path / "manifest.json").write_text(text.replace(repr(score), repr(score * 1.5)))
    assert gonogo.main(["selftest", str(bundle_path)]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_doctor_runs_a_real_inference_and_reports_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert gonogo.main(["doctor", "--json"]) == 0
    findings = {finding["topic"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert findings["onnxruntime"]["level"] == "ok"
    assert {"machine", "python", "gpu", "cameras", "disk"} <= findings.keys()


def test_doctor_names_what_cuda_lacks_in_one_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kernels.device.probe", lambda: Probe("", 1, (12, 6), "sm_87"))
    monkeypatch.setattr("kernels.compile.compilers", lambda: ())
    monkeypatch.setattr("runtime.verbs.doctor._version", lambda package: None)
    gonogo.main(["doctor", "--json"])
    said = {finding["topic"]: finding["text"] for finding in json.loads(capsys.readouterr().out)}
    assert said["gpu"] == "1 x sm_87, driver for CUDA 12.6; head cuda runs GRNR on it"
    assert said["cuda"] == "neither cuda-core nor pycuda is installed; pip install 'gonogo[cuda12]'"
    assert said["cuda code"].startswith("no CUDA compiler for sm_87 and a driver of CUDA 12.6: none is")
    assert said["cuda code"].endswith("pip install 'gonogo[cuda12]'")
