"""A sink that counts: Prometheus metrics of a station, over HTTP on loopback."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, start_http_server

from ..errors import BusError
from ..health import FLAGS
from ..sink import View
from ..state import State
from ..verdict import Verdict

HOST = "127.0.0.1"
"""Metrics tell what a line makes and how fast: whoever wants them elsewhere puts a proxy in front."""
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
STAGES = {
    "wait": "wait",
    "acquire": "grab",
    "queue": "queue",
    "pre": "preprocess",
    "infer": "inference",
    "post": "postprocess",
    "publish": "publish",
}
"""Field of a verdict's `lat_us` -> label `stage`."""
RATE_FRAMES = 50
"""Frames that the rate is measured on."""
CLOSE_TIMEOUT_S = 5.0


class Watched(Protocol):
    """What the gauges ask of the pipeline; answered at once, from any thread."""

    @property
    def state(self) -> State: ...
    @property
    def queue_depth(self) -> int: ...
    @property
    def flags(self) -> tuple[str, ...]: ...
    @property
    def frame_age_s(self) -> float: ...
    @property
    def records_waiting(self) -> int: ...
    @property
    def records_lost(self) -> int: ...


class MetricsSink:
    """Counts in the publish thread, a few microseconds a verdict; a thread of its own answers scrapes."""

    wants_maps = False

    def __init__(self, port: int) -> None:
        """Serves http://127.0.0.1:`port`/metrics; 0 is any free port.

        Raises:
            BusError: the port is in use, or not ours.
        """
        self._registry = CollectorRegistry()
        self._times_us: deque[int] = deque(maxlen=RATE_FRAMES)
        self._make_counters()
        try:
            self._server, self._thread = start_http_server(port, HOST, self._registry)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise BusError(f"metrics_port: {HOST}:{port}: {why}; give another port") from None
        self.port = self._server.server_port
        """As bound."""

    def watch(self, pipeline: Watched) -> None:
        """Adds what no verdict says: state, queue, health, how old the last frame is."""
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "state": ("State by its OPC 40100-1 number.", lambda: pipeline.state),
            "selftest_ok": (
                "1 while the golden images are judged as exported and parts are accepted.",
                lambda: pipeline.state in (State.READY, State.SINGLE_EXECUTION, State.CONTINUOUS_EXECUTION),
            ),
            "queue_depth": ("Frames that wait for detection.", lambda: pipeline.queue_depth),
            "camera_last_frame_age_seconds": (
                "Since the last frame; NaN before it.",
                lambda: pipeline.frame_age_s,
            ),
            "store_lag_rows": ("Records that are not on the disk yet.", lambda: pipeline.records_waiting),
            "store_lost_rows": ("Records lost since the start.", lambda: pipeline.records_lost),
        }
        for name, (text, read) in gauges.items():
            self._gauge(name, text).set_function(read)
        health = self._gauge("health", "1 while this flag is raised.", ["flag"])
        for flag in FLAGS:
            health.labels(flag).set_function(lambda flag=flag: flag in pipeline.flags)  # type: ignore[misc]

    def send(self, verdict: Verdict, view: View) -> None:
        """As in `Sink`."""
        source, outcome = verdict.provenance, verdict.outcome.name
        camera = source.camera_id
        self._engine.info(
            {**asdict(source.engine), "recipe": source.recipe.id, "version": source.recipe.version}
        )
        self._verdicts.labels(camera, outcome, verdict.reasons[0] if verdict.reasons else "").inc()
        spans = asdict(verdict.lat_us)
        self._total.labels(camera).observe(spans.pop("total") / 1e6)
        if verdict.late:
            slowest = max(spans, key=lambda name: int(spans[name]))
            self._missed.labels(camera, STAGES[slowest] if spans[slowest] else "unanswered").inc()
        if "QUEUE_FULL" in verdict.reasons:
            self._dropped.labels(camera, "QUEUE_FULL").inc()
        if verdict.judgement.pred_score is not None:
            self._scores.labels(camera).observe(verdict.judgement.pred_score)
        if verdict.frame is not None:
            self._count_frame(verdict, camera, spans)

    def close(self) -> None:
        """As in `Sink`."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _make_counters(self) -> None:
        self._frames = self._counter("frame", "Frames that came to a verdict.", ["camera"])
        self._gaps = self._counter("frame_gap", "Frames that were lost before one that came.", ["camera"])
        self._dropped = self._counter(
            "dropped", "Parts that detection had no time for.", ["camera", "reason"]
        )
        self._verdicts = self._counter(
            "verdict", "Verdicts; reason: the first.", ["camera", "verdict", "reason"]
        )
        self._missed = self._counter(
            "deadline_missed", "Verdicts after their deadline; stage: the slowest.", ["camera", "stage"]
        )
        self._stages = self._histogram("stage_seconds", "Time in a stage.", ["camera", "stage"])
        self._total = self._histogram("end_to_end_seconds", "Trigger to verdict.", ["camera"])
        self._scores = Histogram(
            "gonogo_pred_score",
            "Normalised score; 0.5 is the threshold.",
            ["camera"],
            buckets=[n / 20 for n in range(1, 21)],
            registry=self._registry,
        )
        self._quality = self._gauge("image_quality", "Of the last frame.", ["camera", "metric"])
        self._fps = self._gauge("camera_fps", f"Over the last {RATE_FRAMES} frames.", ["camera"])
        self._engine = Info("gonogo_engine", "What judges.", registry=self._registry)

    def _count_frame(self, verdict: Verdict, camera: str, spans: dict[str, int]) -> None:
        frame = verdict.frame
        assert frame is not None
        self._frames.labels(camera).inc()
        self._gaps.labels(camera).inc(frame.gap)
        for name, stage in STAGES.items():
            self._stages.labels(camera, stage).observe(spans[name] / 1e6)
        self._times_us.append(frame.t_mono_us)
        took_us = self._times_us[-1] - self._times_us[0]
        self._fps.labels(camera).set((len(self._times_us) - 1) * 1e6 / took_us if took_us > 0 else 0.0)
        if frame.quality is not None:
            for metric, value in asdict(frame.quality).items():
                self._quality.labels(camera, metric).set(value)

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"gonogo_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, labels: list[str]) -> Histogram:
        return Histogram(f"gonogo_{name}", text, labels, buckets=SECONDS, registry=self._registry)

    def _gauge(self, name: str, text: str, labels: list[str] | None = None) -> Gauge:
        return Gauge(f"gonogo_{name}", text, labels or [], registry=self._registry)
