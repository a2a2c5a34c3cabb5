"""What turns feature maps into map and score: a table from the manifest's head to the class behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..bundle import Bundle, GrnrHead, KnnHead
from ..head import Head
from .grnr import ReferenceGrnr
from .knn import ReferenceKnn

HEADS: dict[type, Callable[[Any, Any, Any], Head]] = {GrnrHead: ReferenceGrnr, KnnHead: ReferenceKnn}
"""Head's parameters -> the NumPy head that runs them."""


def open_head(bundle: Bundle) -> Head:
    """The head of a bundle, in NumPy."""
    part = bundle.manifest.head
    return HEADS[type(part)](part, bundle.arrays(), bundle.manifest.network.outputs)
