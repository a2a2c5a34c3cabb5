"""From settings to a bundle that judges: presets, good images, golden images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from export.bundling import export_bundle
from export.golden import golden_images
from export.methods import METHODS
from export.methods.grnr import GrnrExport
from runtime.bundle import load_bundle
from runtime.errors import BundleError, ConfigError
from runtime.images.files import decode_image
from runtime.opening import open_detector
from runtime.selftest import require_golden
from runtime.sources.defects import Defect, plant_defect
from runtime.sources.synthetic import SyntheticConfig, SyntheticSource

U8 = NDArray[np.uint8]


def _sections(count: int) -> list[U8]:
    config = SyntheticConfig(width=400, height=320, texture="brushed", seed=11, defect_rate=0.0)
    source = SyntheticSource(config)
    images = [np.zeros(source.shape, np.uint8) for _ in range(count)]
    for section, image in enumerate(images):
        source.render(section, section, image)
    return images


@pytest.mark.parametrize("preset", ["default", "paper", "demo"])
def test_every_preset_gives_a_bundle_that_passes_its_own_selftest(
    preset: Literal["default", "paper", "demo"], tmp_path: Path
) -> None:
    out = tmp_path / preset
    export_bundle(GrnrExport(id="a", preset=preset), tmp_path, [], out)
    assert len(require_golden(load_bundle(out), "onnxruntime", 1)) == 2


def test_the_paper_preset_inspects_the_centre_only_and_says_where_it_lies(tmp_path: Path) -> None:
    bundle = export_bundle(GrnrExport(id="a", preset="paper"), tmp_path, [], tmp_path / "out")
    prediction = open_detector(bundle).predict(_sections(1)[0])
    # 320 px less a crop of 32 at each side: a tenth of the image at every side is not inspected.
    assert prediction.anomaly_map.shape == (256, 256)
    to_image = prediction.to_image
    assert (to_image.x0, to_image.y0) == pytest.approx((40, 32))
    assert to_image.x0 + 256 * to_image.dx == pytest.approx(360)


def test_good_images_become_memory_and_suggest_a_threshold(tmp_path: Path) -> None:
    images = _sections(7)
    bundle = export_bundle(GrnrExport(id="a"), tmp_path, images[:5], tmp_path / "out")
    suggestion = bundle.manifest.suggestion
    assert suggestion is not None
    assert suggestion.good_images == 5
    assert suggestion.false_reject == pytest.approx(1 / 6)
    detector = open_detector(load_bundle(tmp_path / "out"))
    defective = plant_defect(images[5], Defect("stain", 200, 150, 50, -0.5))
    assert detector.predict(defective).score > suggestion.threshold
    # An image that is in the memory finds itself there, so it scores below the threshold it helped to set.
    assert detector.predict(images[0]).score < suggestion.threshold


def test_golden_images_come_from_one_of_the_users_good_images(tmp_path: Path) -> None:
    images = _sections(3)
    export_bundle(GrnrExport(id="a"), tmp_path, images, tmp_path / "out")
    bundle = load_bundle(tmp_path / "out")
    ok = decode_image(bundle.files["golden/ok.png"], Path("golden/ok.png"))
    assert any(np.array_equal(ok, image) for image in images)


def test_large_images_are_shrunk_before_they_become_golden() -> None:
    large = np.tile(_sections(1)[0], (4, 4))
    assert max(golden_images([large])[0].pixels.shape) == 640


def test_a_planted_defect_that_is_not_seen_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    # A strip of noise 12 pixels high: a spot of a tenth of that is lost in it.
    rng = np.random.default_rng(0)
    strips = [rng.integers(0, 256, (12, 8000), np.uint8) for _ in range(3)]
    with pytest.raises(ConfigError, match=r"golden images: the planted defect scores .* expected at least"):
        export_bundle(GrnrExport(id="a"), tmp_path, strips, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_good_images_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 given; expected at least 3"):
        export_bundle(GrnrExport(id="a"), tmp_path, _sections(2), tmp_path / "out")


def test_a_folder_that_is_not_empty_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(BundleError, match="is not empty; a bundle is never written twice"):
        export_bundle(GrnrExport(id="a"), tmp_path, [], tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_the_same_settings_give_the_same_files(tmp_path: Path) -> None:
    first = export_bundle(GrnrExport(id="a"), tmp_path, [], tmp_path / "1")
    second = export_bundle(GrnrExport(id="a"), tmp_path, [], tmp_path / "2")
    assert first.files == second.files


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [0, -320])
def test_a_size_that_is_none_is_refused(method: str, size: int) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        METHODS[method](id="web", size=size)
