"""What turns feature maps into map and score: a table from the manifest's head to the class behind it."""

from __future__ import annotations

from ..bundle import Bundle, GrnrHead
from ..head import Head
from .grnr import ReferenceGrnr

HEADS: dict[type, type[ReferenceGrnr]] = {GrnrHead: ReferenceGrnr}
"""Head's parameters -> the NumPy head that runs them."""


def open_head(bundle: Bundle) -> Head:
    """The head of a bundle, in NumPy."""
    part = bundle.manifest.head
    return HEADS[type(part)](part, bundle.arrays(), bundle.manifest.network.outputs)
