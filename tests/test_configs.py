"""What ships under configs/ is read by the real loaders, and the station runs as it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import gonogo
from export.methods import MethodConfig
from runtime.bus.wire import schemas
from runtime.config import load_yaml
from runtime.recipe import Recipe, load_recipe
from runtime.station import Station

CONFIGS = Path(__file__).parents[1] / "configs"
KINDS: dict[str, Any] = {"export": MethodConfig, "recipes": Recipe, "configs": Station}
"""Folder -> what its YAML files hold."""


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_file_loads(path: Path) -> None:
    load_yaml(path, KINDS[path.parent.name])


def test_the_recipe_s_bundle_is_there() -> None:
    assert Path(load_recipe(CONFIGS / "recipes" / "web.yaml").bundle).is_dir()


def test_nothing_else_lies_there() -> None:
    others = {p.relative_to(CONFIGS).as_posix() for p in CONFIGS.rglob("*") if p.suffix == ".json"}
    assert others == {"grafana.json"} | {f"schema/{name}" for name in schemas()}


def test_the_station_runs_as_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (CONFIGS / "station.yaml").read_text("utf-8")
    # Only its ports may be taken on this machine, and its recipe lies elsewhere now.
    moved = text.replace(":5555 ", ":* ").replace(":5556 ", ":* ").replace("recipes/", f"{CONFIGS}/recipes/")
    (tmp_path / "station.yaml").write_text(moved)
    assert gonogo.main(["run", str(tmp_path / "station.yaml"), "--seconds", "1", "--json"]) == 0
    counters = json.loads(capsys.readouterr().out)
    answered = sum(counters[name] for name in ("ok", "ng", "invalid", "review"))
    assert counters["triggers"] == answered >= 1
