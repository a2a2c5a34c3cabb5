"""The reader of data sets in MVTec layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.errors import ConfigError, InspectionError
from runtime.images.dataset import load_dataset, load_truth, train_good
from runtime.images.files import save_image

SHARED = Path(__file__).parents[3] / "shared" / "data"


def test_kinds_samples_and_masks_are_found_and_other_files_left_alone(tmp_path: Path) -> None:
    _write(tmp_path, good=2, hole=3, scratch=1)
    (tmp_path / "test" / "hole" / "notes.txt").write_text("seen by eye")
    dataset = load_dataset(tmp_path)
    assert dataset.counts() == {"good": 2, "hole": 3, "scratch": 1}
    first = next(sample for sample in dataset.samples if sample.kind == "hole")
    assert first.defective
    assert first.mask == tmp_path / "ground_truth" / "hole" / "000_mask.png"


def test_a_kind_without_a_mask_folder_is_labelled_per_image_only(tmp_path: Path) -> None:
    _write(tmp_path, good=1, hole=1, stain=1)
    (tmp_path / "ground_truth" / "stain" / "000_mask.png").unlink()
    (tmp_path / "ground_truth" / "stain").rmdir()
    truths = {sample.kind: sample.has_pixel_truth for sample in load_dataset(tmp_path).samples}
    assert truths == {"good": True, "hole": True, "stain": False}


def test_a_single_missing_mask_is_an_error_that_names_it(tmp_path: Path) -> None:
    _write(tmp_path, hole=2)
    (tmp_path / "ground_truth" / "hole" / "001_mask.png").unlink()
    with pytest.raises(ConfigError, match=r"hole/001_mask\.png: missing; expected a mask for each image"):
        load_dataset(tmp_path)


def test_a_limit_takes_images_evenly_spread_from_each_kind(tmp_path: Path) -> None:
    _write(tmp_path, good=10, hole=3)
    dataset = load_dataset(tmp_path, limit=4)
    assert dataset.counts() == {"good": 4, "hole": 3}
    assert [s.path.stem for s in dataset.samples if s.kind == "good"] == ["000", "002", "005", "007"]


def test_the_mask_is_true_where_the_file_is_not_zero_and_a_good_image_has_none(tmp_path: Path) -> None:
    _write(tmp_path, good=1, hole=1)
    good, hole = load_dataset(tmp_path).samples
    assert load_truth(hole, (6, 8)).sum() == 4
    assert not load_truth(good, (6, 8)).any()


def test_a_mask_of_another_size_is_an_error_with_both_sizes(tmp_path: Path) -> None:
    _write(tmp_path, hole=1)
    (sample,) = load_dataset(tmp_path).samples
    with pytest.raises(ConfigError, match="8 x 6 pixels, its image has 9 x 6; expected the same size"):
        load_truth(sample, (6, 9))


def test_a_missing_folder_an_empty_one_and_an_empty_kind_are_one_line_each(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory; expected a data set with test/<kind>/"):
        load_dataset(tmp_path / "nowhere")
    (tmp_path / "test").mkdir()
    with pytest.raises(ConfigError, match="holds no folder per kind"):
        load_dataset(tmp_path)
    (tmp_path / "test" / "hole").mkdir()
    with pytest.raises(ConfigError, match="no images in this folder"):
        load_dataset(tmp_path)
    with pytest.raises(ConfigError, match=r"train/good: .*expected a folder of images"):
        train_good(tmp_path)


def test_a_damaged_mask_is_an_error_that_names_it(tmp_path: Path) -> None:
    _write(tmp_path, hole=1)
    (sample,) = load_dataset(tmp_path).samples
    assert sample.mask is not None
    sample.mask.write_bytes(sample.mask.read_bytes()[:30])
    with pytest.raises(InspectionError, match=r"000_mask\.png: "):
        load_truth(sample, (6, 8))


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data sets beside the checkout")
def test_the_shared_data_sets_are_read_as_their_readme_says() -> None:
    found = {path.name: load_dataset(path).counts() for path in sorted(SHARED.iterdir()) if path.is_dir()}
    assert found["aitex_fabric03"]["good"] == 60
    assert found["crackforest"] == {"crack": 60}
    assert sum(found["magnetic_tile"].values()) == 342


def _write(root: Path, **counts: int) -> None:
    """A set of 8 x 6 images; each defective one has a mask of four pixels."""
    image, mask = np.full((6, 8), 90, np.uint8), np.zeros((6, 8), np.uint8)
    mask[2:4, 3:5] = 255
    for kind, count in counts.items():
        (root / "test" / kind).mkdir(parents=True)
        (root / "ground_truth" / kind).mkdir(parents=True)
        for i in range(count):
            save_image(root / "test" / kind / f"{i:03}.png", image)
            if kind != "good":
                save_image(root / "ground_truth" / kind / f"{i:03}_mask.png", mask)
