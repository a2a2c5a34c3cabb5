"""From a station file to a pipeline: the one place where station, recipe, bundle and openers meet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .bundle import Bundle, load_bundle
from .detector import Detector
from .errors import ConfigError
from .opening import open_detector
from .pipeline import Pipeline
from .provenance import EngineFacts, Provenance, RecipeFacts
from .recipe import Recipe, load_recipe
from .selftest import require_golden
from .settings import Settings
from .sink import Sink
from .source import Source
from .sources import open_source
from .station import Station, load_station

WARM_RUNS = 3
"""The first runs of a network allocate and are slow; they happen before the first part."""


def assemble(path: Path, sinks: Sequence[Sink] = ()) -> Pipeline:
    """The pipeline of a station file, its bundle verified; nothing is opened yet.

    Raises:
        ConfigError: station or recipe do not say what they must.
        BundleError: the bundle is damaged.
    """
    return assemble_station(load_station(path), path.resolve().parent, sinks)


def assemble_station(station: Station, base: Path, sinks: Sequence[Sink] = ()) -> Pipeline:
    """As `assemble`, of a station already read; paths of its source start from `base`."""
    recipe = load_recipe(Path(station.recipe))
    bundle = load_bundle(Path(recipe.bundle))

    def warm_up(detector: Detector) -> None:
        require_golden(bundle, station.backend, station.threads, station.head)
        run_blank(detector, recipe, bundle)

    return Pipeline(
        settings_of(station, recipe, bundle),
        lambda: open_fitting(station, base, recipe),
        lambda: open_detector(bundle, recipe, station.backend, station.threads, station.stalls, station.head),
        warm_up,
        sinks,
    )


def open_fitting(station: Station, base: Path, recipe: Recipe) -> Source:
    """The station's source, its frames large enough for the recipe's region.

    Raises:
        ConfigError: they are not.
        SourceError: as `open_source`.
    """
    source = open_source(station.source, base)
    region, (height, width) = recipe.region, source.shape[:2]
    if region is not None and (region.x + region.width > width or region.y + region.height > height):
        source.close()
        end = f"{region.x + region.width}, {region.y + region.height}"
        raise ConfigError(
            f"{station.recipe}: region ends at x, y = {end}; expected it inside the source's frames of "
            f"{width} x {height} pixels"
        )
    return source


def settings_of(station: Station, recipe: Recipe, bundle: Bundle) -> Settings:
    """The plain values that the threads get."""
    digest = hashlib.sha256(Path(station.recipe).read_bytes()).hexdigest()
    provenance = Provenance(
        line=station.line,
        station=station.station,
        recipe=RecipeFacts(recipe.id, recipe.version, recipe.number, digest),
        engine=EngineFacts(bundle.manifest.id, bundle.sha256, station.backend, "cpu"),
        camera_id=station.camera,
        simulated=station.simulated,
    )
    return Settings(
        provenance=provenance,
        thresholds=recipe.thresholds,
        deadline_ms=recipe.deadline_ms,
        trigger=station.trigger,
        policy=station.policy,
        queue=station.queue,
        bus=station.bus,
        control=station.control,
        frame_timeout_ms=station.frame_timeout_ms,
        quality=recipe.quality,
        box=recipe.box,
    )


def run_blank(detector: Detector, recipe: Recipe, bundle: Bundle) -> None:
    """Judges a few empty images, large enough for the recipe's region."""
    region, (height, width) = recipe.region, bundle.manifest.preprocessing.size
    shape = (height, width) if region is None else (region.y + region.height, region.x + region.width)
    for _ in range(WARM_RUNS):
        detector.predict(np.zeros(shape, np.uint8))
