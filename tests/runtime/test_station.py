"""Station files: every mistake is one line that names file, line and the way out; what ships loads."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from runtime.config import load_yaml, parse_yaml
from runtime.errors import ConfigError
from runtime.recipe import Recipe
from runtime.sources import (
    AravisConfig,
    CameraConfig,
    FaultyConfig,
    FolderConfig,
    GenicamConfig,
    GstreamerConfig,
    RtspConfig,
    SyntheticConfig,
    VideoConfig,
)
from runtime.station import IN_HAND, Station, load_station

CONFIGS = Path(__file__).parents[2] / "configs"
HEAD = "line: l1\nstation: s1\nrecipe: r.yaml\n"
SYNTHETIC = "source: {kind: synthetic}\n"


def read(text: str) -> Station:
    return parse_yaml(text, Station, "station.yaml")


def test_the_shortest_station_has_sound_defaults() -> None:
    station = read(HEAD + SYNTHETIC)
    assert (station.trigger, station.policy, station.camera) == ("software", "drop_oldest", "synthetic")
    assert (station.bus, station.control) == ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5556")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("polcy: wait", "station.yaml:5: polcy: unknown key; did you mean 'policy'?"),
        ("zzz: 1", "station.yaml:5: zzz: unknown key"),
        ("line: l2", "station.yaml:5: line: repeated key"),
        ("policy: drop", "station.yaml:5: policy: invalid enum value 'drop'"),
        ("trigger: hardware", "station.yaml:5: trigger: invalid enum value 'hardware'"),
        ("queue: many", "station.yaml:5: queue: expected `int`, got `str`"),
        ("queue: 0", "queue is 0, threads 1; expected 1..64 each"),
        ("queue: 65", "queue is 65, threads 1; expected 1..64 each"),
        ("threads: 65", "queue is 4, threads 65; expected 1..64 each"),
        ("queue: 5", "source has 8 buffers; expected at least queue + 4 = 9"),
        ("frame_timeout_ms: 0", "frame_timeout_ms is 0; expected >= 1, or leave it out"),
        ("camera_id: 'cam 1'", "camera_id is 'cam 1'; expected 1 to 64 letters, digits, '.', '_' or '-'"),
        ("bus: tcp://0.0.0.0:5555", "bus is 'tcp://0.0.0.0:5555'; expected tcp://127.0.0.1:PORT"),
        ("control: nonsense", "control is 'nonsense'; expected tcp://127.0.0.1:PORT"),
        ("bus: tcp://127.0.0.1:5556", "bus and control are both tcp://127.0.0.1:5556"),
        ("backend: onnxruntim", "backend is 'onnxruntim'; expected one of onnxruntime, openvino"),
    ],
)
def test_a_mistake_is_one_line_that_says_where_and_what_to_do(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"{HEAD}{SYNTHETIC}{line}\n")
    assert message in str(caught.value)
    assert str(caught.value).startswith("station.yaml:")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{kind: synthetic, sed: 1}", "station.yaml:4: sed: unknown key; did you mean 'seed'?"),
        ("{kind: camra}", "station.yaml:4: source.kind: invalid value 'camra'"),
        ("{seed: 1}", "station.yaml:4: source: object missing required field `kind`"),
        ("{kind: folder}", "station.yaml:4: source: object missing required field `path`"),
        ("{kind: synthetic, defect_rate: 2}", "station.yaml:4: source: expected seed >= 0"),
        ("{kind: synthetic, width: 4}", "station.yaml:4: source: frame is 4 x 1024"),
    ],
)
def test_a_mistake_in_the_source_is_named_like_any_other(source: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"{HEAD}source: {source}\n")
    assert message in str(caught.value)


@pytest.mark.parametrize("missing", ["line", "station", "recipe", "source"])
def test_what_has_no_default_must_be_there(missing: str) -> None:
    kept = [line for line in (HEAD + SYNTHETIC).splitlines() if not line.startswith(missing)]
    with pytest.raises(ConfigError, match=f"station.yaml:1: object missing required field `{missing}`"):
        read("\n".join(kept))


def test_buffers_of_a_faulty_source_are_those_of_the_source_inside() -> None:
    inner = "{kind: synthetic, buffers: %d}"
    source = f"source: {{kind: faulty, faults: [], source: {inner}}}\n"
    assert read(HEAD + source % (4 + IN_HAND)).simulated
    with pytest.raises(ConfigError, match="source has 7 buffers"):
        read(HEAD + source % 7)


@pytest.mark.parametrize(
    ("source", "simulated"),
    [
        (CameraConfig(), False),
        (SyntheticConfig(), True),
        (FolderConfig(path="x"), True),
        (VideoConfig(path="x"), True),
        (FaultyConfig(source=SyntheticConfig(), faults=()), True),
    ],
)
def test_only_a_camera_sees_real_parts(
    source: CameraConfig | SyntheticConfig | FolderConfig | VideoConfig | FaultyConfig, simulated: bool
) -> None:
    assert Station(line="l", station="s", recipe="r", source=source).simulated is simulated


def test_the_recipe_lies_beside_the_station_wherever_it_is_read_from(tmp_path: Path) -> None:
    path = tmp_path / "station.yaml"
    path.write_text(HEAD + SYNTHETIC)
    assert load_station(path).recipe == str(tmp_path / "r.yaml")


def test_a_missing_station_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such file or directory; expected a YAML file"):
        load_station(tmp_path / "absent.yaml")


def test_the_station_that_ships_says_something_of_every_key() -> None:
    text = (CONFIGS / "station.yaml").read_text("utf-8")
    for field in msgspec.structs.fields(Station):
        assert f"\n{field.encode_name}:" in text or f"\n#{field.encode_name}:" in text


def test_the_station_that_ships_loads_and_so_does_each_source_it_offers() -> None:
    text = (CONFIGS / "station.yaml").read_text("utf-8")
    assert load_station(CONFIGS / "station.yaml").recipe == str(CONFIGS / "recipes" / "web.yaml")
    offers = [line.removeprefix("#") for line in text.splitlines() if line.startswith("#source:")]
    kinds = [type(read(f"{HEAD}{offer}\n").source) for offer in offers]
    assert kinds == [
        FolderConfig, VideoConfig, CameraConfig, RtspConfig, GstreamerConfig, GenicamConfig, AravisConfig
    ]  # fmt: skip


def test_the_recipe_that_ships_loads_and_says_something_of_every_key() -> None:
    path = CONFIGS / "recipes" / "web.yaml"
    text = path.read_text("utf-8")
    assert load_yaml(path, Recipe).id == "web"
    for field in msgspec.structs.fields(Recipe):
        assert f"\n{field.encode_name}:" in text or f"\n#{field.encode_name}:" in text
