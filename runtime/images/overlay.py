"""Pictures for people: the anomaly map over its image, and many of them on one sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frame import U8
from ..prediction import F32, MapToImage
from ..verdict import Outcome
from .files import to_channels

Point = tuple[float, float]

COLOURS = {
    Outcome.OK: (110, 165, 0),
    Outcome.NG: (50, 40, 215),
    Outcome.REVIEW: (0, 150, 240),
    Outcome.INVALID: (150, 90, 130),
}
"""BGR; told apart by colour-blind people too, and never the only sign: text and symbol stand beside."""
OUTSIDE_SHARE = 0.35
"""Brightness left outside the inspected area."""
HEAT_FROM, HEAT_FULL, HEAT_ALPHA = 0.8, 1.6, 0.6
"""Heat begins and is strongest at these multiples of the threshold; the share of heat colour there."""
BACKGROUND = (32, 28, 26)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def outcome_label(outcome: Outcome, score: float | None, threshold: float) -> str:
    """`NG  0.531 >= 0.420`: outcome, score and threshold as the overlay shows them."""
    if score is None or not math.isfinite(score):
        return f"{outcome.name}  no score"
    return f"{outcome.name}  {score:.3g} {'<' if score < threshold else '>='} {threshold:.3g}"


def overlay(image: U8, anomaly_map: F32, to_image: MapToImage, threshold: float | None, label: str) -> U8:
    """The image with heat where the map nears the threshold, outlined cells over it, and the outcome.

    Args:
        image: (H, W) grey or (H, W, 3) BGR.
        anomaly_map: (h, w), same unit as `threshold`; a cell that is not finite counts as over.
        to_image: where the cells lie; what they do not cover is darkened.
        threshold: > 0; None: nothing is outlined, and heat is strongest at the map's greatest value.
        label: text of the banner; its first word is an outcome and decides colour and symbol.

    Returns:
        (H, W, 3) BGR uint8.
    """
    picture: U8 = to_channels(image, True).copy()
    rows, row_in = _cells(picture.shape[0], to_image.y0, to_image.dy, anomaly_map.shape[0])
    columns, column_in = _cells(picture.shape[1], to_image.x0, to_image.dx, anomaly_map.shape[1])
    inside = np.outer(row_in, column_in)
    limit = math.inf if threshold is None else threshold
    over = ~(anomaly_map < limit)[np.ix_(rows, columns)] & inside
    heat = np.nan_to_num(anomaly_map / _unit(anomaly_map, threshold), nan=HEAT_FULL, posinf=HEAT_FULL)
    _blend_heat(picture, _spread(heat.astype(np.float32), to_image, picture.shape), inside)
    picture[~inside] = (picture[~inside] * OUTSIDE_SHARE).astype(np.uint8)
    _outline(picture, over)
    height = max(18, picture.shape[0] // 16)
    # The banner gives way to what it must not hide.
    hides = bool(over[: 2 * height, : picture.shape[1] // 2].any())
    _banner(picture[-height:] if hides else picture[:height], label)
    return picture


def _unit(anomaly_map: F32, threshold: float | None) -> float:
    """What the map is measured in for the heat: thresholds, else shares of its own greatest value."""
    if threshold is not None:
        return threshold
    finite = anomaly_map[np.isfinite(anomaly_map)]
    return float(finite.max(initial=np.finfo(np.float32).tiny)) / HEAT_FULL


def contact_sheet(tiles: Sequence[U8], columns: int, tile_width: int = 400) -> U8:
    """All tiles on one sheet, row by row, each fitted into a cell with the first tile's proportions.

    Args:
        tiles: at least one image, grey or BGR, of any size.
        columns: tiles per row, >= 1.
        tile_width: width of a cell, px.

    Raises:
        ValueError: no tiles, or columns < 1.
    """
    if not tiles or columns < 1:
        raise ValueError(f"{len(tiles)} tiles in {columns} columns; expected at least one of each")
    columns = min(columns, len(tiles))
    gap = max(2, tile_width // 50)
    tile_height = max(1, round(tile_width * tiles[0].shape[0] / tiles[0].shape[1]))
    rows = -(-len(tiles) // columns)
    shape = (gap + rows * (tile_height + gap), gap + columns * (tile_width + gap), 3)
    sheet = np.full(shape, BACKGROUND, np.uint8)
    for i, tile in enumerate(tiles):
        top = gap + i // columns * (tile_height + gap)
        left = gap + i % columns * (tile_width + gap)
        _place(sheet[top : top + tile_height, left : left + tile_width], tile)
    return sheet


def _cells(extent: int, start: float, step: float, count: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Cell under each pixel centre along one axis, and whether there is one."""
    cell = np.floor((np.arange(extent) + 0.5 - start) / step).astype(np.intp)
    return np.clip(cell, 0, count - 1), (cell >= 0) & (cell < count)


def _spread(heat: F32, to_image: MapToImage, shape: tuple[int, ...]) -> F32:
    """The map on the image's pixels, linear between cell centres."""
    # warpAffine asks for the map coordinate of a pixel, both counted from centres.
    matrix = np.array(
        [
            [1 / to_image.dx, 0, (0.5 - to_image.x0) / to_image.dx - 0.5],
            [0, 1 / to_image.dy, (0.5 - to_image.y0) / to_image.dy - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    spread = cv2.warpAffine(heat, matrix, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(spread, np.float32)


def _blend_heat(picture: U8, heat: F32, inside: NDArray[np.bool_]) -> None:
    """Paints the heat into the picture; nothing where the map is clearly normal."""
    level = np.clip((heat - HEAT_FROM) / (HEAT_FULL - HEAT_FROM), 0, 1)
    # The dark end of the colour map is left out: it would look like shadow.
    colours = cv2.applyColorMap((70 + 185 * level).astype(np.uint8), cv2.COLORMAP_INFERNO)
    alpha = (HEAT_ALPHA * np.sqrt(level) * inside)[:, :, None]
    picture[:] = (picture * (1 - alpha) + colours * alpha).astype(np.uint8)


def _outline(picture: U8, over: NDArray[np.bool_]) -> None:
    contours, _ = cv2.findContours(over.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    line = max(1, round(picture.shape[1] / 640))
    cv2.drawContours(picture, contours, -1, (0, 0, 0), line + 2, cv2.LINE_AA)
    cv2.drawContours(picture, contours, -1, (255, 255, 255), line, cv2.LINE_AA)


def _banner(picture: U8, label: str) -> None:
    """Symbol and text on the outcome's colour, at the left of a strip of the picture."""
    word, _, detail = label.partition(" ")
    outcome = Outcome.__members__.get(word, Outcome.INVALID)
    height = picture.shape[0]
    scale, line = height / 34, max(1, round(height / 20))
    words = [(word, line + 1), (detail.strip(), line)]
    widths = [cv2.getTextSize(text, FONT, scale, weight)[0][0] if text else 0 for text, weight in words]
    fit = min(1.0, (picture.shape[1] - 2.2 * height) / max(1, sum(widths)))
    right = round(1.7 * height + fit * sum(widths) + height * 0.3)
    cv2.rectangle(picture, (0, 0), (right, height), COLOURS[outcome], cv2.FILLED)
    SYMBOLS[outcome](picture, height, line + 1)
    x = round(1.2 * height)
    for (text, weight), width in zip(words, widths, strict=True):
        at = (x, round(0.72 * height))
        cv2.putText(picture, text, at, FONT, scale * fit, (255, 255, 255), weight, cv2.LINE_AA)
        x += round(fit * width + 0.4 * height)


def _strokes(picture: U8, size: int, line: int, strokes: Sequence[Sequence[Point]]) -> None:
    """White lines through points given in shares of a square of `size` at the corner."""
    for stroke in strokes:
        points = np.array([(x * size, y * size) for x, y in stroke], np.float32).round().astype(np.int32)
        cv2.polylines(picture, [points], False, (255, 255, 255), line, cv2.LINE_AA)


def _tick(picture: U8, size: int, line: int) -> None:
    _strokes(picture, size, line, [[(0.25, 0.52), (0.45, 0.74), (0.82, 0.26)]])


def _cross(picture: U8, size: int, line: int) -> None:
    _strokes(picture, size, line, [[(0.28, 0.25), (0.78, 0.75)], [(0.78, 0.25), (0.28, 0.75)]])


def _question(picture: U8, size: int, line: int) -> None:
    bow = [(0.35, 0.36), (0.38, 0.25), (0.53, 0.2), (0.68, 0.27), (0.68, 0.4), (0.53, 0.5), (0.53, 0.62)]
    _strokes(picture, size, line, [bow, [(0.53, 0.78), (0.53, 0.8)]])


def _warning(picture: U8, size: int, line: int) -> None:
    triangle = [(0.53, 0.14), (0.88, 0.82), (0.18, 0.82), (0.53, 0.14)]
    _strokes(
        picture, size, max(1, line - 1), [triangle, [(0.53, 0.36), (0.53, 0.6)], [(0.53, 0.71), (0.53, 0.72)]]
    )


SYMBOLS: dict[Outcome, Callable[[U8, int, int], None]] = {
    Outcome.OK: _tick,
    Outcome.NG: _cross,
    Outcome.REVIEW: _question,
    Outcome.INVALID: _warning,
}


def _place(cell: U8, tile: U8) -> None:
    """Fits a tile into a cell of the sheet, centred."""
    scale = min(cell.shape[0] / tile.shape[0], cell.shape[1] / tile.shape[1])
    height, width = (max(1, int(n * scale + 1e-6)) for n in tile.shape[:2])
    small = cv2.resize(to_channels(tile, True), (width, height), interpolation=cv2.INTER_AREA)
    top, left = (cell.shape[0] - height) // 2, (cell.shape[1] - width) // 2
    cell[top : top + height, left : left + width] = small
