"""Compiled preprocessing against the reference, which has its own test against the filter by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels import native, reference
from kernels.arrays import F16, F32, U8
from kernels.native import Library

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def assert_near(found: F32 | F16, expected: F32 | F16) -> None:
    """Two float32 sums of terms below 1 in another order, divided by 0.22."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def random_image(seed: int, *shape: int) -> U8:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


lengths = st.integers(1, 80)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    source=st.tuples(lengths, lengths),
    size=st.tuples(lengths, lengths),
    colour=st.booleans(),
    threads=st.integers(1, 4),
    data=st.data(),
)
def test_any_size_and_region_agrees(
    native_library: Library,
    source: tuple[int, int],
    size: tuple[int, int],
    colour: bool,
    threads: int,
    data: st.DataObject,
) -> None:
    image = random_image(sum(source), *source, 3) if colour else random_image(sum(source), *source)
    x, y = data.draw(st.integers(0, source[1] - 1)), data.draw(st.integers(0, source[0] - 1))
    region = (x, y, data.draw(st.integers(1, source[1] - x)), data.draw(st.integers(1, source[0] - y)))
    found = native.preprocess(image, size, MEAN, STD, region, threads=threads)
    assert_near(found, reference.preprocess(image, size, MEAN, STD, region))


@pytest.mark.parametrize("shape", [(480, 640, 3), (301, 517), (1080, 1920, 3), (97, 2100)])
@pytest.mark.parametrize("size", [(256, 256), (320, 33), (7, 640)])
def test_camera_sizes_agree(native_library: Library, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    image = random_image(1, *shape)
    found = native.preprocess(image, size, MEAN, STD)
    assert_near(found, reference.preprocess(image, size, MEAN, STD))


@pytest.mark.parametrize("shape", [(200, 300, 3), (200, 300), (20, 30, 3)])
def test_any_number_of_threads_gives_the_same_bits(native_library: Library, shape: tuple[int, ...]) -> None:
    image = random_image(2, *shape)
    expected = native.preprocess(image, (70, 50), MEAN, STD)
    for threads in (2, 3, 64, 100):
        found = native.preprocess(image, (70, 50), MEAN, STD, threads=threads)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "steps", [(slice(None, None, 2), slice(None)), (slice(None, None, -1), slice(3, 50, 3))]
)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_view_is_read_correctly(
    native_library: Library, steps: tuple[slice, slice], channels: tuple[int, ...]
) -> None:
    view = random_image(3, 60, 70, *channels)[steps]
    assert_near(native.preprocess(view, (20, 11), MEAN, STD), reference.preprocess(view, (20, 11), MEAN, STD))


def test_a_red_channel_of_a_four_channel_image_is_grey(native_library: Library) -> None:
    view = random_image(4, 40, 50, 4)[:, :, 2]
    np.testing.assert_array_equal(
        native.preprocess(view, (9, 9), MEAN, STD), native.preprocess(view.copy(), (9, 9), MEAN, STD)
    )


def test_pixels_beside_the_image_are_not_touched(native_library: Library) -> None:
    """The region is the last corner of its buffer, the result lies between guards."""
    image = random_image(5, 33, 47, 3)
    guarded = np.full(3 * 20 * 21 + 64, 7, np.float32)
    out = guarded[32:-32].reshape(3, 20, 21)
    found = native.preprocess(image, (20, 21), MEAN, STD, (40, 30, 7, 3), out)
    assert found is out
    assert_near(out, reference.preprocess(image[30:, 40:], (20, 21), MEAN, STD))
    assert (guarded[:32] == 7).all()
    assert (guarded[-32:] == 7).all()


def half_of(image: U8, size: tuple[int, int], std: tuple[float, ...] = STD, threads: int = 1) -> F16:
    out = np.empty((3, *size), np.float16)
    assert native.preprocess(image, size, MEAN, std, out=out, threads=threads) is out
    return out


@pytest.mark.parametrize("shape", [(90, 77, 3), (90, 77), (20, 30, 3)])
@pytest.mark.parametrize("size", [(40, 33), (7, 64)])
def test_float16_is_the_float32_result_rounded_once(
    native_library: Library, shape: tuple[int, ...], size: tuple[int, int]
) -> None:
    image = random_image(6, *shape)
    exact = native.preprocess(image, size, MEAN, STD)
    for threads in (1, 3):
        np.testing.assert_array_equal(half_of(image, size, threads=threads), exact.astype(np.float16))
    of_reference = np.empty((3, *size), np.float16)
    reference.preprocess(image, size, MEAN, STD, out=of_reference)
    np.testing.assert_array_equal(
        of_reference, reference.preprocess(image, size, MEAN, STD).astype(np.float16)
    )


@pytest.mark.parametrize("std", [3e-8, 1e-5, 1e-3, 1e3, 1e5, 3e6])
def test_every_size_of_float16_is_rounded_as_numpy_does(native_library: Library, std: float) -> None:
    """From infinity at a tiny std, over normal numbers, down to the smallest ones and zero."""
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    exact = native.preprocess(image, (16, 16), MEAN, (std,) * 3)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(half_of(image, (16, 16), (std,) * 3), exact.astype(np.float16))


@pytest.mark.parametrize("value", [0, 255])
def test_a_saturated_image_is_exactly_its_limit(native_library: Library, value: int) -> None:
    found = native.preprocess(np.full((100, 90), value, np.uint8), (32, 32), (0, 0, 0), (1, 1, 1))
    # The weights of a pixel sum to 1 up to float32.
    np.testing.assert_allclose(found, value / 255, atol=1e-6)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint16), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_another_image_is_refused(native_library: Library, image: Any) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        native.preprocess(image, (4, 4), MEAN, STD)


@pytest.mark.parametrize("out", [np.zeros((3, 4, 5), np.float32), np.zeros((3, 4, 4, 2), np.float32)[..., 0]])
def test_another_result_is_refused(native_library: Library, out: Any) -> None:
    with pytest.raises(ValueError, match=r"expected float32|not contiguous"):
        native.preprocess(np.zeros((6, 10), np.uint8), (4, 4), MEAN, STD, out=out)


@pytest.mark.parametrize("size", [(0, 4), (4, 0), (-1, 4)])
def test_an_empty_size_is_refused(native_library: Library, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="preprocess: size"):
        native.preprocess(np.zeros((6, 10), np.uint8), size, MEAN, STD)


def test_a_mean_of_one_number_is_refused(native_library: Library) -> None:
    with pytest.raises(ValueError, match=r"mean .* three numbers each"):
        native.preprocess(np.zeros((8, 8, 3), np.uint8), (4, 4), (0.5,), (1.0,))
