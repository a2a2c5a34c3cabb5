"""Preprocessing against a triangle filter written out pixel by pixel in float64."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import preprocess

U8 = npt.NDArray[np.uint8]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def triangle(line: list[float], n_out: int) -> list[float]:
    scale = len(line) / n_out
    support = max(1.0, scale)
    result = []
    for i in range(n_out):
        centre = (i + 0.5) * scale
        total = weights = 0.0
        for j, value in enumerate(line):
            weight = max(0.0, 1.0 - abs(j + 0.5 - centre) / support)
            total, weights = total + weight * value, weights + weight
        result.append(total / weights)
    return result


def by_hand(image: U8, size: tuple[int, int], region: tuple[int, int, int, int] | None) -> Any:
    if region is not None:
        x, y, width, height = region
        image = image[y : y + height, x : x + width]
    colour = np.stack([image] * 3, axis=2) if image.ndim == 2 else image
    planes = []
    for channel, bgr in enumerate((2, 1, 0)):
        plane = colour[:, :, bgr].astype(np.float64)
        shrunk = np.array([triangle(column, size[0]) for column in plane.T.tolist()]).T
        resized = np.array([triangle(row, size[1]) for row in shrunk.tolist()])
        planes.append((resized / 255 - MEAN[channel]) / STD[channel])
    return np.stack(planes)


def random_image(seed: int, *shape: int) -> U8:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


lengths = st.integers(1, 14)


@settings(deadline=None, max_examples=60)
@given(
    source=st.tuples(lengths, lengths),
    size=st.tuples(lengths, lengths),
    colour=st.booleans(),
    seed=st.integers(0, 999),
    data=st.data(),
)
def test_it_is_the_triangle_filter_of_the_region(
    source: tuple[int, int], size: tuple[int, int], colour: bool, seed: int, data: st.DataObject
) -> None:
    image = random_image(seed, *source, 3) if colour else random_image(seed, *source)
    x, y = data.draw(st.integers(0, source[1] - 1)), data.draw(st.integers(0, source[0] - 1))
    width = data.draw(st.integers(1, source[1] - x))
    height = data.draw(st.integers(1, source[0] - y))
    region = data.draw(st.sampled_from([None, (x, y, width, height)]))
    found = preprocess(image, size, MEAN, STD, region)
    assert found.dtype == np.float32
    # Two float32 sums of at most 28 terms below 1 each, then divided by 0.22: 28 * 2^-24 * 2 / 0.22.
    np.testing.assert_allclose(found, by_hand(image, size, region), atol=2e-5)


@pytest.mark.parametrize("shape", [(101, 77), (77, 101, 3)])
@pytest.mark.parametrize("size", [(40, 33), (33, 120), (205, 16)])
def test_sizes_beyond_one_block_agree_with_the_filter(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    image = random_image(1, *shape)
    # As above, with at most 26 terms.
    np.testing.assert_allclose(preprocess(image, size, MEAN, STD), by_hand(image, size, None), atol=2e-5)


def test_grey_is_colour_with_three_equal_channels() -> None:
    grey = random_image(2, 60, 50)
    colour = np.ascontiguousarray(np.stack([grey] * 3, axis=2))
    # The same weights in another order of operations.
    np.testing.assert_allclose(
        preprocess(grey, (32, 20), MEAN, STD), preprocess(colour, (32, 20), MEAN, STD), atol=1e-5
    )


def test_channels_come_out_red_green_blue() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, :, 2] = 255
    found = preprocess(image, (2, 2), (0, 0, 0), (1, 1, 1))
    assert found[0].min() == pytest.approx(1)
    assert not found[1:].any()


def test_an_image_of_the_right_size_is_only_normalised() -> None:
    image = random_image(3, 24, 24)
    found = preprocess(image, (24, 24), (0, 0, 0), (1, 1, 1))
    # One multiplication by a rounded 1 / 255.
    np.testing.assert_allclose(found[0], image / 255, rtol=2e-7)


@given(value=st.integers(0, 255), source=st.integers(1, 90), size=st.integers(1, 90))
@settings(deadline=None)
def test_a_constant_image_stays_constant(value: int, source: int, size: int) -> None:
    image = np.full((source, 2 * source), value, np.uint8)
    found = preprocess(image, (size, size), (0, 0, 0), (1, 1, 1))
    # The weights of a pixel sum to 1 up to float32.
    np.testing.assert_allclose(found, value / 255, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (7, 11), (40, 3)])
def test_a_single_bright_pixel_never_vanishes(size: tuple[int, int]) -> None:
    """Antialiasing must see every pixel: plain bilinear sampling would step over most of them."""
    image = np.zeros((40, 40), np.uint8)
    # Half the triangle's height is reached on each axis, and its weights sum to at most scale + 1.
    least = 0.25 / ((40 / size[0] + 1) * (40 / size[1] + 1))
    for y in range(40):
        for x in range(40):
            image[y, x] = 255
            assert preprocess(image, size, (0, 0, 0), (1, 1, 1)).max() >= least
            image[y, x] = 0


def test_pixels_outside_the_region_do_not_matter() -> None:
    image = random_image(4, 30, 30, 3)
    before = preprocess(image, (8, 8), MEAN, STD, (5, 6, 20, 10))
    alone = preprocess(image[6:16, 5:25].copy(), (8, 8), MEAN, STD)
    image[:6], image[16:], image[:, :5], image[:, 25:] = 0, 0, 0, 0
    np.testing.assert_array_equal(preprocess(image, (8, 8), MEAN, STD, (5, 6, 20, 10)), before)
    np.testing.assert_array_equal(alone, before)


def test_the_result_is_written_where_it_is_wanted() -> None:
    image = random_image(5, 30, 40, 3)
    batch = np.full((2, 3, 8, 9), np.nan, np.float32)
    found = preprocess(image, (8, 9), MEAN, STD, out=batch[1])
    assert np.shares_memory(found, batch)
    np.testing.assert_array_equal(batch[1], preprocess(image, (8, 9), MEAN, STD))
    assert np.isnan(batch[0]).all()


def test_a_view_with_steps_is_read_correctly() -> None:
    image = random_image(6, 40, 60, 3)
    view = image[::2, ::-3]
    np.testing.assert_array_equal(
        preprocess(view, (9, 9), MEAN, STD), preprocess(view.copy(), (9, 9), MEAN, STD)
    )


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint16),
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4), np.uint8),
    ],
)
def test_what_is_not_an_8_bit_grey_or_colour_image_is_refused(image: Any) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        preprocess(image, (4, 4), MEAN, STD)


@pytest.mark.parametrize("region", [(-1, 0, 4, 4), (0, -1, 4, 4), (0, 0, 0, 4), (7, 0, 4, 4), (0, 3, 4, 4)])
def test_a_region_that_leaves_the_image_is_refused(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="leaves the image of 10 x 6"):
        preprocess(np.zeros((6, 10), np.uint8), (4, 4), MEAN, STD, region)


@pytest.mark.parametrize("out", [np.zeros((3, 4, 5), np.float32), np.zeros((3, 4, 4), np.float64)])
def test_a_result_array_that_does_not_fit_is_refused(out: Any) -> None:
    with pytest.raises(ValueError, match="expected float32"):
        preprocess(np.zeros((6, 10), np.uint8), (4, 4), MEAN, STD, out=out)
