"""A sink that draws what the detector saw: overlays of rejected parts, a few of good ones, and one sheet."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import cv2

from ..channel import Channel, Closed
from ..errors import InspectionError
from ..frame import U8
from ..images.files import save_image
from ..images.overlay import contact_sheet, outcome_label, overlay
from ..output import make_folder, require_writable
from ..prediction import Prediction
from ..sink import View
from ..verdict import Outcome, Verdict

SHEET = "contact_sheet.png"
MOST: dict[Outcome, int] = {Outcome.NG: 60, Outcome.REVIEW: 60, Outcome.OK: 6}
"""Pictures per outcome and run: a line that runs for a week must not fill the disk."""
OK_EVERY = 25
"""Of the OK parts each so many-th is drawn, so that they show different places."""
ON_SHEET: dict[Outcome, int] = {Outcome.NG: 9, Outcome.REVIEW: 9, Outcome.OK: 3}
COLUMNS, TILE_WIDTH = 3, 480
WAITING = 8
"""Parts that may wait to be drawn, 1.3 MB each; while as many wait, more are left out."""
CLOSE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A part to draw; pixels and map are copies of its own."""

    verdict: Verdict
    pixels: U8
    prediction: Prediction


class OverlaySink:
    """Copies what it needs in the thread of the sinks; draws and writes in a thread of its own."""

    wants_maps = True

    def __init__(self, folder: Path) -> None:
        """Makes the folder and starts the thread.

        Raises:
            ConfigError: the folder cannot be made or written to.
        """
        make_folder(folder)
        require_writable(folder / SHEET)
        self.error: InspectionError | None = None
        """What stopped the drawing, if something did."""
        self._folder = folder
        self._left, self._room = dict(MOST), dict(ON_SHEET)
        self._seen_ok, self._written = 0, 0
        self._tiles: list[U8] = []
        self._waiting: Channel[Picture] = Channel(WAITING, "drop_latest")
        self._thread = threading.Thread(target=self._run, name="overlays", daemon=True)
        self._thread.start()

    def send(self, verdict: Verdict, view: View) -> None:
        """As in `Sink`; raises what stopped the drawing."""
        if self.error is not None:
            raise self.error
        if view.frame is None or view.prediction is None or not self._wanted(verdict.outcome):
            return
        mine = replace(view.prediction, anomaly_map=view.prediction.anomaly_map.copy())
        if self._waiting.put(Picture(verdict, view.frame.pixels.copy(), mine)) is None:
            self._left[verdict.outcome] -= 1

    def close(self) -> None:
        """As in `Sink`; waits until what was taken is written."""
        self._waiting.close()
        self._thread.join(CLOSE_TIMEOUT_S)

    def tell(self, stream: TextIO) -> None:
        """Says what was written.

        Raises:
            InspectionError: what stopped the drawing.
        """
        if self.error is not None:
            raise self.error
        print(f"{self._folder}: {self._written} overlays and {SHEET}", file=stream)

    def _wanted(self, outcome: Outcome) -> bool:
        if outcome is Outcome.OK:
            self._seen_ok += 1
            if self._seen_ok % OK_EVERY != 1:
                return False
        return self._left.get(outcome, 0) > 0

    def _run(self) -> None:
        """Body of the thread."""
        try:
            self._draw_all()
        except InspectionError as error:
            self.error = error
            self._waiting.close()

    def _draw_all(self) -> None:
        try:
            while (picture := self._waiting.get()) is not None:
                self._draw(picture)
        except Closed:
            self._write_sheet()

    def _draw(self, picture: Picture) -> None:
        verdict, seen = picture.verdict, picture.prediction
        threshold, outcome = verdict.judgement.threshold, verdict.outcome
        label = outcome_label(outcome, verdict.score, threshold)
        drawn = overlay(picture.pixels, seen.anomaly_map, seen.to_image, threshold, label)
        save_image(self._folder / f"{outcome.name}_{verdict.seq:06d}.png", drawn)
        self._written += 1
        if self._room.get(outcome, 0) > 0:
            self._room[outcome] -= 1
            self._tiles.append(_small(drawn))

    def _write_sheet(self) -> None:
        """The first pictures of each outcome, in the order of the parts."""
        if self._tiles:
            save_image(self._folder / SHEET, contact_sheet(self._tiles, COLUMNS, TILE_WIDTH))


def _small(drawn: U8) -> U8:
    height = max(1, round(TILE_WIDTH * drawn.shape[0] / drawn.shape[1]))
    return cv2.resize(drawn, (TILE_WIDTH, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
