"""Every method is fitted, exported and judges; PatchCore's memory and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from export.bundling import export_bundle
from export.checkpoint import Checkpoint
from export.draft import draft_bundle
from export.fitting import NetworkFeatures, fit_method
from export.methods import METHODS, load_method
from export.methods.patchcore import PatchcoreExport
from runtime.bundle import KnnHead, load_bundle
from runtime.errors import ConfigError
from runtime.heads.knn import embed
from runtime.opening import open_detector
from runtime.selftest import require_golden
from runtime.sources.defects import Defect, plant_defect
from runtime.sources.synthetic import SyntheticConfig, SyntheticSource

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]


def silent(step: str, done: int, total: int, note: str = "") -> None:
    """Nobody watches."""


TRAINED: dict[str, dict[str, Any]] = {"inp_former": {"steps": 150}}
"""Methods that need torch -> settings under which a test trains them in seconds."""
SMALL = PatchcoreExport(id="web", size=160)


def _sections(count: int) -> list[U8]:
    config = SyntheticConfig(width=320, height=256, texture="granular", seed=5, defect_rate=0.0)
    source = SyntheticSource(config)
    images = [np.zeros(source.shape, np.uint8) for _ in range(count)]
    for section, image in enumerate(images):
        source.render(section, section, image)
    return images


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_fits_exports_and_tells_a_planted_defect(name: str, tmp_path: Path) -> None:
    if name in TRAINED:
        pytest.importorskip("torch")
    images, method = _sections(6), METHODS[name](id="web", **TRAINED.get(name, {}))
    export_bundle(method, tmp_path, images[:5], tmp_path / "out")
    bundle = load_bundle(tmp_path / "out")
    assert bundle.manifest.method == name
    assert bundle.manifest.suggestion is not None
    assert len(require_golden(bundle, "onnxruntime", 1)) == 2
    detector = open_detector(bundle)
    good = detector.predict(images[5]).score
    defective = detector.predict(plant_defect(images[5], Defect("stain", 160, 120, 50, -0.5)))
    assert defective.score > 1.1 * good
    row, column = np.unravel_index(defective.anomaly_map.argmax(), defective.anomaly_map.shape)
    at = defective.to_image
    # The stain is 50 px wide; its map is smoothed.
    assert (at.x0 + column * at.dx, at.y0 + row * at.dy) == pytest.approx((160, 120), abs=40)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "configs" / "export").glob("*.yaml")))
def test_every_config_that_is_shipped_is_read(path: Path) -> None:
    assert type(load_method(path)) in METHODS.values()


def test_the_same_seed_gives_the_same_memory_and_another_seed_another() -> None:
    images = _sections(3)
    first, second = (fit_method(SMALL, Path(), images).arrays["bank"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    other = fit_method(msgspec.structs.replace(SMALL, seed=1), Path(), images).arrays["bank"]
    assert other.shape == first.shape
    assert not np.array_equal(other, first)


def test_every_step_of_a_fit_is_reported_to_its_end() -> None:
    last: dict[str, tuple[int, int]] = {}
    fit_method(
        SMALL, Path(), _sections(3), lambda step, done, total, note="": last.update({step: (done, total)})
    )
    assert list(last) == ["features", "coreset", "bank", "threshold"]
    assert all(done == total for done, total in last.values())


def test_the_bank_is_a_share_of_the_patches_with_an_upper_limit() -> None:
    images = _sections(3)
    # 160 px at stride 8: 400 patches an image.
    assert len(fit_method(SMALL, Path(), images).arrays["bank"]) == 120
    few = msgspec.structs.replace(SMALL, most_rows=50)
    assert len(fit_method(few, Path(), images).arrays["bank"]) == 50


def _features(images: list[U8]) -> NetworkFeatures:
    return NetworkFeatures(draft_bundle(SMALL, Path(), Path("out")).bundle, images)


def test_bank_rows_are_patches_of_their_image_and_leave_with_it() -> None:
    features = _features(_sections(3))
    memory = SMALL.fit(features, silent, Checkpoint(None))
    assert memory.bank.dtype == np.float16
    for i in range(3):
        own = memory.bank[memory.image == i]
        patches = embed(features[i]).astype(np.float16)
        assert len(own) > 0
        assert all((patches == row).all(axis=1).any() for row in own)
        left = memory.arrays(without=i)["bank"]
        np.testing.assert_array_equal(left, memory.bank[memory.image != i])


def test_values_beyond_float16_are_kept_as_float32() -> None:
    features: list[list[F32]] = [[np.full((8, 8, 4), 1e5, np.float32)] for _ in range(3)]
    bank = SMALL.fit(features, silent, Checkpoint(None)).bank
    assert bank.dtype == np.float32
    assert np.isfinite(bank).all()


def test_images_that_are_all_alike_are_fitted_too(tmp_path: Path) -> None:
    flat = [np.full((256, 320), 120, np.uint8)] * 4
    bundle = export_bundle(SMALL, tmp_path, flat, tmp_path / "out")
    assert isinstance(bundle.manifest.head, KnnHead)
    detector = open_detector(load_bundle(tmp_path / "out"))
    spot = flat[0].copy()
    spot[100:140, 100:140] = 20
    assert detector.predict(spot).score > 10 * detector.predict(flat[0]).score


def test_it_cannot_be_exported_without_good_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="patchcore needs images of good parts; give --fitted"):
        export_bundle(SMALL, tmp_path, [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("coreset", 0),
        ("coreset", 1.5),
        ("most_rows", 0),
        ("neighbours", 0),
        ("support", 0),
        ("size", 0),
        ("seed", -1),
    ],
)
def test_settings_out_of_range_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{key} is {value}; expected"):
        PatchcoreExport(id="a", **{key: value})


def test_more_neighbours_than_the_bank_may_hold_are_refused() -> None:
    with pytest.raises(ValueError, match="neighbours is 9; expected at most most_rows, 8"):
        PatchcoreExport(id="a", neighbours=9, most_rows=8)
