"""`gonogo evaluate` from the command line to its files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gonogo import main
from runtime.images.files import load_image, save_image

U8 = NDArray[np.uint8]


def test_figures_rows_and_overlays_are_written_and_agree(
    exported: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    words = ["--json", str(out / "f.json"), "--csv", str(out / "f.csv"), "--overlays", str(out / "pictures")]
    assert main(["evaluate", str(exported), str(dataset), *words]) == 0
    figures = json.loads((out / "f.json").read_text("utf-8"))
    rows = list(csv.DictReader((out / "f.csv").read_text("utf-8").splitlines()))
    printed = capsys.readouterr().out
    assert figures["images"] == {"good": 4, "spot": 3}
    assert f"{figures['image_auroc']['value']:.3f}" in printed
    assert [row["kind"] for row in rows] == ["good"] * 4 + ["spot"] * 3
    assert max(float(r["score"]) for r in rows if r["kind"] == "good") == figures["good_scores"]["max"]
    assert load_image(out / "pictures" / "spot" / "000.png.png").shape == (256, 320, 3)
    assert "of F1-max on this very set" in printed


def test_the_spots_of_the_set_are_found_where_they_are(exported: Path, dataset: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(exported), str(dataset), "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text("utf-8"))
    assert figures["image_auroc"]["value"] == 1
    # Black discs on a fine texture: a map that lies half a disc off would fall below.
    assert figures["pixel_auroc"]["value"] > 0.97
    assert figures["aupro"]["value"] > 0.9
    assert figures["regions"] == 3
    assert figures["pixel_auroc_error"] < 1e-3


def test_a_limit_is_said_in_the_output(
    exported: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(exported), str(dataset), "--limit", "2"]) == 0
    assert "2 good, 2 spot; at most 2 per kind (--limit), evenly spread" in capsys.readouterr().out


def test_a_recipe_brings_its_region_and_its_errors_at_the_threshold(
    exported: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    region = "region: {x: 40, y: 0, width: 280, height: 256}"
    recipe.write_text(f"bundle: {exported}\nthreshold: 1.0e+9\n{region}\n", "utf-8")
    words = ["--recipe", str(recipe), "--json", str(tmp_path / "f.json"), "--csv", str(tmp_path / "f.csv")]
    assert main(["evaluate", str(exported), str(dataset), *words]) == 0
    figures = json.loads((tmp_path / "f.json").read_text("utf-8"))
    assert figures["excluded_share"] == pytest.approx(40 / 320, abs=1e-12)  # whole pixels
    assert figures["at_threshold"] == {
        "threshold": 1e9,
        "false_rejects": 0,
        "escapes": 3,
        "review": 0,
    }
    assert "0 of 4 good rejected, 3 of 3 defective passed" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "f.csv").read_text("utf-8").splitlines()))
    assert {row["pred"] for row in rows} == {"OK"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit", "0"], "--limit is 0; expected at least 1"),
        (["--json", "nowhere/f.json"], "no folder"),
        (["--csv", "."], "is a folder"),
        (["--recipe", "nowhere.yaml"], "nowhere.yaml: no such file"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(
    words: list[str],
    message: str,
    exported: Path,
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", str(exported), str(dataset), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_set_a_missing_bundle_and_a_damaged_image_are_one_line(
    exported: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(exported), str(tmp_path / "nowhere")]) == 2
    assert main(["evaluate", str(tmp_path / "nowhere"), str(dataset)]) == 2
    image = dataset / "test" / "good" / "001.png"
    image.write_bytes(image.read_bytes()[:100])
    assert main(["evaluate", str(exported), str(dataset)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [("test" in lines[0]), ("bundle" in lines[1]), ("001.png" in lines[2])] == [True] * 3
    assert len(lines) == 3


@pytest.fixture
def dataset(tmp_path: Path, web_image: U8) -> Path:
    """Four good sections of the web and three with a black disc, with masks."""
    root = tmp_path / "set"
    for folder in ("test/good", "test/spot", "ground_truth/spot"):
        (root / folder).mkdir(parents=True)
    for i in range(4):
        save_image(root / "test" / "good" / f"{i:03}.png", np.roll(web_image, 50 * i, 1))
    y, x = np.mgrid[: web_image.shape[0], : web_image.shape[1]]
    for i in range(3):
        disc = (y - 128) ** 2 + (x - 100 - 60 * i) ** 2 < 14**2
        save_image(root / "test" / "spot" / f"{i:03}.png", np.where(disc, 10, web_image).astype(np.uint8))
        save_image(root / "ground_truth" / "spot" / f"{i:03}_mask.png", disc.astype(np.uint8) * 255)
    return root
