"""From files to settings: what the operator wrote is what the threads are told and the line is shown."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from runtime.assembly import assemble, settings_of
from runtime.bundle import load_bundle
from runtime.errors import BundleError, ConfigError
from runtime.recipe import load_recipe
from runtime.settings import Settings
from runtime.station import load_station

STATION = """
line: l7
station: s8
recipe: recipe.yaml
source: {kind: synthetic, width: 640, height: 480, buffers: 16}
camera_id: cam-9
trigger: free_run
policy: drop_latest
queue: 7
frame_timeout_ms: 33
bus: ipc://bus
control: tcp://127.0.0.1:*
threads: 2
"""
RECIPE = """
id: carpet
version: '3.1'
number: 12
bundle: bundle
threshold: 0.5
review_threshold: 0.4
score_scale: 0.9
deadline_ms: 44.5
"""


@pytest.fixture
def station(bundle_path: Path) -> Path:
    """Station, recipe and bundle in one folder."""
    (bundle_path.parent / "recipe.yaml").write_text(RECIPE)
    path = bundle_path.parent / "station.yaml"
    path.write_text(STATION)
    return path


def settings_from(path: Path) -> Settings:
    station = load_station(path)
    recipe = load_recipe(Path(station.recipe))
    return settings_of(station, recipe, load_bundle(Path(recipe.bundle)))


def test_every_setting_of_the_files_arrives(station: Path) -> None:
    settings = settings_from(station)
    assert (settings.trigger, settings.policy, settings.queue) == ("free_run", "drop_latest", 7)
    assert (settings.bus, settings.control) == ("ipc://bus", "tcp://127.0.0.1:*")
    assert (settings.terms.deadline_us, settings.terms.frame_wait_ms) == (44_500, 33)
    thresholds = settings.thresholds
    assert (thresholds.threshold, thresholds.review_threshold, thresholds.score_scale) == (0.5, 0.4, 0.9)


def test_a_verdict_can_be_traced_to_the_very_files(station: Path, bundle_path: Path) -> None:
    source = settings_from(station).provenance
    assert (source.line, source.station, source.camera_id, source.simulated) == ("l7", "s8", "cam-9", True)
    assert (source.recipe.id, source.recipe.version, source.recipe.no) == ("carpet", "3.1", 12)
    assert source.recipe.sha256 == hashlib.sha256(RECIPE.encode()).hexdigest()
    manifest = (bundle_path / "manifest.json").read_bytes()
    assert source.engine.sha256 == hashlib.sha256(manifest).hexdigest()
    assert (source.engine.id, source.engine.backend) == ("web", "onnxruntime")


def test_every_start_is_a_boot_of_its_own(station: Path) -> None:
    assert settings_from(station).provenance.boot_id != settings_from(station).provenance.boot_id


def test_what_is_wrong_is_found_before_anything_is_opened(station: Path, bundle_path: Path) -> None:
    assert assemble(station).endpoints == ("", "")
    (bundle_path / "head.npz").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"head\.npz"):
        assemble(station)
    station.write_text(STATION.replace("recipe.yaml", "absent.yaml"))
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such file or directory"):
        assemble(station)
