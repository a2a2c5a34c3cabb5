"""Recorded lots: judged again, and exported."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gonogo
from runtime.frame import U8
from runtime.images.files import load_image, save_image


@pytest.fixture
def lot(station_file: Callable[..., Path], web_image: U8, tmp_path: Path) -> Path:
    """Six parts as a station recorded them, one a black picture, with every image."""
    for n in range(6):
        image = np.zeros_like(web_image) if n == 3 else np.roll(web_image, 7 * n, axis=1)
        save_image(tmp_path / "images" / f"{n}.png", image)
    store = {"folder": "lot", "ok_every": 1, "wait_ms": 1000}
    path = station_file(trigger="free_run", policy="wait", store=store)
    assert gonogo.main(["run", str(path)]) == 0
    return tmp_path / "lot"


def rejudge(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    capsys.readouterr()
    assert gonogo.main(["rejudge", *map(str, words), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_same_recipe_changes_nothing(
    lot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rejudge(capsys, lot, "--recipe", tmp_path / "recipe.yaml")
    assert (found["verdicts"], found["judged"], found["changed"]) == (6, 6, 0)


def test_a_lower_threshold_would_reject_the_good_and_scores_are_the_recorded_ones(
    lot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = tmp_path / "strict.yaml"
    strict.write_text((tmp_path / "recipe.yaml").read_text().replace("1e6", "1e-6"))
    found = rejudge(capsys, lot, "--recipe", strict)
    assert found["kinds"] == {"OK -> NG": 5}
    # The same engine on the same pixels: the same score to the last bit.
    assert all(change["score_before"] == change["score_after"] for change in found["changes"])


def test_a_recipe_may_find_another_picture_sound(
    lot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lenient = tmp_path / "lenient.yaml"
    lenient.write_text((tmp_path / "recipe.yaml").read_text() + "quality: {dark_frac: null}\n")
    found = rejudge(capsys, lot, "--recipe", lenient)
    assert found["kinds"] == {"INVALID -> OK": 1}


def test_images_that_left_the_ring_are_counted_not_guessed(
    lot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next(lot.rglob("*_OK.png")).unlink()
    found = rejudge(capsys, lot, "--recipe", tmp_path / "recipe.yaml")
    assert (found["verdicts"], found["judged"], found["without_image"]) == (6, 5, 1)


def test_changes_are_listed_for_people_too(
    lot: Path, tmp_path: Path, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strict = tmp_path / "strict.yaml"
    strict.write_text((tmp_path / "recipe.yaml").read_text().replace("1e6", "1e-6"))
    capsys.readouterr()
    assert gonogo.main(["rejudge", str(lot), "--recipe", str(strict), "--bundle", str(exported)]) == 0
    assert capsys.readouterr().out.endswith("6 verdicts, 6 judged again, 5 would change: 5 OK -> NG\n")


def test_a_lot_is_exported_with_its_images(
    lot: Path, tmp_path: Path, web_image: U8, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    capsys.readouterr()
    assert gonogo.main(["export-lot", str(lot), "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'verdicts.csv'}: 6 verdicts, 6 images\n"
    with (out / "verdicts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == ["OK"] * 3 + ["INVALID"] + ["OK"] * 2
    assert rows[3]["reasons"] == "TOO_DARK"
    assert [row["seq"] for row in rows] == list("123456")
    np.testing.assert_array_equal(load_image(out / rows[0]["image"]), web_image)


def test_the_table_alone_needs_no_images(
    lot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gonogo.main(["export-lot", str(lot), "-o", str(tmp_path / "out"), "--no-images"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["verdicts.csv"]


@pytest.mark.parametrize("words", [["--since", "2099-01-01"], ["--until", "1999-01-01"], ["--part", "X*"]])
@pytest.mark.parametrize("verb", ["rejudge", "export-lot"])
def test_nothing_chosen_is_misuse(
    lot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, words: list[str]
) -> None:
    more = ["--recipe", str(tmp_path / "recipe.yaml")] if verb == "rejudge" else ["-o", str(tmp_path / "out")]
    capsys.readouterr()
    assert gonogo.main([verb, str(lot), *more, *words]) == 2
    assert "no verdict in it was asked for" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
