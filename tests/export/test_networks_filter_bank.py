"""The filter bank's graph against its formulas written out in NumPy."""

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from export.networks import BACKBONES, build_network

F64 = NDArray[np.float64]
MARGIN = 24
"""More than the graph pads with; the features must be the same, as none sees further than 14 px."""


def run(image: NDArray[np.float32], pad: int = 0) -> NDArray[np.float32]:
    model = build_network("filter_bank", (image.shape[2], image.shape[3]), ("bank",), None, pad)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": image})[0])


def texture(height: int, width: int) -> NDArray[np.float32]:
    y, x = np.mgrid[:height, :width]
    weave = 0.5 + 0.2 * np.sin(2 * np.pi * x / 5) * np.sin(2 * np.pi * y / 7)
    noise = np.random.default_rng(1).normal(0, 0.05, (3, height, width))
    return np.asarray(np.clip(weave + noise, 0, 1), np.float32)[None]


def filtered(grey: F64, kernel: F64) -> F64:
    """Correlation with a 5 x 5 kernel, nothing assumed beyond the border: 2 px fewer on each side."""
    windows = np.lib.stride_tricks.sliding_window_view(grey, (5, 5))
    return np.asarray(np.einsum("hwij,ij->hw", windows, kernel))


def gabor(angle: float, phase: float) -> F64:
    kernel = np.empty((5, 5))
    gauss = np.empty((5, 5))
    for y in range(5):
        for x in range(5):
            u = (x - 2) * np.cos(angle) + (y - 2) * np.sin(angle)
            gauss[y, x] = np.exp(-((x - 2) ** 2 + (y - 2) ** 2) / 2 / 1.2**2)
            kernel[y, x] = gauss[y, x] * np.cos(2 * np.pi * u / 3 - phase)
    kernel -= gauss * kernel.sum() / gauss.sum()
    return np.asarray(kernel / np.sqrt((kernel**2).sum()))


def cells(x: F64, first: int, step: int, grid: tuple[int, int]) -> tuple[F64, F64]:
    """Mean and standard deviation over the samples of each cell, from row and column `first` on."""
    h, w = grid
    kept = x[first : first + h * step, first : first + w * step].reshape(h, step, w, step)
    return kept.mean((1, 3)), kept.std((1, 3))


def twin(image: NDArray[np.float32]) -> F64:
    grid = (image.shape[2] // 8, image.shape[3] // 8)
    level = np.pad(image[0].mean(0, dtype=np.float64), MARGIN, mode="reflect")
    features = [*cells(level, MARGIN, 8, grid)]
    binomial = np.array([1, 4, 6, 4, 1]) / 16
    for number, stride in enumerate((2, 1, 1)):
        if number:
            level = filtered(np.pad(level, 2), np.outer(binomial, binomial))[::2, ::2]
        scale = 2**number * stride
        means, deviations = [], []
        for angle in np.pi * np.arange(4) / 4:
            even, odd = (filtered(np.pad(level, 2), gabor(angle, phase)) for phase in (0, np.pi / 2))
            magnitude = np.sqrt(even**2 + odd**2)[::stride, ::stride]
            mean, deviation = cells(magnitude, MARGIN // scale, 8 // scale, grid)
            means.append(mean)
            deviations.append(deviation)
        features += means + deviations
    bank = np.stack(features, axis=-1)
    rms = np.sqrt((bank**2).mean((0, 1)))
    return np.asarray(bank / (rms + 0.1 * rms.mean() + 1e-6))


def test_the_graph_computes_its_formulas() -> None:
    image = texture(64, 96)
    bank = run(image)
    assert bank.shape == (1, 8, 12, 26)
    # float32 sums; the standard deviation of grey is a difference of two means near 0.25: 2^-24 of that
    # under a root of 0.01 gives 1e-5 of a channel near 1.
    np.testing.assert_allclose(bank[0], twin(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pad", [8, 32])
def test_the_pad_is_the_reach_of_the_filters_whatever_is_asked_for(pad: int) -> None:
    image = texture(48, 48)
    np.testing.assert_array_equal(run(image, pad), run(image))


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_uniform_image_gives_finite_features_all_alike(level: float) -> None:
    bank = run(np.full((1, 3, 32, 32), level, np.float32))
    assert np.isfinite(bank).all()
    # The cells see the same pixels; what rounding leaves in them is the same, too.
    assert np.abs(bank - bank.mean((1, 2), keepdims=True)).max() < 1e-5


def test_brightness_and_contrast_of_the_whole_image_cancel() -> None:
    image = texture(64, 64)
    np.testing.assert_allclose(run(image * np.float32(0.5)), run(image), rtol=1e-3, atol=1e-3)


def test_the_image_goes_in_as_it_is() -> None:
    assert (BACKBONES["filter_bank"].mean, BACKBONES["filter_bank"].std) == ((0, 0, 0), (1, 1, 1))
