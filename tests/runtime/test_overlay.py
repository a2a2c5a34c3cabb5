"""Overlays and contact sheets: what is painted where."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.frame import U8
from runtime.images.overlay import COLOURS, OUTSIDE_SHARE, contact_sheet, outcome_label, overlay
from runtime.prediction import F32, MapToImage
from runtime.verdict import Outcome

GRID = MapToImage(x0=40, y0=20, dx=20, dy=20)
"""A 10 x 10 map in the middle of a 280 x 240 image."""


@pytest.fixture
def image() -> U8:
    return np.full((240, 280), 100, np.uint8)


@pytest.fixture
def quiet_map() -> F32:
    return np.full((10, 10), 0.1, np.float32)


def test_where_all_is_normal_the_image_is_left_as_it_is(image: U8, quiet_map: F32) -> None:
    picture = overlay(image, quiet_map, GRID, 1.0, "OK")
    assert picture.shape == (240, 280, 3)
    assert (picture[40:220, 40:240] == 100).all()


def test_what_was_not_inspected_is_darkened(image: U8, quiet_map: F32) -> None:
    picture = overlay(image, quiet_map, GRID, 1.0, "OK")
    assert (picture[100:200, :40] == int(100 * OUTSIDE_SHARE)).all()
    assert (picture[100:200, 240:] == int(100 * OUTSIDE_SHARE)).all()
    assert (picture[220:] == int(100 * OUTSIDE_SHARE)).all()


@pytest.mark.parametrize("value", [1.0, 5.0, np.nan, np.inf])
def test_a_cell_at_or_over_the_threshold_or_not_finite_is_outlined(
    image: U8, quiet_map: F32, value: float
) -> None:
    quiet_map[5, 5] = value
    picture = overlay(image, quiet_map, GRID, 1.0, "NG")
    # The cell covers rows 120..139 and columns 140..159; its border is white.
    assert (picture[120, 145:155] > 200).all()
    assert (picture[145:150, 139 + 20 + 20 : 220] == 100).all()


def test_heat_lies_on_its_cell_and_nowhere_else(image: U8, quiet_map: F32) -> None:
    quiet_map[2, 7] = 3.0
    picture = overlay(image, quiet_map, GRID, 1.0, "NG").astype(int)
    heated = np.abs(picture[20:220, 40:240] - 100).sum(axis=2) > 30
    heated[:20] = False  # the banner
    rows, columns = np.nonzero(heated)
    assert abs(rows.mean() - 49.5) < 1
    assert abs(columns.mean() - 149.5) < 1
    assert rows.min() >= 20
    assert rows.max() <= 79


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_has_colour_text_and_symbol(image: U8, quiet_map: F32, outcome: Outcome) -> None:
    picture = overlay(image, quiet_map, GRID, 1.0, outcome_label(outcome, 0.1, 1.0))
    assert tuple(picture[0, 0]) == COLOURS[outcome]
    white = picture[:18].min(axis=2) > 235
    symbol, text = white[:, :16], white[:, 18:]
    assert symbol.any()
    assert text.any()


def test_the_banner_gives_way_to_an_anomaly_below_it(image: U8, quiet_map: F32) -> None:
    quiet_map[0, 0] = 2.0
    picture = overlay(image, quiet_map, GRID, 1.0, "NG")
    assert tuple(picture[-1, 0]) == COLOURS[Outcome.NG]
    assert tuple(picture[0, 0]) != COLOURS[Outcome.NG]


def test_the_given_image_is_not_painted_on(image: U8, quiet_map: F32) -> None:
    colour = np.stack([image] * 3, axis=2)
    overlay(colour, quiet_map, GRID, 1.0, "NG")
    assert (colour == 100).all()


@pytest.mark.parametrize("shape", [(16, 16), (40, 30, 3), (20, 2000)])
def test_small_and_odd_images_are_painted_too(shape: tuple[int, ...]) -> None:
    grid = MapToImage(0.3, -0.7, shape[1] / 3.7, shape[0] / 4.1)
    picture = overlay(np.zeros(shape, np.uint8), np.ones((4, 4), np.float32), grid, 0.5, "NG  0.53 >= 0.5")
    assert picture.shape == (*shape[:2], 3)


@pytest.mark.parametrize(
    ("outcome", "score", "text"),
    [
        (Outcome.NG, 0.531, "NG  0.531 >= 0.42"),
        (Outcome.OK, 0.1, "OK  0.1 < 0.42"),
        (Outcome.INVALID, None, "INVALID  no score"),
        (Outcome.INVALID, float("nan"), "INVALID  no score"),
    ],
)
def test_the_label_says_outcome_score_and_threshold(outcome: Outcome, score: float | None, text: str) -> None:
    assert outcome_label(outcome, score, 0.42) == text


def test_a_contact_sheet_shows_every_tile_in_its_place() -> None:
    tiles = [np.full((80, 100), 50 + 40 * i, np.uint8) for i in range(5)]
    sheet = contact_sheet(tiles, columns=3, tile_width=50)
    assert sheet.shape == (2 + 2 * 42, 2 + 3 * 52, 3)
    for i in range(5):
        assert (sheet[2 + i // 3 * 42 + 20, 2 + i % 3 * 52 + 25] == 50 + 40 * i).all()


def test_a_tile_of_another_shape_is_fitted_whole() -> None:
    tiles = [np.full((100, 100), 200, np.uint8), np.full((300, 100, 3), 200, np.uint8)]
    sheet = contact_sheet(tiles, columns=2, tile_width=60)
    second = (sheet[:, 64:] == 200).all(axis=2)
    assert second.sum() == 60 * 20


@pytest.mark.parametrize(("count", "columns"), [(0, 3), (2, 0)])
def test_a_sheet_of_nothing_is_refused(count: int, columns: int) -> None:
    with pytest.raises(ValueError, match="expected at least one of each"):
        contact_sheet([np.zeros((4, 4), np.uint8)] * count, columns)
