"""How a bundle keeps up with a camera: the real pipeline, timed from the moments when frames were due."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..detector import Detector
from ..errors import ConfigError, PipelineError
from ..frame import U8
from ..head import HeadForm
from ..opening import open_detector
from ..pipeline import Pipeline
from ..process import settle_memory
from ..provenance import EngineFacts, Provenance, RecipeFacts
from ..quality import QualityLimits
from ..recipe import Recipe
from ..settings import Settings
from ..sink import Sink, View
from ..terms import Thresholds
from ..verdict import Verdict
from .latency import QUANTILES, Quantiles, needed_samples, quantiles
from .metronome import Metronome

WARM_FRAMES = 10
"""Frames at the cadence before the first that counts."""
IDLE_FRAMES = 3
"""How often the camera pauses at the end, for the latency of the first frame after it."""
DETECTOR_RUNS = 3
"""Runs before the first frame: a network's first ones allocate."""
QUEUE = 4
"""Frames that may wait for detection, as in a station; then the oldest is dropped."""
NEVER_MS = 120_000.0
"""Deadline of the pipeline: far away, so that a late verdict still tells how late it was."""
EVERYTHING_IS_OK = Thresholds(1e30)
READY_TIMEOUT_S = 300.0
END_TIMEOUT_S = 150.0

STAGES = {"preprocess": "pre", "network": "infer", "head": "post", "publish": "publish"}
"""Row of the table -> field of a verdict's `lat_us`; `wait` and `total` stand beside them."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """What the camera does."""

    fps: float
    seconds: float
    deadline_ms: float
    """From when a frame was due to its verdict."""
    idle_s: float = 1.0
    """Length of each pause at the end."""

    @property
    def frames(self) -> int:
        """Frames that count, without warm-up and pauses."""
        return int(self.fps * self.seconds)

    def due_us(self) -> list[int]:
        """The timetable: warm-up, the frames that count, and one frame after each pause."""
        steady = [round(1e6 * i / self.fps) for i in range(WARM_FRAMES + self.frames)]
        return steady + [steady[-1] + round(1e6 * self.idle_s * (i + 1)) for i in range(IDLE_FRAMES)]


class CadenceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; latencies in ms, counted from the moment a frame was due."""

    fps: float
    deadline_ms: float
    frames: int
    dropped: int
    """Never judged: the queue was full."""
    failed: int
    """Never judged for another reason: the detector raised."""
    misses: int
    """Frames whose verdict came after the deadline, or that were never judged."""
    sustained_fps: float | None
    """Judged frames per second."""
    capacity_fps: float | None
    """What the detector alone could do: 1 / median of preprocess + network + head."""
    headroom: float | None
    """`capacity_fps` / `fps`; below 1 the camera is too fast."""
    first_after_idle_ms: list[float]
    """Latency of the first frame after each pause."""
    stages: dict[str, Quantiles]
    """`wait` (due until detection takes it up), preprocess, network, head, publish: of judged frames;
    `total`: of all frames, infinite for one that was never judged."""
    notes: list[str]


def measure(
    bundle: Bundle,
    recipe: Recipe | None,
    backend: str,
    threads: int,
    images: Sequence[U8],
    cadence: Cadence,
    head: HeadForm | None = None,
) -> CadenceFigures:
    """Runs a pipeline over the timetable and sums up.

    Raises:
        ConfigError: the recipe's region does not lie within the images.
        InspectionError: the pipeline cannot be opened, or ended before the timetable.
    """
    times = Times(len(cadence.due_us()))
    pipeline = timed_pipeline(bundle, recipe, backend, threads, images, cadence, [times], head=head)
    pipeline.start()
    play(pipeline, cadence)
    if times.answered != len(times.us):
        raise PipelineError(f"{times.answered} of {len(times.us)} frames were answered; measure again")
    return summarise(cadence, times)


def timed_pipeline(
    bundle: Bundle,
    recipe: Recipe | None,
    backend: str,
    threads: int,
    images: Sequence[U8],
    cadence: Cadence,
    sinks: Sequence[Sink],
    begin: threading.Event | None = None,
    head: HeadForm | None = None,
    look: bool = True,
) -> Pipeline:
    """A station's pipeline whose camera is the timetable; nothing is opened yet.

    Args:
        look: whether each picture's quality is looked at, as on the line.
        begin: the timetable begins only once it is set, so that a listener can be there first.
        head: form of the kernels around the network; None is native where it was compiled.
    """

    def warm_up(detector: Detector) -> None:
        try:
            for _ in range(DETECTOR_RUNS):
                detector.predict(images[0])
        except ValueError as error:  # the recipe's region does not lie within such frames
            raise ConfigError(str(error)) from None
        if begin is not None:
            begin.wait(READY_TIMEOUT_S)

    return Pipeline(
        _settings(bundle, recipe, backend, look),
        lambda: Metronome(images, cadence.due_us()),
        lambda: open_detector(bundle, recipe, backend, threads, head=head),
        warm_up,
        sinks,
    )


def play(pipeline: Pipeline, cadence: Cadence) -> None:
    """Waits until a started pipeline has done its timetable and ended.

    Raises:
        InspectionError: what ended it before.
    """
    until_s = cadence.due_us()[-1] / 1e6 + END_TIMEOUT_S
    try:
        if pipeline.wait_ready(READY_TIMEOUT_S):
            settle_memory()
        if not pipeline.join(until_s):
            raise PipelineError(f"the pipeline did not end within {until_s:.0f} s")
    except BaseException:
        pipeline.stop()
        raise


class Times:
    """The sink that keeps every verdict's times, in memory laid out beforehand."""

    wants_maps = False
    FIELDS = ("wait", "pre", "infer", "post", "publish", "total")

    def __init__(self, frames: int) -> None:
        self.us = np.zeros((frames, len(self.FIELDS)), np.int64)
        """(frames, fields), us."""
        self.end_us = np.zeros(frames, np.int64)
        """Monotonic clock when the verdict went out."""
        self.judged, self.dropped = np.zeros(frames, bool), np.zeros(frames, bool)
        self.answered = 0

    def send(self, verdict: Verdict, view: View) -> None:
        """As in `Sink`."""
        self.answered += 1
        if verdict.frame is None:
            return
        row, lat = verdict.frame.frame_id, verdict.lat_us
        wait_us = lat.wait + lat.acquire + lat.queue
        self.us[row] = (wait_us, lat.pre, lat.infer, lat.post, lat.publish, lat.total)
        self.end_us[row] = verdict.ticket.opened_us + lat.total
        # A score that is not finite took its time all the same.
        self.judged[row] = lat.post > 0
        self.dropped[row] = "QUEUE_FULL" in verdict.reasons

    def close(self) -> None:
        """As in `Sink`."""


def _settings(bundle: Bundle, recipe: Recipe | None, backend: str, look: bool) -> Settings:
    provenance = Provenance(
        line="bench",
        station="bench",
        recipe=RecipeFacts("bench" if recipe is None else recipe.id, "1", 0, ""),
        engine=EngineFacts(bundle.manifest.id, bundle.sha256, backend, "cpu"),
        camera_id="metronome",
        simulated=True,
    )
    return Settings(
        provenance=provenance,
        thresholds=EVERYTHING_IS_OK if recipe is None else recipe.thresholds,
        deadline_ms=NEVER_MS,
        # Measured as on the line; nothing is refused, since the web is not what the recipe was made for.
        quality=QualityLimits(dark_frac=None, sat_frac=None) if look else None,
        box=None if recipe is None else recipe.box,
        trigger="free_run",
        policy="drop_oldest",
        queue=QUEUE,
        bus="tcp://127.0.0.1:*",
        control="tcp://127.0.0.1:*",
        stop_timeout_ms=int(NEVER_MS),
    )


def summarise(cadence: Cadence, times: Times) -> CadenceFigures:
    """The figures of a timetable that was played to its end."""
    steady = slice(WARM_FRAMES, WARM_FRAMES + cadence.frames)
    judged, dropped = times.judged[steady], int(np.count_nonzero(times.dropped[steady]))
    us = dict(zip(Times.FIELDS, times.us[steady].T, strict=True))
    total = np.where(judged, us["total"], math.inf)
    stages = {name: quantiles(us[field][judged].tolist()) for name, field in STAGES.items()}
    work = (us["pre"] + us["infer"] + us["post"])[judged]
    capacity = 1e6 / float(np.median(work)) if work.size else None
    figures = CadenceFigures(
        fps=cadence.fps,
        deadline_ms=cadence.deadline_ms,
        frames=cadence.frames,
        dropped=dropped,
        failed=cadence.frames - int(np.count_nonzero(judged)) - dropped,
        misses=int(np.count_nonzero(total > 1000 * cadence.deadline_ms)),
        sustained_fps=_rate(times.end_us[steady][judged]),
        capacity_fps=capacity,
        headroom=None if capacity is None else capacity / cadence.fps,
        first_after_idle_ms=_after_idle(times),
        stages={"wait": quantiles(us["wait"][judged].tolist()), **stages, "total": quantiles(total.tolist())},
        notes=[],
    )
    return msgspec.structs.replace(figures, notes=_notes(figures))


def _rate(end_us: NDArray[np.int64]) -> float | None:
    """Verdicts per second between the first and the last one."""
    if end_us.size < 2 or end_us[-1] <= end_us[0]:
        return None
    return float((end_us.size - 1) * 1e6 / (end_us[-1] - end_us[0]))


def _after_idle(times: Times) -> list[float]:
    rows = range(len(times.judged) - IDLE_FRAMES, len(times.judged))
    return [int(times.us[row, -1]) / 1000 for row in rows if times.judged[row]]


def _notes(figures: CadenceFigures) -> list[str]:
    """What a reader of the figures must know and cannot see."""
    missing = [(name, needed_samples(share)) for name, share in QUANTILES.items()]
    facts = {
        f"{name.replace('_', '.')} takes {needed} frames, these are {figures.frames}: "
        f"--seconds {math.ceil(needed / figures.fps)}": figures.frames < needed
        for name, needed in missing
    }
    facts["frames were dropped: detection fell behind the camera"] = figures.dropped > 0
    facts[f"{figures.failed} frames could not be judged: the detector failed"] = figures.failed > 0
    return [text for text, holds in facts.items() if holds]
