"""What a recipe comes down to: the terms of its verdicts, and what opens and proves its detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .detector import Detector
from .errors import InspectionError
from .terms import Terms


@dataclass(frozen=True, slots=True)
class Product:
    """Read and checked; nothing is open yet."""

    terms: Terms
    open_detector: Callable[[], Detector]
    warm_up: Callable[[Detector], None] | None = None
    """Gets the open detector before its first part; raises to refuse it."""


class Wanted(NamedTuple):
    """A recipe as it is asked for by name."""

    id: str
    version: str | None = None
    """None: whichever there is."""
    sha256: str | None = None
    """Of the recipe file, hex; None: whatever it holds."""


class NoSuchRecipe(InspectionError):
    """There is no recipe of that name."""


class WrongRecipe(InspectionError):
    """There is one of that name, and it is another than was asked for."""


class Recipes(Protocol):
    """The recipes that a running station may change to."""

    def find(self, wanted: Wanted) -> Callable[[], Product]:
        """What loads the recipe; finding it takes no longer than hashing one small file.

        Raises:
            NoSuchRecipe, WrongRecipe: see there.
        """


class NoRecipes:
    """A station that keeps the recipe it was started with."""

    def find(self, wanted: Wanted) -> Callable[[], Product]:
        """As in `Recipes`."""
        raise NoSuchRecipe(f"recipe {wanted.id}: this station knows no other than its own")
