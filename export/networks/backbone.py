"""What one feature network is: its taps, its weights, and how its graph is laid."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from .graph import Graph
from .weights import Layout, Weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Layers = Callable[[Graph, str, Weights], Iterator[tuple[str, str]]]


@dataclass(frozen=True)
class Tap:
    """A feature map that can be put out."""

    stride: int
    """Image pixels per cell, on both axes."""
    channels: int


@dataclass(frozen=True)
class Backbone:
    """One line of the table BACKBONES."""

    taps: Mapping[str, Tap]
    """From the name of an output to its grid, first tap first."""
    layers: Layers
    """Lays the graph from an image (1, 3, H, W); yields (tap, tensor NCHW) in the order of `taps`. What
    comes after the last tap that is asked for is never laid."""
    layout: Layout | None = None
    """The weights it needs; None: it has none."""
    finish: Callable[[Graph, str], str] | None = None
    """Applied to a tap (NCHW) when the pad has been cut off, so that its statistics leave the pad out."""
    reach: int | None = None
    """Where a cell depends on few pixels around it, their number: the pad is then exactly this, whatever
    was asked for, as less would show the border and more would change nothing."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """What preprocess subtracts from RGB in 0..1."""
    std: tuple[float, float, float] = IMAGENET_STD
    """What preprocess divides by after that."""
