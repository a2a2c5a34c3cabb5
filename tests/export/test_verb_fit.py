"""`gonogo fit` and `gonogo export --fitted` from the command line, and everything they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gonogo import main
from runtime.bundle import load_bundle
from runtime.images.files import save_image

U8 = NDArray[np.uint8]

CONFIG = "method: patchcore\nid: web\nsize: 160\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config, six good images, and the method fitted to them; read only."""
    folder = tmp_path_factory.mktemp("fit")
    (folder / "web.yaml").write_text(CONFIG)
    (folder / "good").mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        save_image(folder / "good" / f"{i}.png", rng.integers(100, 140, (200, 200), np.uint8))
    assert main(["fit", str(folder / "web.yaml"), str(folder / "good"), "-o", str(folder / "fitted")]) == 0
    return folder


def _export(folder: Path, config: Path, out: Path) -> int:
    return main(["export", str(config), "--fitted", str(folder / "fitted"), "-o", str(out)])


def test_fit_then_export_is_export_with_good_images(folder: Path, tmp_path: Path) -> None:
    config = folder / "web.yaml"
    assert _export(folder, config, tmp_path / "two") == 0
    words = ["export", str(config), "--good", str(folder / "good"), "-o", str(tmp_path / "one")]
    assert main(words) == 0
    one, two = load_bundle(tmp_path / "one"), load_bundle(tmp_path / "two")
    assert one.files == two.files
    assert one.manifest.suggestion == two.manifest.suggestion


def test_a_fitted_method_says_what_it_rests_on(folder: Path) -> None:
    facts = json.loads((folder / "fitted" / "fitted.json").read_text())
    assert facts["settings"]["method"] == "patchcore"
    assert facts["good_images"] == facts["suggestion"]["good_images"] == 6
    gate = [f"gate_{n}.png" for n in range(6)]
    assert sorted(facts["files"]) == [*gate, "good.png", "memory.safetensors"]


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (CONFIG + "seed: 3\n", "seed: the config says 3, the method was fitted with 0; fit again"),
        ("method: grnr\nid: web\nsize: 160\n", "the config says"),
        (CONFIG + "coreset: 2\n", "coreset is 2"),
        (CONFIG + "corset: 0.2\n", "corset: unknown key; did you mean 'coreset'?"),
    ],
)
def test_another_config_than_at_fit_is_refused(
    folder: Path, tmp_path: Path, config: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(config)
    assert _export(folder, tmp_path / "c.yaml", tmp_path / "out") == 2
    assert complaint in _one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_another_id_is_only_another_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG.replace("web", "cloth"))
    assert _export(folder, tmp_path / "c.yaml", tmp_path / "out") == 0
    assert load_bundle(tmp_path / "out").manifest.id == "cloth"


@pytest.mark.parametrize(
    ("file", "data", "complaint"),
    [
        ("memory.safetensors", b"x", "memory.safetensors: SHA-256 is not the one in fitted.json"),
        ("good.png", None, "good.png: no such file"),
        ("fitted.json", None, "fitted.json: no such file"),
        ("fitted.json", b"{", "fitted.json: "),
    ],
)
def test_a_damaged_fitted_method_is_refused(
    folder: Path,
    tmp_path: Path,
    file: str,
    data: bytes | None,
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "fitted").mkdir()
    for path in (folder / "fitted").iterdir():
        if path.name != file or data is not None:
            (tmp_path / "fitted" / path.name).write_bytes(path.read_bytes())
    if data is not None:
        (tmp_path / "fitted" / file).write_bytes(data)
    assert _export(tmp_path, folder / "web.yaml", tmp_path / "out") == 2
    assert complaint in _one_line(capsys)


def test_good_images_that_cannot_be_used_are_one_line_and_nothing_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = str(folder / "web.yaml"), str(tmp_path / "out")
    images = tmp_path / "good"
    images.mkdir()
    assert main(["fit", config, str(images), "-o", out]) == 2
    assert "no images in this folder" in _one_line(capsys)
    for i in range(2):
        save_image(images / f"{i}.png", np.full((99, 99), 90, np.uint8))
    assert main(["fit", config, str(images), "-o", out]) == 2
    assert "good images: 2 given; expected at least 3" in _one_line(capsys)
    (images / "2.png").write_bytes((images / "1.png").read_bytes()[:60])
    assert main(["fit", config, str(images), "-o", out]) == 2
    assert "2.png" in _one_line(capsys)
    assert main(["fit", config, str(tmp_path / "absent"), "-o", out]) == 2
    assert "absent" in _one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_not_written_to(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("x")
    assert main(["fit", str(folder / "web.yaml"), str(tmp_path / "not read"), "-o", str(tmp_path)]) == 2
    assert "is not empty; a fitted method is never written twice" in _one_line(capsys)
    (tmp_path / "file").write_text("x")
    assert main(["fit", str(folder / "web.yaml"), str(folder / "good"), "-o", str(tmp_path / "file")]) == 2
    assert "file: not a directory; expected a new folder" in _one_line(capsys)


def _one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error
