"""The weight-free backbone: local energy of quadrature filters on an octave pyramid, as a graph.

Grey = mean of RGB. Three levels, each the one before under a 5-tap binomial blur at every second pixel.
On each level the magnitude of 4 quadrature pairs; of the magnitudes, and of grey itself, the mean and
the standard deviation over each block of 8 x 8 image pixels: 26 channels at stride 8. Each channel is
then divided by its rms over the image plus a tenth of the mean rms of all channels.

Family: texture energy from Gabor quadrature pairs (Bovik, Clark, Geisler, Multichannel Texture Analysis
Using Localized Spatial Filters, PAMI 1990; Granlund and Knutsson, Signal Processing for Computer Vision,
1995) on the pyramid of Burt and Adelson (1983). Sizes, pooling and division are our own, chosen by
measurement on inspection images; they stand in none of these.
"""

from collections.abc import Iterator

import numpy as np

from .backbone import Backbone, Tap
from .graph import F32, Graph
from .weights import Weights

ANGLES = 4
BLOCK = 8
"""Image pixels per cell, on both axes."""
STRIDES = (2, 1, 1)
"""Where the filters stand on each level. The magnitude varies slowly against the filter's 3 px, so that
every second pixel of level 0 is enough: same accuracy to .001, a third of the time."""
CHANNELS = 2 * (ANGLES * len(STRIDES) + 1)
REACH = 16
"""Coarsest filter 2 cells of 4 px, under it blurs of 2 x 2 px and 2 px: no cell sees further than 14 px."""
DARKEST = 1e-6
"""Added to each divisor, in grey levels of 0..1: a black image gives zeros, not 0 / 0."""


def quadrature_filters(size: int = 5, wavelength: float = 3.0, sigma: float = 1.2) -> F32:
    """Even, then odd filters at 0, 45, 90 and 135 degrees: (2 ANGLES, 1, size, size), zero mean, unit norm.

    cos and sin of 2 pi u / wavelength (px, along the angle) under a Gaussian of `sigma` px.
    """
    half = size // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float64)
    window = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    angles = [np.pi * n / ANGLES for n in range(ANGLES)]
    phases = [2 * np.pi * (x * np.cos(a) + y * np.sin(a)) / wavelength for a in angles]
    filters = np.stack([window * wave(phase) for wave in (np.cos, np.sin) for phase in phases])
    # The mean goes with the Gaussian, so that a constant image gives exactly zero.
    filters -= filters.sum((1, 2), keepdims=True) * window / window.sum()
    filters /= np.linalg.norm(filters, axis=(1, 2), keepdims=True)
    return filters[:, None].astype(np.float32)


def _constants() -> Weights:
    blur = np.array([1, 4, 6, 4, 1], np.float32) / 16
    return {
        "quadrature.weight": quadrature_filters(),
        "blur.weight": np.outer(blur, blur).astype(np.float32)[None, None],
    }


def _layers(graph: Graph, image: str, weights: Weights) -> Iterator[tuple[str, str]]:
    constants = _constants()
    grey = graph.node("ReduceMean", image, graph.ints(1), keepdims=1)
    features = [*_mean_std(graph, grey, graph.mul(grey, grey), BLOCK)]
    for level, stride in enumerate(STRIDES):
        if level:
            grey = graph.conv(grey, constants, "blur", stride=2, pad=2)
        response = graph.conv(grey, constants, "quadrature", stride, pad=2)
        energy = _pair_sum(graph, graph.mul(response, response))
        features += _mean_std(graph, graph.sqrt(energy), energy, BLOCK // 2**level // stride)
    yield "bank", graph.concat(*features)


def _pair_sum(graph: Graph, squares: str) -> str:
    even = graph.node("Slice", squares, graph.ints(0), graph.ints(ANGLES), graph.ints(1))
    odd = graph.node("Slice", squares, graph.ints(ANGLES), graph.ints(2 * ANGLES), graph.ints(1))
    return graph.add(even, odd)


def _mean_std(graph: Graph, x: str, square: str, block: int) -> tuple[str, str]:
    mean = graph.average_pool(x, block)
    variance = graph.sub(graph.average_pool(square, block), graph.mul(mean, mean))
    # Rounding can push a true zero slightly negative.
    return mean, graph.sqrt(graph.relu(variance))


def _equalise(graph: Graph, bank: str) -> str:
    """Each channel divided by (its rms over the image + a tenth of the mean rms of all channels).

    A pixel's unit and the brightness of the lamp cancel; a channel that is silent stays near zero.
    """
    mean_square = graph.node("ReduceMean", graph.mul(bank, bank), graph.ints(2, 3), keepdims=1)
    rms = graph.sqrt(mean_square)
    floor = graph.mul(graph.node("ReduceMean", rms, graph.ints(1), keepdims=1), graph.scalar(0.1))
    return graph.div(bank, graph.add(rms, graph.add(floor, graph.scalar(DARKEST))))


FILTER_BANK = Backbone(
    taps={"bank": Tap(BLOCK, CHANNELS)},
    layers=_layers,
    finish=_equalise,
    reach=REACH,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)
