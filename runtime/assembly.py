"""From a station file to a pipeline: the one place where station, recipe, bundle and openers meet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from .bundle import Bundle, load_bundle
from .detector import Detector
from .errors import ConfigError
from .ids import new_boot_id
from .networks import precision_of
from .opening import open_detector
from .pipeline import Pipeline
from .product import NoSuchRecipe, Product, Wanted, WrongRecipe
from .provenance import EngineFacts, Provenance, RecipeFacts
from .recipe import Recipe, load_recipe
from .selftest import require_golden
from .settings import Settings
from .sink import Sink
from .sinks.media import MediaSink
from .source import Source
from .sources import open_source
from .station import Station, load_station
from .store.recorder import Recorder
from .terms import Terms

MAX_RECIPE_BYTES = 1 << 20
WARM_RUNS = 3
"""The first runs of a network allocate and are slow; they happen before the first part."""


def assemble(path: Path, sinks: Sequence[Sink] = ()) -> Pipeline:
    """The pipeline of a station file, its bundle verified; nothing but its media socket is open yet.

    Raises:
        ConfigError: station or recipe do not say what they must.
        BundleError: the bundle is damaged.
    """
    return assemble_station(load_station(path), path.resolve().parent, sinks)


def assemble_station(station: Station, base: Path, sinks: Sequence[Sink] = ()) -> Pipeline:
    """As `assemble`, of a station already read; paths of its source start from `base`."""
    path = Path(station.recipe)
    recipe = load_recipe(path)
    bundle = load_bundle(Path(recipe.bundle))
    settings = settings_of(station, recipe, bundle)
    camera = Camera(station, base, recipe)
    first = _product(station, recipe, bundle, settings.terms)
    recipes = FolderRecipes(station, settings, camera, recipe.id)
    if station.media is not None:
        sinks = (*sinks, MediaSink(station.media))
    recorder = None if station.store is None else Recorder(station.store, base)
    metrics = None
    if station.metrics_port is not None:
        from .sinks.prometheus import MetricsSink

        metrics = MetricsSink(station.metrics_port)
        sinks = (*sinks, metrics)
    openers = camera.open, first.open_detector, first.warm_up
    pipeline = Pipeline(settings, *openers, sinks, recipes, recorder)
    if metrics is not None:
        metrics.watch(pipeline)
    return pipeline


class Camera:
    """Opens the station's source, and remembers how large its frames are."""

    def __init__(self, station: Station, base: Path, recipe: Recipe) -> None:
        self._station, self._base, self._recipe = station, base, recipe
        self._shape: tuple[int, ...] | None = None

    def open(self) -> Source:
        """The source, its frames large enough for the recipe's region.

        Raises:
            ConfigError: they are not.
            SourceError: as `open_source`.
        """
        source = open_source(self._station.source, self._base)
        self._shape = source.shape
        try:
            self.require_fit(self._recipe, self._station.recipe)
        except ConfigError:
            source.close()
            raise
        return source

    def require_fit(self, recipe: Recipe, where: str) -> None:
        """Raises ConfigError unless the recipe's region lies within the frames, as far as they are known."""
        region = recipe.region
        if region is None or self._shape is None:
            return
        height, width = self._shape[:2]
        if region.x + region.width > width or region.y + region.height > height:
            end = f"{region.x + region.width}, {region.y + region.height}"
            raise ConfigError(
                f"{where}: region ends at x, y = {end}; expected it inside the source's frames of "
                f"{width} x {height} pixels"
            )


class FolderRecipes:
    """The recipes beside the one that a station begins with: recipe NAME is the file NAME.yaml there."""

    def __init__(self, station: Station, settings: Settings, camera: Camera, own_id: str) -> None:
        """`own_id`: of the station's first recipe, which may lie in a file of any name."""
        self._station, self._settings, self._camera, self._own_id = station, settings, camera, own_id

    def find(self, wanted: Wanted) -> Callable[[], Product]:
        """As in `Recipes`; what lies behind a link is not taken."""
        own = Path(self._station.recipe)
        # A name has neither slash nor backslash: it cannot lead out of the folder.
        path = own if wanted.id == self._own_id else own.parent / f"{wanted.id}.yaml"
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_RECIPE_BYTES:
                raise NoSuchRecipe(f"recipe {wanted.id}: expected a file {path}")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise NoSuchRecipe(f"recipe {wanted.id}: {path}: {error.strerror}") from None
        if wanted.sha256 not in (None, digest):
            raise WrongRecipe(f"recipe {wanted.id}: {path} has SHA-256 {digest}, expected {wanted.sha256}")
        return lambda: self._load(path, wanted, digest)

    def _load(self, path: Path, wanted: Wanted, digest: str) -> Product:
        recipe = load_recipe(path)
        if recipe.id != wanted.id or wanted.version not in (None, recipe.version):
            asked = " ".join(filter(None, (wanted.id, wanted.version)))
            raise ConfigError(f"{path}: holds recipe {recipe.id} {recipe.version}; expected {asked}")
        self._camera.require_fit(recipe, str(path))
        bundle = load_bundle(Path(recipe.bundle))
        station = msgspec.structs.replace(self._station, recipe=str(path))
        settings = settings_of(station, recipe, bundle, self._settings.provenance.boot_id)
        if settings.provenance.recipe.sha256 != digest:
            raise ConfigError(f"{path}: was changed while it was read; ask again")
        return _product(station, recipe, bundle, settings.terms)


def _product(station: Station, recipe: Recipe, bundle: Bundle, terms: Terms) -> Product:
    def warm_up(detector: Detector) -> None:
        require_golden(bundle, station.backend, station.threads, station.head)
        run_blank(detector, recipe, bundle)

    return Product(
        terms,
        lambda: open_detector(bundle, recipe, station.backend, station.threads, station.stalls, station.head),
        warm_up,
    )


def settings_of(station: Station, recipe: Recipe, bundle: Bundle, boot_id: str | None = None) -> Settings:
    """The plain values that the threads get; `boot_id` None: a new one."""
    digest = hashlib.sha256(Path(station.recipe).read_bytes()).hexdigest()
    provenance = Provenance(
        line=station.line,
        station=station.station,
        recipe=RecipeFacts(recipe.id, recipe.version, recipe.number, digest),
        engine=EngineFacts(bundle.manifest.id, bundle.sha256, station.backend, "cpu"),
        camera_id=station.camera,
        simulated=station.simulated,
        loosened=is_loosened(station.backend, bundle),
        boot_id=boot_id or new_boot_id(),
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


def is_loosened(backend: str, bundle: Bundle) -> bool:
    """Whether the bundle's export allowed labels to change in the precision that this backend takes."""
    part = bundle.manifest.precisions.get(precision_of(backend, bundle))
    return part is not None and part.flips_allowed > 0


def run_blank(detector: Detector, recipe: Recipe, bundle: Bundle) -> None:
    """Judges a few empty images, large enough for the recipe's region."""
    region, (height, width) = recipe.region, bundle.manifest.preprocessing.size
    shape = (height, width) if region is None else (region.y + region.height, region.x + region.width)
    for _ in range(WARM_RUNS):
        detector.predict(np.zeros(shape, np.uint8))
