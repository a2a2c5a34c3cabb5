"""Metrics: scraped over HTTP from a running pipeline, and the dashboard asks for nothing else."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime.bus.witness import Witness
from runtime.config import parse_yaml
from runtime.errors import BusError, ConfigError
from runtime.pipeline import Pipeline
from runtime.quality import QualityLimits
from runtime.scripted import ScriptedDetector
from runtime.sinks.prometheus import MetricsSink
from runtime.sources import FaultySource, SyntheticConfig, SyntheticSource
from runtime.sources.faulty import Fault
from runtime.station import Station

DASHBOARD = Path(__file__).parents[2] / "configs" / "grafana.json"
WEB = SyntheticConfig(width=64, height=48, rate_hz=None, buffers=16)
Launch = Callable[..., tuple[Pipeline, Witness]]
Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def metrics() -> MetricsSink:
    """Serves on a free port; closed by the pipeline at its end."""
    return MetricsSink(0)


def scrape(port: int) -> Samples:
    """Name and label values, but the camera's, of every sample -> its value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        (
            sample.name,
            tuple(value for key, value in sorted(sample.labels.items()) if key != "camera"),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def scraped(launch: Launch, metrics: MetricsSink) -> Samples:
    """After an OK, an NG, a dark and an incomplete part."""
    source = FaultySource(
        SyntheticSource(WEB), [Fault(frame=2, kind="dark"), Fault(frame=3, kind="incomplete")]
    )
    script = ScriptedDetector([0.5, 2.0])
    pipeline, witness = launch(lambda: source, lambda: script, sinks=[metrics], quality=QualityLimits())
    metrics.watch(pipeline)
    assert pipeline.wait_ready(30)
    for n in range(1, 5):
        assert witness.trigger(n)["ok"]
        assert len(witness.hear_verdicts(n)) == n
    # The fourth verdict is on the wire before the sink has it.
    assert witness.hear(lambda: scrape(metrics.port)[("gonogo_end_to_end_seconds_count", ())] == 4)
    return scrape(metrics.port)


def test_verdicts_are_counted_by_outcome_and_reason(scraped: Samples) -> None:
    # Labels in the order of their names: reason, verdict.
    assert {key[1]: n for key, n in scraped.items() if key[0] == "gonogo_verdict_total"} == {
        ("", "OK"): 1,
        ("SCORE_OVER_THRESHOLD", "NG"): 1,
        ("TOO_DARK", "INVALID"): 1,
        ("INCOMPLETE_FRAME", "INVALID"): 1,
    }


def test_frames_stages_scores_and_pictures_are_measured(scraped: Samples) -> None:
    assert scraped[("gonogo_frame_total", ())] == 3
    assert scraped[("gonogo_pred_score_count", ())] == 2
    stages = {key[1][0] for key in scraped if key[0] == "gonogo_stage_seconds_count"}
    assert stages == {"wait", "grab", "queue", "preprocess", "inference", "postprocess", "publish"}
    assert scraped[("gonogo_image_quality", ("dark_frac",))] == 1.0


def test_what_no_verdict_says_is_told_too(scraped: Samples) -> None:
    assert scraped[("gonogo_state", ())] in (6, 7)
    assert scraped[("gonogo_selftest_ok", ())] == 1
    assert scraped[("gonogo_health", ("SIMULATED",))] == 1
    assert scraped[("gonogo_health", ("CAMERA_LOST",))] == 0
    assert 0 <= scraped[("gonogo_camera_last_frame_age_seconds", ())] < 600
    assert scraped[("gonogo_queue_depth", ())] == 0


def test_the_dashboard_asks_for_metrics_that_there_are(scraped: Samples) -> None:
    text = DASHBOARD.read_text("utf-8")
    names = {name for panel in json.loads(text)["panels"] for name in _names(panel)}
    known = {key[0] for key in scraped}
    # Counters that have counted nothing yet have no sample.
    assert names - known <= {"gonogo_deadline_missed_total", "gonogo_dropped_total"}
    assert len(names) > 10


def _names(panel: dict[str, object]) -> list[str]:
    return re.findall(r"gonogo_\w+", json.dumps(panel["targets"]))


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BusError, match=f"metrics_port: 127.0.0.1:{port}: address already in use; give"):
            MetricsSink(port)


def test_it_is_served_on_loopback_alone(metrics: MetricsSink) -> None:
    assert metrics._server.server_address[0] == "127.0.0.1"
    metrics.close()
    with pytest.raises(OSError, match=r"refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=10)


def test_a_port_that_is_none_is_refused_with_its_line() -> None:
    text = "line: l\nstation: s\nrecipe: r\nsource: {kind: synthetic}\nmetrics_port: 70000\n"
    with pytest.raises(ConfigError, match=r"s\.yaml:\d+: metrics_port is 70000; expected 0\.\.65535"):
        parse_yaml(text, Station, "s.yaml")
