"""Where a verdict comes from: station, recipe, engine, camera. Fixed from start to stop."""

from __future__ import annotations

from dataclasses import dataclass, field

from .ids import check_id, new_boot_id


@dataclass(frozen=True, slots=True)
class RecipeFacts:
    """The recipe in force."""

    id: str
    version: str
    no: int
    """Number for the PLC, 0..65535."""
    sha256: str
    """Of the recipe file, hex."""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What computed the score."""

    id: str
    """The bundle's name."""
    sha256: str
    """Of the bundle's manifest, which holds the hash of every other file, hex."""
    backend: str
    """`onnxruntime`, `openvino`, ..."""
    device: str
    """`cpu`, or the GPU's name."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """The same for every verdict of one run."""

    line: str
    station: str
    recipe: RecipeFacts
    engine: EngineFacts
    camera_id: str
    simulated: bool
    """True: no real part was seen, and no PLC may pass one on it."""
    loosened: bool = False
    """True: this precision changed labels at the bundle's export, and somebody allowed it."""
    boot_id: str = field(default_factory=new_boot_id)

    def __post_init__(self) -> None:
        for what in ("line", "station", "camera_id"):
            check_id(what, getattr(self, what))
        check_id("recipe id", self.recipe.id)
        check_id("engine id", self.engine.id)
