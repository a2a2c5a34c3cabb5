"""Misuse of every verb that reads or writes files: exit code 2 and one line that names the file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import gonogo
from kernels.device import probe
from runtime.images.files import save_image

U8 = NDArray[np.uint8]

EXPORT = "method: grnr\nid: web\nmargin: 0.0\n"


@dataclass(frozen=True)
class Files:
    """What the cases are made of; everything a case does not name is in order."""

    bundle: Path
    folder: Path
    """Of the test's own."""

    @property
    def good(self) -> Path:
        """A folder with two good images."""
        return self.folder / "good"

    @property
    def dataset(self) -> Path:
        """A data set in MVTec layout."""
        return self.folder / "set"

    @property
    def absent(self) -> Path:
        """Nothing."""
        return self.folder / "absent"

    @property
    def empty(self) -> Path:
        """A folder with nothing in it."""
        return self.folder / "empty"

    @property
    def cut(self) -> Path:
        """An image file whose second half is missing, among good ones."""
        return self.folder / "cut" / "cut.png"

    @property
    def locked(self) -> Path:
        """A folder that nothing can be written to."""
        return self.folder / "locked"

    @property
    def recipe(self) -> Path:
        """A recipe whose region is larger than the images."""
        return self.folder / "recipe.yaml"

    @property
    def config(self) -> Path:
        """An export config."""
        return self.folder / "export.yaml"

    @property
    def out(self) -> Path:
        """Where something may be written."""
        return self.folder / "out"


@pytest.fixture
def files(exported: Path, web_image: U8, tmp_path: Path) -> Files:
    files = Files(exported, tmp_path)
    kinds = [files.dataset / "test" / "good", files.dataset / "test" / "spot"]
    truth = files.dataset / "ground_truth" / "spot"
    for folder in (files.good, files.empty, files.cut.parent, truth, *kinds):
        folder.mkdir(parents=True)
    for folder in (files.good, files.cut.parent, *kinds):
        for n in range(2):
            save_image(folder / f"{n}.png", web_image)
    for n in range(2):
        save_image(truth / f"{n}_mask.png", np.full_like(web_image, 255))
    files.cut.write_bytes((files.good / "0.png").read_bytes()[:2000])
    files.recipe.write_text(
        f"bundle: {exported}\nthreshold: 1.0\nregion: {{x: 0, y: 0, width: 999, height: 9}}\n"
    )
    files.config.write_text(EXPORT)
    if os.geteuid():
        files.locked.mkdir(mode=0o500)
    else:
        files.locked.write_text("root may write to any folder; this is none")
    return files


Case = tuple[Callable[[Files], list[Path | str]], Callable[[Files], Path]]


def cut_in_set(files: Files) -> Path:
    """A data set with a cut-off image."""
    path = files.dataset / "test" / "spot" / "0.png"
    path.write_bytes(files.cut.read_bytes())
    return path


def small_mask(files: Files) -> Path:
    """A data set with a mask of another size than its image."""
    path = files.dataset / "ground_truth" / "spot" / "0_mask.png"
    save_image(path, np.full((8, 8), 255, np.uint8))
    return path


def cut_file(files: Files, name: str) -> Path:
    """A damaged copy of the bundle; the file in it that is."""
    bundle = shutil.copytree(files.bundle, files.out / "bundle")
    path = bundle / name
    path.write_bytes(path.read_bytes()[:100])
    return path


def whole_recipe(files: Files) -> Path:
    """A recipe that can be used."""
    path = files.folder / "whole.yaml"
    path.write_text(f"bundle: {files.bundle}\nthreshold: 1.0\n")
    return path


def damaged_records(files: Files) -> Path:
    """A day of records that is no database."""
    path = files.good / "verdicts-20261125.db"
    path.write_bytes(b"no database" * 500)
    return path


CASES: dict[str, Case] = {
    # What is missing.
    "predict, no bundle": (lambda f: ["predict", f.absent, f.good], lambda f: f.absent),
    "predict, no image": (lambda f: ["predict", f.bundle, f.absent], lambda f: f.absent),
    "predict, no recipe": (
        lambda f: ["predict", f.bundle, f.good, "--recipe", f.absent],
        lambda f: f.absent,
    ),
    "evaluate, no bundle": (lambda f: ["evaluate", f.absent, f.dataset], lambda f: f.absent),
    "evaluate, no set": (lambda f: ["evaluate", f.bundle, f.absent], lambda f: f.absent),
    "calibrate, no bundle": (
        lambda f: ["calibrate", f.absent, f.good, "-o", f.out, "--false-reject", "0.5"],
        lambda f: f.absent,
    ),
    "calibrate, no images": (
        lambda f: ["calibrate", f.bundle, f.absent, "-o", f.out, "--false-reject", "0.5"],
        lambda f: f.absent,
    ),
    "export, no config": (lambda f: ["export", f.absent, "-o", f.out], lambda f: f.absent),
    "export, no good images": (
        lambda f: ["export", f.config, "-o", f.out, "--good", f.absent],
        lambda f: f.absent,
    ),
    "inspect, no bundle": (lambda f: ["inspect", f.absent], lambda f: f.absent),
    "selftest, no bundle": (lambda f: ["selftest", f.absent], lambda f: f.absent),
    "build, no bundle": (lambda f: ["build", f.absent], lambda f: f.absent),
    "build, empty bundle": (lambda f: ["build", f.empty], lambda f: f.empty),
    "build, cut-off network": (
        lambda f: ["build", f.out / "bundle"],
        lambda f: cut_file(f, "network.fp16.onnx"),
    ),
    "verify, no bundle": (lambda f: ["verify", f.absent], lambda f: f.absent),
    "verify, no images": (lambda f: ["verify", f.bundle, f.absent], lambda f: f.absent),
    "bench, no bundle": (lambda f: ["bench", f.absent], lambda f: f.absent),
    "rejudge, no lot": (
        lambda f: ["rejudge", f.absent, "--recipe", whole_recipe(f)],
        lambda f: f.absent,
    ),
    "rejudge, no recipe": (lambda f: ["rejudge", f.good, "--recipe", f.absent], lambda f: f.absent),
    "rejudge, no bundle": (
        lambda f: ["rejudge", f.good, "--recipe", whole_recipe(f), "--bundle", f.absent],
        lambda f: f.absent,
    ),
    "export-lot, no lot": (lambda f: ["export-lot", f.absent, "-o", f.out], lambda f: f.absent),
    # What is empty, or is none.
    "rejudge, a folder without records": (
        lambda f: ["rejudge", f.good, "--recipe", whole_recipe(f)],
        lambda f: f.good,
    ),
    "export-lot, a folder without records": (
        lambda f: ["export-lot", f.good, "-o", f.out],
        lambda f: f.good,
    ),
    "export-lot, an image": (lambda f: ["export-lot", f.cut, "-o", f.out], lambda f: f.cut),
    "predict, empty folder": (lambda f: ["predict", f.bundle, f.empty], lambda f: f.empty),
    "predict, empty bundle": (lambda f: ["predict", f.empty, f.good], lambda f: f.empty),
    "evaluate, empty set": (lambda f: ["evaluate", f.bundle, f.empty], lambda f: f.empty),
    "calibrate, empty folder": (
        lambda f: ["calibrate", f.bundle, f.empty, "-o", f.out, "--false-reject", "0.5"],
        lambda f: f.empty,
    ),
    "export, empty folder of good images": (
        lambda f: ["export", f.config, "-o", f.out, "--good", f.empty],
        lambda f: f.empty,
    ),
    "inspect, empty bundle": (lambda f: ["inspect", f.empty], lambda f: f.empty),
    "inspect, a file": (lambda f: ["inspect", f.cut], lambda f: f.cut),
    "verify, empty bundle": (lambda f: ["verify", f.empty], lambda f: f.empty),
    "verify, empty folder": (lambda f: ["verify", f.bundle, f.empty], lambda f: f.empty),
    "selftest, empty bundle": (lambda f: ["selftest", f.empty], lambda f: f.empty),
    # What cannot be read.
    "predict, cut-off image": (lambda f: ["predict", f.bundle, f.good, f.cut], lambda f: f.cut),
    "verify, cut-off image": (lambda f: ["verify", f.bundle, f.good, f.cut], lambda f: f.cut),
    "evaluate, cut-off image": (lambda f: ["evaluate", f.bundle, f.dataset], cut_in_set),
    "calibrate, cut-off image": (
        lambda f: ["calibrate", f.bundle, f.good, f.cut, "-o", f.out, "--false-reject", "0.5"],
        lambda f: f.cut,
    ),
    "export, cut-off image": (
        lambda f: ["export", f.config, "-o", f.out, "--good", f.cut.parent],
        lambda f: f.cut,
    ),
    "export, no YAML": (lambda f: ["export", f.cut, "-o", f.out], lambda f: f.cut),
    "inspect, cut-off network": (
        lambda f: ["inspect", f.out / "bundle"],
        lambda f: cut_file(f, "network.onnx"),
    ),
    "export-lot, damaged records": (lambda f: ["export-lot", f.good, "-o", f.out], damaged_records),
    "rejudge, damaged records": (
        lambda f: ["rejudge", f.good, "--recipe", whole_recipe(f)],
        damaged_records,
    ),
    "selftest, cut-off manifest": (
        lambda f: ["selftest", f.out / "bundle"],
        lambda f: cut_file(f, "manifest.json"),
    ),
    # What has another size.
    "predict, images too small": (
        lambda f: ["predict", f.bundle, f.good, "--recipe", f.recipe],
        lambda f: f.good / "0.png",
    ),
    "evaluate, images too small": (
        lambda f: ["evaluate", f.bundle, f.dataset, "--recipe", f.recipe],
        lambda f: f.dataset / "test" / "good" / "0.png",
    ),
    "evaluate, mask of another size": (lambda f: ["evaluate", f.bundle, f.dataset], small_mask),
    "calibrate, images too small": (
        lambda f: [
            *("calibrate", f.bundle, f.good, "-o", f.out, "--false-reject", "0.5"),
            *("--recipe", f.recipe),
        ],
        lambda f: f.good / "0.png",
    ),
    # Where nothing may be written.
    "predict, overlays": (
        lambda f: ["predict", f.bundle, f.good, "--save", f.locked / "x"],
        lambda f: f.locked,
    ),
    "evaluate, figures": (
        lambda f: ["evaluate", f.bundle, f.dataset, "--json", f.locked / "x"],
        lambda f: f.locked,
    ),
    "evaluate, rows": (
        lambda f: ["evaluate", f.bundle, f.dataset, "--csv", f.locked / "x"],
        lambda f: f.locked,
    ),
    "evaluate, overlays": (
        lambda f: ["evaluate", f.bundle, f.dataset, "--overlays", f.locked / "x"],
        lambda f: f.locked,
    ),
    "calibrate, recipe": (
        lambda f: ["calibrate", f.bundle, f.good, "-o", f.locked / "x", "--false-reject", "0.5"],
        lambda f: f.locked,
    ),
    "export, bundle": (lambda f: ["export", f.config, "-o", f.locked / "x"], lambda f: f.locked),
    "export, standalone": (
        lambda f: ["export", f.config, "-o", f.out, "--frame", "64x64", "--standalone", f.locked / "x"],
        lambda f: f.locked,
    ),
    "bench, figures": (lambda f: ["bench", f.bundle, "--json", f.locked / "x"], lambda f: f.locked),
    "demo, overlays": (lambda f: ["demo", "--save", f.locked / "x"], lambda f: f.locked),
    "run, overlays": (lambda f: ["run", f.absent, "--save", f.locked / "x"], lambda f: f.locked),
}


@pytest.mark.parametrize("name", CASES)
def test_misuse_is_one_line_that_names_the_file(
    name: str, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    command, named = CASES[name]
    path = named(files)
    assert gonogo.main([str(word) for word in command(files)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(f"gonogo {command(files)[0]}: ")
    assert str(path) in captured.err
    assert not files.out.is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--frame", "64x64"], "--standalone FILE and --frame WIDTHxHEIGHT belong together"),
        (["--standalone", "x.onnx"], "--standalone FILE and --frame WIDTHxHEIGHT belong together"),
        (["--standalone", "x.onnx", "--frame", "64"], "--frame is '64'; expected WIDTHxHEIGHT"),
        (["--standalone", "x.onnx", "--frame", "axb"], "--frame is 'axb'; expected WIDTHxHEIGHT"),
        (["--precisions", "fp8"], "precisions: fp8 with 0 flips allowed; expected some of fp32"),
        (["--allow-flips", "-1"], "fp32, fp16 with -1 flips allowed; expected some of"),
    ],
)
def test_export_options_that_do_not_fit_are_one_line(
    words: list[str], message: str, files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gonogo.main(["export", str(files.config), "-o", str(files.out), *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err
    assert not files.out.exists()


def test_build_without_a_gpu_or_tensorrt_is_one_line(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    if not probe().reason:
        pytest.skip("there is a GPU")
    for words in ([], ["--backend", "tensorrt_rtx"], ["--backend", "tensorrt:fp32"]):
        assert gonogo.main(["build", str(files.bundle), *words]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert err.startswith("gonogo build: backend tensorrt")
    assert gonogo.main(["build", str(files.bundle), "--backend", "onnxruntime"]) == 2
    assert "onnxruntime builds no engine; expected one of tensorrt, tensorrt_rtx" in capsys.readouterr().err
