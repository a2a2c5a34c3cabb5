"""Fusion and image score against plain lists and loops."""

import math
import statistics
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import fill_border, finish_map, finish_matrix

F32 = npt.NDArray[np.float32]
EYE = np.eye(24, dtype=np.float32)


def positive(seed: int, *shape: int) -> F32:
    values: F32 = np.random.default_rng(seed).random(shape).astype(np.float32) + np.float32(0.5)
    return values


def as_it_is(cells: F32, **options: Any) -> tuple[F32, float]:
    """One map that needs no enlarging."""
    h, w = cells.shape
    return finish_map([cells], [np.eye(h, dtype=np.float32)], [np.eye(w, dtype=np.float32)], **options)


@settings(deadline=None, max_examples=20)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=3),
    fusion=st.sampled_from(["product", "sum", "mean"]),
    seed=st.integers(0, 999),
)
def test_scales_are_enlarged_and_fused_cell_by_cell(
    sizes: list[tuple[int, int]], fusion: Any, seed: int
) -> None:
    maps = [positive(seed + i, *size) for i, size in enumerate(sizes)]
    rows = [positive(seed + 10, 7, h) for h, _ in sizes]
    columns = [positive(seed + 20, 5, w) for _, w in sizes]
    fused, score = finish_map(maps, rows, columns, fusion)
    assert fused.dtype == np.float32
    for y in range(7):
        for x in range(5):
            values = [
                sum(
                    float(a[y, v]) * float(m[v, u]) * float(b[x, u])
                    for v in range(m.shape[0])
                    for u in range(m.shape[1])
                )
                for m, a, b in zip(maps, rows, columns, strict=True)
            ]
            joined = math.prod(values) if fusion == "product" else sum(values)
            expected = joined / len(values) if fusion == "mean" else joined
            # Three float32 factors of two short sums each, 2^-24 per operation.
            assert fused[y, x] == pytest.approx(expected, rel=1e-5)
    assert score == fused.max()


def test_two_scales_scaled_by_c_scale_the_product_by_c_squared() -> None:
    matrices = [finish_matrix(8, 32, 24, 1.5, 4), finish_matrix(4, 32, 24, 1.5, 4)]
    maps = [positive(1, 8, 8), positive(2, 4, 4)]
    plain = finish_map(maps, matrices, matrices)
    scaled = finish_map([8 * m for m in maps], matrices, matrices)
    # A power of two changes no rounding.
    np.testing.assert_array_equal(scaled[0], 64 * plain[0])
    assert scaled[1] == 64 * plain[1]


@pytest.mark.parametrize(("top", "count"), [(0.01, 6), (1e-9, 1), (0.5, 288), (1.0, 576)])
def test_mean_top_is_the_mean_of_the_largest_cells(top: float, count: int) -> None:
    cells = positive(3, 24, 24)
    expected = statistics.fmean(sorted(cells.ravel().tolist())[-count:])
    # The mean is summed in float64.
    assert as_it_is(cells, score="mean_top", top=top)[1] == pytest.approx(expected, rel=1e-12)


def test_std_is_the_standard_deviation_of_the_cells() -> None:
    cells = positive(4, 24, 24)
    # Summed in float64.
    assert as_it_is(cells, score="std")[1] == pytest.approx(
        statistics.pstdev(cells.ravel().tolist()), rel=1e-9
    )


@pytest.mark.parametrize("score", ["max", "mean_top", "std"])
@pytest.mark.parametrize("profile", [False, True])
def test_the_mask_and_the_profile_touch_the_score_only(score: str, profile: bool) -> None:
    cells = positive(5, 24, 24)
    cells[:2] *= 4
    mask = np.zeros((24, 24), np.float32)
    mask[6:18, 6:18] = 1
    found, masked = as_it_is(cells, score=score, mask=mask, profile=profile)
    np.testing.assert_array_equal(found, cells)
    assert masked < as_it_is(cells, score=score)[1]


def test_a_raised_border_row_is_flattened_and_a_spot_on_it_is_not() -> None:
    cells = np.ones((64, 64), np.float32)
    cells[:4] = 3
    assert as_it_is(cells)[1] == 3
    raised = as_it_is(cells, profile=True)[1]
    # Rows 1 to 5 hold 3, 3, 3, 1, 1: row 3 is divided by their mean, the others by more.
    assert raised == pytest.approx(3 / 2.2, rel=1e-6)
    cells[0, 30] = 9
    assert as_it_is(cells, profile=True)[1] == pytest.approx(9 / 3, rel=1e-6)


def test_the_profile_follows_its_definition() -> None:
    cells = positive(6, 40, 24)
    cells[:3] *= 2
    cells[:, -2:] *= 3
    middle = statistics.median(cells.ravel().tolist())

    def factors(lines: list[list[float]]) -> list[float]:
        n = len(lines)
        raw = [max(1.0, statistics.median(line) / middle) for line in lines]
        result = []
        for i in range(n):
            smooth = sum(raw[min(max(i + o, 0), n - 1)] for o in (-2, -1, 0, 1, 2)) / 5
            depth = (min(i, n - 1 - i) + 0.5) / n
            weight = 1.0 if depth <= 0.0625 else max(0.0, (0.125 - depth) / 0.0625)
            result.append(1 + weight * (smooth - 1))
        return result

    down, across = factors(cells.tolist()), factors(cells.T.tolist())
    expected = max(float(cells[y, x]) / max(down[y], across[x]) for y in range(40) for x in range(24))
    # One division in float32.
    assert as_it_is(cells, profile=True)[1] == pytest.approx(expected, rel=1e-6)


def test_a_map_of_zeros_has_score_zero_with_and_without_profile() -> None:
    zeros = np.zeros((24, 24), np.float32)
    for score in ("max", "mean_top", "std"):
        for profile in (False, True):
            assert as_it_is(zeros, score=score, profile=profile)[1] == 0


@pytest.mark.parametrize("score", ["max", "mean_top", "std"])
@pytest.mark.parametrize("profile", [False, True])
@pytest.mark.parametrize("place", [(0, 0), (12, 12), (23, 5)])
def test_what_is_not_a_number_is_never_hidden(score: str, profile: bool, place: tuple[int, int]) -> None:
    cells = positive(7, 24, 24)
    cells[place] = np.nan
    nothing = np.zeros((24, 24), np.float32)
    assert math.isnan(as_it_is(cells, score=score, profile=profile)[1])
    assert math.isnan(as_it_is(cells, score=score, profile=profile, mask=nothing)[1])


def test_wrong_arguments_are_refused() -> None:
    cells = positive(8, 24, 24)
    with pytest.raises(ValueError, match="0 maps"):
        finish_map([], [], [])
    with pytest.raises(ValueError, match="1 maps, 2 row"):
        finish_map([cells], [EYE, EYE], [EYE])
    with pytest.raises(ValueError, match="do not fit a map"):
        finish_map([cells[1:]], [EYE], [EYE])
    with pytest.raises(ValueError, match="different sizes"):
        finish_map([cells, cells], [EYE, EYE[1:]], [EYE, EYE])
    with pytest.raises(ValueError, match="mask is"):
        as_it_is(cells, mask=np.ones((2, 2), np.float32))
    for options in ({"fusion": "max"}, {"score": "median"}, {"score": "mean_top", "top": 0.0}):
        with pytest.raises(ValueError, match="expected"):
            as_it_is(cells, **options)


def test_the_papers_post_processing_runs_on_both_scales() -> None:
    maps = [
        fill_border(positive(9, 38, 38), (40, 40), 3, "min"),
        fill_border(positive(10, 18, 18), (20, 20), 2, "min"),
    ]
    matrices = [finish_matrix(40, 320, 256, 3, 32), finish_matrix(20, 320, 256, 3, 32)]
    found, score = finish_map(maps, matrices, matrices)
    assert found.shape == (256, 256)
    assert 0.25 < score < 2.25
