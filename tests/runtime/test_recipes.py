"""Recipes beside the station's own: found by name, proved on the golden images, and refused without harm."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.assembly import assemble
from runtime.bus.witness import Witness
from runtime.errors import EngineError
from runtime.pipeline import Pipeline
from runtime.state import State

WAIT_S = 60.0
SYNTHETIC = "{kind: synthetic, width: 320, height: 256, defect_rate: 0.0}"


class Line:
    """A station in this process, and who listens to it."""

    def __init__(self, path: Path) -> None:
        self.pipeline: Pipeline = assemble(path)
        self.pipeline.start()
        self.witness = Witness(*self.pipeline.endpoints)
        assert self.witness.wait_subscribed()

    def change(self, **wanted: str) -> dict[str, Any]:
        """The event that ends a change of recipe, or the reply that refused it."""
        reply = self.witness.ask("prepare_recipe", **wanted)
        if not reply["ok"]:
            return reply
        witness = self.witness
        assert witness.hear(lambda: any(e["request_id"] == reply["id"] for e in witness.events), WAIT_S)
        return witness.events[-1]

    def judge(self, number: int) -> dict[str, Any]:
        assert self.witness.trigger(number)["code"] == "ACCEPTED"
        return self.witness.hear_verdicts(len(self.witness.verdicts) + 1, WAIT_S)[-1]


@pytest.fixture
def line(station_file: Callable[..., Path]) -> Iterator[Line]:
    """Ready, on a recipe that finds everything OK."""
    made = Line(station_file(SYNTHETIC))
    assert made.pipeline.wait_ready(WAIT_S)
    yield made
    made.witness.close()
    made.pipeline.finish(WAIT_S)


def write(folder: Path, name: str, bundle: Path, more: str = "") -> bytes:
    """A recipe that finds everything NG."""
    text = (
        f"id: {name}\nnumber: 7\nversion: '2'\nbundle: {bundle}\nthreshold: 1e-6\ndeadline_ms: 20000\n{more}"
    )
    (folder / f"{name}.yaml").write_text(text)
    return text.encode()


def test_a_recipe_of_a_file_comes_into_force_and_the_first_one_back_again(
    line: Line, exported: Path, tmp_path: Path
) -> None:
    digest = hashlib.sha256(write(tmp_path, "strict", exported)).hexdigest()
    assert line.judge(1)["verdict"] == "OK"
    assert line.change(id="strict", version="2", sha256=digest)["event"] == "recipe_prepared"
    strict = line.judge(2)
    assert (strict["verdict"], strict["recipe"]["no"], strict["recipe"]["sha256"]) == ("NG", 7, digest)
    assert line.change(id="default")["event"] == "recipe_prepared"
    assert line.judge(3)["verdict"] == "OK"


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"id": "absent"}, "NOT_FOUND"),
        ({"id": "linked"}, "NOT_FOUND"),
        ({"id": ".."}, "NOT_FOUND"),
        ({"id": "strict", "sha256": "0" * 64}, "HASH_MISMATCH"),
    ],
)
def test_what_is_not_there_or_not_that_is_refused_at_once(
    line: Line, exported: Path, tmp_path: Path, wanted: dict[str, str], code: str
) -> None:
    write(tmp_path, "strict", exported)
    (tmp_path / "linked.yaml").symlink_to(tmp_path / "strict.yaml")
    assert line.change(**wanted)["code"] == code
    assert line.judge(1)["recipe"]["id"] == "default"


@pytest.mark.parametrize(
    ("name", "more", "complaint"),
    [
        ("typo", "treshold: 1\n", "treshold: "),
        ("wide", "region: {x: 0, y: 0, width: 999, height: 99}\n", "region ends at x, y = 999, 99"),
        ("newer", "", "holds recipe newer 2; expected newer 3"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_with_the_reason(
    line: Line, exported: Path, tmp_path: Path, name: str, more: str, complaint: str
) -> None:
    write(tmp_path, name, exported, more)
    told = line.change(id=name, **({"version": "3"} if name == "newer" else {}))
    assert (told["event"], complaint in told["detail"]) == ("recipe_refused", True), told
    assert line.judge(1)["verdict"] == "OK"


def spoil_golden(bundle: Path) -> Path:
    """The bundle, one of its golden images expected to score half as much again."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["golden"]["images"][0]["score"] *= 1.5
    path.write_text(json.dumps(manifest))
    return bundle


def test_a_bundle_that_fails_its_golden_images_never_comes_into_force(
    line: Line, exported: Path, tmp_path: Path
) -> None:
    write(tmp_path, "unfit", spoil_golden(Path(shutil.copytree(exported, tmp_path / "copy"))))
    told = line.change(id="unfit")
    assert told["event"] == "recipe_refused"
    assert "selftest: " in told["detail"]
    assert "not fit to judge" in told["detail"]
    assert line.judge(1)["recipe"]["id"] == "default"


def test_a_station_whose_bundle_fails_its_golden_images_is_never_ready(
    station_file: Callable[..., Path], bundle_path: Path, tmp_path: Path
) -> None:
    path = station_file(SYNTHETIC)
    spoil_golden(bundle_path)
    (tmp_path / "recipe.yaml").write_text(f"bundle: {bundle_path}\nthreshold: 1e6\n")
    line = Line(path)
    assert not line.pipeline.wait_ready(WAIT_S)
    with pytest.raises(EngineError, match="not fit to judge"):
        line.pipeline.join(WAIT_S)
    assert line.witness.hear_end()
    assert State.READY not in {state["to"] for state in line.witness.states}
    assert line.witness.states[-1]["to"] == State.ERROR
    line.witness.close()
