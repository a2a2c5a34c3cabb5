"""The detect thread: opens the detector, warms it up, and turns frames into scores."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from ..channel import Channel, Closed
from ..detector import Detector
from ..errors import DetectorError
from ..prediction import Prediction
from ..product import Product
from ..reasons import REASONS
from ..ticket import now_us
from .notes import Lane, Links, Prepared, Result, Shot, Started, run_guarded

logger = logging.getLogger(__name__)


class Detect:
    """One thread around one detector."""

    def __init__(
        self, name: str, load: Callable[[], Product], frames: Channel[Shot], links: Links, every_map: bool
    ) -> None:
        """`every_map`: the anomaly map is wanted, hence copied, of every frame, not only of NG and REVIEW."""
        self._name, self._load, self._frames, self._links = name, load, frames, links
        self._every_map = every_map
        self._detector: Detector | None = None
        self._shot: Shot | None = None

    def run(self) -> None:
        """Body of the thread."""
        run_guarded(self._name, self._work, self._leave, self._links)

    def _work(self) -> None:
        product = self._load()
        detector = self._detector = product.open_detector()
        self._links.tell(Started(self._name))
        if product.warm_up is not None:
            product.warm_up(detector)
        self._links.tell(Prepared(Lane(self._name, product.terms, self._frames)))
        try:
            while True:
                self._shot = self._frames.get()
                assert self._shot is not None
                result, self._shot = self._judge(detector, self._shot), None
                self._links.tell(result)
        except Closed:
            return

    def _leave(self) -> None:
        if self._shot is not None:  # a fault that is no DetectorError: publish answers for the ticket
            self._shot.frame.release()
        if self._detector is not None:
            self._detector.close()

    def _judge(self, detector: Detector, shot: Shot) -> Result:
        """A result for every shot; a frame that is flagged or too late is not looked at."""
        begun_us = now_us()
        result = replace(shot.answer(), begun_us=begun_us)
        late = ("DEADLINE_MISSED",) if begun_us > shot.ticket.deadline_us else ()
        reasons = late or tuple(flag for flag in shot.frame.flags if flag in REASONS)
        if reasons:
            return replace(result, reasons=reasons)
        try:
            detector.submit(shot.frame)
            seen = detector.collect()
        except DetectorError as error:
            logger.warning("frame %d not judged: %s", shot.frame.frame_id, error)
            return replace(result, reasons=("INFER_FAILED",), done_us=now_us())
        kept = self._keep(seen, shot.ticket.terms.thresholds.least)
        # Plain numbers from here on; what is none is a bug of the detector, and shows here.
        spans = {stage: int(span) for stage, span in seen.stage_us.items()}
        return replace(result, score=float(seen.score), prediction=kept, done_us=now_us(), stage_us=spans)

    def _keep(self, seen: Prediction, least: float) -> Prediction | None:
        """The prediction with a map that the detector's next frame does not overwrite, where it is wanted."""
        wanted = self._every_map or not seen.score < least
        return replace(seen, anomaly_map=seen.anomaly_map.copy()) if wanted else None
