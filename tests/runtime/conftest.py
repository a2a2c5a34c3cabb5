"""A running pipeline for the tests: real threads and sockets, and a witness that checks every message."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from runtime.bus.witness import Witness
from runtime.detector import Detector
from runtime.pipeline import Pipeline
from runtime.product import Recipes
from runtime.scripted import scripted_terms
from runtime.settings import Settings
from runtime.sink import Sink
from runtime.source import Source
from runtime.store.recorder import Recorder

T = TypeVar("T")
Launch = Callable[..., tuple[Pipeline, Witness]]


@pytest.fixture
def settings() -> Settings:
    """A station on free loopback ports; threshold 1.0, and a deadline that no loaded machine misses."""
    terms = scripted_terms()
    return Settings(
        provenance=terms.provenance,
        thresholds=terms.thresholds,
        deadline_ms=20_000,
        bus="tcp://127.0.0.1:*",
        control="tcp://127.0.0.1:*",
    )


@pytest.fixture
def launch(settings: Settings) -> Iterator[Launch]:
    """Starts pipelines, each with a witness that hears it from its first message on.

    At the end of the test every witness must have found everything in order.
    """
    running: list[tuple[Pipeline, Witness]] = []

    def start(
        open_source: Callable[[], Source],
        open_detector: Callable[[], Detector],
        sinks: Sequence[Sink] = (),
        recipes: Recipes | None = None,
        recorder: Recorder | None = None,
        **changes: object,
    ) -> tuple[Pipeline, Witness]:
        heard = threading.Event()
        changed = replace(settings, **changes)  # type: ignore[arg-type]
        # Nothing opens, and nothing can fail, before the witness listens.
        open_both = _after(heard, open_source), _after(heard, open_detector)
        pipeline = Pipeline(changed, *open_both, None, sinks, recipes, recorder)
        pipeline.start()
        witness = Witness(*pipeline.endpoints)
        running.append((pipeline, witness))
        assert witness.wait_subscribed()
        heard.set()
        return pipeline, witness

    yield start
    for pipeline, witness in running:
        pipeline.stop()
        witness.close()
    for pipeline, witness in running:
        assert _ended(pipeline)
        assert witness.faults == []


def _after(event: threading.Event, open_thing: Callable[[], T]) -> Callable[[], T]:
    def open_later() -> T:
        assert event.wait(30)
        return open_thing()

    return open_later


def _ended(pipeline: Pipeline) -> bool:
    """Waits for the end; how a run ends is for the test to judge."""
    try:
        return pipeline.join(30)
    except Exception:
        return True


@pytest.fixture
def station_file(exported: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a station over the folder `images`, on free ports; its recipe finds good webs OK."""
    (tmp_path / "images").mkdir()

    def write(source: str = "{kind: folder, path: images}", **changes: object) -> Path:
        (tmp_path / "recipe.yaml").write_text(f"bundle: {exported}\nthreshold: 1e6\ndeadline_ms: 20000\n")
        values: dict[str, object] = {
            "line": "line",
            "station": "station",
            "recipe": "recipe.yaml",
            "bus": "tcp://127.0.0.1:*",
            "control": "tcp://127.0.0.1:*",
            **changes,
        }
        text = "".join(f"{name}: {value!r}\n" for name, value in values.items())
        (tmp_path / "station.yaml").write_text(f"{text}source: {source}\n")
        return tmp_path / "station.yaml"

    return write
