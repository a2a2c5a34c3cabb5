"""Greedy k-centre selection against the plain loop, and what is hard for it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from export.coreset import greedy_coreset, project

F32 = NDArray[np.float32]


def _plain(points: F32, count: int, first: int) -> list[int]:
    """One row at a time, differences in float64."""
    rows = points.astype(np.float64)
    chosen, least = [first], np.full(len(rows), np.inf)
    while len(chosen) < count:
        least = np.minimum(least, ((rows - rows[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(least.argmax()))
    return chosen


@pytest.mark.parametrize(("n", "d", "count", "pool"), [(1, 3, 1, 8), (60, 2, 60, 7), (900, 16, 90, 64)])
def test_it_chooses_what_the_plain_loop_chooses(n: int, d: int, count: int, pool: int) -> None:
    points = np.random.default_rng(n).standard_normal((n, d)).astype(np.float32)
    found = greedy_coreset(points.copy(), count, 5, pool)
    assert found.tolist() == _plain(points, count, int(found[0]))


def test_equally_far_rows_come_in_order_of_their_index() -> None:
    # Corners of a cube about 0, small integers: every distance is exact, and nearly all are tied.
    cube = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    found = greedy_coreset(cube.copy(), 8, 0, 4)
    assert found.tolist() == _plain(cube, 8, int(found[0]))


def test_rows_that_are_all_alike_give_one_and_repeated_ones_come_once() -> None:
    assert len(greedy_coreset(np.full((50, 4), 7, np.float32), 20, 0)) == 1
    different = np.random.default_rng(1).standard_normal((6, 40)).astype(np.float32) + 30
    repeated = np.tile(different, (30, 1))
    found = greedy_coreset(repeated.copy(), 100, 0)
    assert sorted(i % 6 for i in found) == list(range(6))


def test_progress_counts_up_to_what_was_chosen() -> None:
    points, seen = np.random.default_rng(2).standard_normal((300, 5)).astype(np.float32), [0]
    found = greedy_coreset(points, 70, 1, chosen_so_far=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == len(found) == 70


def test_no_rows_and_more_rows_than_there_are_cannot_be_chosen() -> None:
    for count in (0, 4):
        with pytest.raises(ValueError, match=f"count is {count}, expected 1..3"):
            greedy_coreset(np.zeros((3, 2), np.float32), count, 0)


def test_a_projection_keeps_distances_and_is_the_same_for_the_same_seed() -> None:
    rows = np.random.default_rng(3).standard_normal((40, 700)).astype(np.float32)
    low = project(rows, 128, 9)
    np.testing.assert_array_equal(low, project(rows, 128, 9))
    ratio = np.linalg.norm(low[1:] - low[:-1], axis=1) / np.linalg.norm(rows[1:] - rows[:-1], axis=1)
    # Standard deviation of a distance's error 1 / sqrt(2 d) = 6 %; 39 draws within 4 of them.
    np.testing.assert_allclose(ratio, 1, atol=0.25)
    assert project(rows, 700, 9) is rows
