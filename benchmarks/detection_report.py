"""The detection ladder as a page of tables and as one picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import cv2
import msgspec
import numpy as np

from runtime.frame import U8
from runtime.images.overlay import BACKGROUND, COLOURS, FONT
from runtime.sources.synthetic import SyntheticConfig
from runtime.verdict import Outcome

CELL_PX = 150
"""Side of an example in the picture: camera pixels, unscaled."""
LEFT_PX, TOP_PX, STRIP_PX, GAP_PX = 96, 64, 26, 8

_READING = """\
{images} images of {webs} webs (seeds {first} to {last}), none of which was used to choose a parameter or
the threshold ({threshold:.4g}, `benchmarks/make_demo.py`). Frames of {width} x {height}, inspected at
320 x 320: one inspected pixel is {scale:g} camera pixels. Contrast is the peak change of the grey level as a
share of full scale. An escape is a section with a defect and a score below the threshold."""


class Look(msgspec.Struct, frozen=True, array_like=True):
    """One section with one defect, judged."""

    seed: int
    kind: str
    size_px: float
    contrast: float
    score: float


class Ladder(msgspec.Struct, frozen=True):
    """Everything that was judged."""

    web: SyntheticConfig
    seeds: tuple[int, ...]
    threshold: float
    bundle_sha256: str
    """Of the manifest."""
    looks: tuple[Look, ...]
    good: tuple[tuple[float, ...], ...]
    """Per web, the scores of its good sections."""


def page(ladder: Ladder) -> str:
    """The page in Markdown: escapes per rung and per kind, and false rejects."""
    reading = _READING.format(
        images=len(ladder.looks) + sum(map(len, ladder.good)),
        webs=len(ladder.seeds),
        first=ladder.seeds[0],
        last=ladder.seeds[-1],
        threshold=ladder.threshold,
        width=ladder.web.width,
        height=ladder.web.height,
        scale=ladder.web.width / 320,
    )
    contrasts = _levels(look.contrast for look in ladder.looks)
    kinds = sorted({look.kind for look in ladder.looks})
    parts = [
        "# What the demo's detector sees",
        "Made by `python -m benchmarks.bench_detection`.",
        reading,
        "![One example per rung, with its escapes](../docs/detection.jpg)",
        "## Escapes: defect size x contrast, all kinds",
        _table(ladder, "contrast", contrasts, lambda look: look.contrast, _percent_or_number),
        f"## Escapes: defect size x kind, contrast {contrasts[-2]:g} and above",
        _table(
            msgspec.structs.replace(
                ladder, looks=tuple(look for look in ladder.looks if look.contrast >= contrasts[-2])
            ),
            "kind",
            kinds,
            lambda look: look.kind,
            str,
        ),
        "## False rejects",
        _false_rejects(ladder),
    ]
    return "\n\n".join(parts) + "\n"


def draw(ladder: Ladder, example: Callable[[float, float, int], U8]) -> U8:
    """The picture: one example per rung at camera scale, its escapes below it.

    Args:
        example: (size_px, contrast, side) -> (side, side) grey cut-out with such a defect.

    Returns:
        (H, W, 3) BGR.
    """
    sizes = _levels(look.size_px for look in ladder.looks)
    contrasts = _levels(look.contrast for look in ladder.looks)
    height = TOP_PX + len(contrasts) * (CELL_PX + STRIP_PX + GAP_PX)
    sheet = np.full((height, LEFT_PX + len(sizes) * (CELL_PX + GAP_PX), 3), BACKGROUND, np.uint8)
    _write(sheet, "size, camera px", (LEFT_PX, 22), 0.55)
    _write(sheet, "contrast", (8, TOP_PX - 10), 0.5)
    for column, size in enumerate(sizes):
        left = LEFT_PX + column * (CELL_PX + GAP_PX)
        _write(sheet, f"{size:g}", (left + CELL_PX // 2 - 14, TOP_PX - 10), 0.6)
        for row, contrast in enumerate(contrasts):
            top = TOP_PX + row * (CELL_PX + STRIP_PX + GAP_PX)
            if column == 0:
                _write(sheet, f"{contrast:.0%}", (14, top + CELL_PX // 2), 0.6)
            cut = example(size, contrast, CELL_PX)
            sheet[top : top + CELL_PX, left : left + CELL_PX] = cv2.cvtColor(cut, cv2.COLOR_GRAY2BGR)
            strip = sheet[top + CELL_PX : top + CELL_PX + STRIP_PX, left : left + CELL_PX]
            _draw_strip(strip, *_escapes(_rung(ladder.looks, size, contrast), ladder.threshold))
    return sheet


def _draw_strip(strip: U8, escaped: int, total: int) -> None:
    """A bar of what was caught and what escaped, and the count."""
    caught = round(strip.shape[1] * (total - escaped) / total)
    strip[:, :caught], strip[:, caught:] = COLOURS[Outcome.OK], COLOURS[Outcome.NG]
    _write(strip, f"caught {total - escaped} of {total}", (8, 18), 0.46)


def _write(picture: U8, text: str, at: tuple[int, int], scale: float) -> None:
    cv2.putText(picture, text, at, FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)


def _table(
    ladder: Ladder,
    name: str,
    rows: Sequence[float] | Sequence[str],
    key: Callable[[Look], float | str],
    show: Callable[[float | str], str],
) -> str:
    sizes = _levels(look.size_px for look in ladder.looks)
    lines = [
        f"| {name} | " + " | ".join(f"{size:g} px" for size in sizes) + " |",
        "| --- " * (len(sizes) + 1) + "|",
    ]
    for row in rows:
        cells = []
        for size in sizes:
            found = [look for look in ladder.looks if look.size_px == size and key(look) == row]
            cells.append("{} of {}".format(*_escapes(found, ladder.threshold)))
        lines.append(f"| {show(row)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _false_rejects(ladder: Ladder) -> str:
    rejected = [sum(score >= ladder.threshold for score in web) for web in ladder.good]
    sections, webs = sum(map(len, ladder.good)), sum(count > 0 for count in rejected)
    low, high = wilson_interval(webs, len(rejected))
    return (
        f"{sum(rejected)} of {sections} good sections, on {webs} of {len(rejected)} webs "
        f"(95 % interval of the share of webs: {low:.1%} to {high:.1%})."
    )


def wilson_interval(count: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share from `count` of `total`; z = 1.96 for 95 %.

    Source: Wilson, JASA 22 (1927).
    """
    share = count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)


def _escapes(looks: Sequence[Look], threshold: float) -> tuple[int, int]:
    return sum(look.score < threshold for look in looks), len(looks)


def _rung(looks: Iterable[Look], size: float, contrast: float) -> list[Look]:
    return [look for look in looks if (look.size_px, look.contrast) == (size, contrast)]


def _levels(values: Iterable[float]) -> list[float]:
    return sorted(set(values))


def _percent_or_number(value: float | str) -> str:
    return f"{value:.0%}" if isinstance(value, float) else value
