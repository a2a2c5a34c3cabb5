"""Nearest neighbours against a sort of explicit differences."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import anchor_indices, knn_distance, neighbour_mean

DTYPES: list[npt.DTypeLike] = [np.float32, np.float64]


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 12),
    half=st.integers(2, 10),
    channels=st.integers(1, 3),
    seed=st.integers(0, 9999),
    dtype=st.sampled_from(DTYPES),
    data=st.data(),
)
def test_neighbours_match_a_sort_with_ties_by_index(
    n: int, half: int, channels: int, seed: int, dtype: npt.DTypeLike, data: st.DataObject
) -> None:
    """Small integers and a bank of mean zero: every product is exact, so ties are true ties."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, (half, channels))
    bank = np.concatenate([rows, -rows]).astype(dtype)
    queries = rng.integers(-2, 3, (n, channels)).astype(dtype)
    k = data.draw(st.integers(1, 2 * half - 1))
    exclude = rng.integers(-1, 2 * half, n)
    distances, indices = knn_distance(queries, bank, k, exclude)
    assert distances.dtype == dtype
    for i in range(n):
        order = sorted(
            (float(((queries[i] - row) ** 2).sum()), j) for j, row in enumerate(bank) if j != exclude[i]
        )
        assert indices[i].tolist() == [j for _, j in order[:k]]
        # Exact squares, one rounded root.
        np.testing.assert_allclose(distances[i], np.sqrt([d for d, _ in order[:k]]), rtol=1e-6)


@pytest.mark.parametrize("k", [1, 20])
@pytest.mark.parametrize("dtype", DTYPES)
def test_tiles_do_not_show_in_the_result(k: int, dtype: npt.DTypeLike) -> None:
    rng = np.random.default_rng(k)
    queries = rng.normal(3, 1, (2700, 26)).astype(dtype)
    bank = rng.normal(3, 1, (200, 26)).astype(dtype)
    distances, indices = knn_distance(queries, bank, k)
    for i in (0, 1309, 1310, 1311, 2699):
        exact = np.linalg.norm(bank.astype(np.float64) - queries[i].astype(np.float64), axis=1)
        # Float32 Gram form, distances as large as the norms; random values have no ties.
        np.testing.assert_allclose(distances[i], np.sort(exact)[:k], rtol=1e-5)
        assert indices[i].tolist() == np.argsort(exact)[:k].tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_image_can_be_its_own_bank(dtype: npt.DTypeLike) -> None:
    cells = np.random.default_rng(4).normal(0, 1, (60, 8)).astype(dtype)
    anchors = anchor_indices(60, 12)
    exclude = np.full(60, -1)
    exclude[anchors] = np.arange(12)
    distances, indices = knn_distance(cells, cells[anchors], 3, exclude)
    assert (distances > 0.1).all(), "a cell was taken for its own neighbour"
    assert not (indices == exclude[:, None]).any()
    with_self = knn_distance(cells, cells[anchors], 3)
    np.testing.assert_array_equal(with_self[1][anchors, 0], np.arange(12))


def test_each_cell_is_excluded_from_its_own_row_in_every_tile() -> None:
    cells = np.random.default_rng(8).normal(0, 1, (1300, 5)).astype(np.float32)
    indices = knn_distance(cells, cells, 3, np.arange(1300))[1]
    with_self = knn_distance(cells, cells, 4)[1]
    np.testing.assert_array_equal(with_self[:, 0], np.arange(1300))
    np.testing.assert_array_equal(indices, with_self[:, 1:])


def test_an_exclusion_of_nobody_changes_nothing() -> None:
    cells = np.random.default_rng(5).normal(0, 1, (30, 4)).astype(np.float32)
    plain, excluded = knn_distance(cells, cells, 30), knn_distance(cells, cells, 30, np.full(30, -1))
    np.testing.assert_array_equal(plain[0], excluded[0])
    np.testing.assert_array_equal(plain[1], excluded[1])


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_a_number_shows(k: int, dtype: npt.DTypeLike) -> None:
    good = np.random.default_rng(6).normal(0, 1, (6, 3)).astype(dtype)
    bad = good.copy()
    bad[4, 1] = np.nan
    assert np.isnan(knn_distance(good, bad, k)[0]).all()
    distances = knn_distance(bad, good, k)[0]
    assert np.isnan(distances[4]).all()
    assert np.isfinite(np.delete(distances, 4, axis=0)).all()


def test_wrong_arguments_are_refused() -> None:
    bank = np.zeros((5, 3), np.float32)
    with pytest.raises(ValueError, match="queries have 2 channels, the bank 3"):
        knn_distance(np.zeros((1, 2), np.float32), bank, 1)
    for k in (0, 6):
        with pytest.raises(ValueError, match=r"expected 1\.\.5"):
            knn_distance(bank, bank, k)
    with pytest.raises(ValueError, match=r"expected 1\.\.4"):
        knn_distance(bank, bank, 5, np.arange(5))
    for exclude in (np.arange(4), np.arange(1, 6)):
        with pytest.raises(ValueError, match="does not fit"):
            knn_distance(bank, bank, 2, exclude)


def test_the_neighbour_mean_is_the_mean_of_the_named_rows() -> None:
    rng = np.random.default_rng(7)
    bank = rng.normal(0, 1, (40, 6)).astype(np.float32)
    indices = np.stack([rng.permutation(40)[:7] for _ in range(25)])
    means = neighbour_mean(bank, indices)
    assert means.dtype == np.float32
    for row, names in zip(means, indices, strict=True):
        # A sum of seven float32 products.
        np.testing.assert_allclose(row, bank[names].astype(np.float64).mean(axis=0), atol=1e-6)


@given(n=st.integers(1, 3000), count=st.integers(1, 3000))
def test_anchors_are_evenly_spread(n: int, count: int) -> None:
    anchors = anchor_indices(n, count)
    assert len(anchors) == min(n, count)
    assert anchors[0] >= 0
    assert anchors[-1] < n
    steps = np.diff(anchors)
    assert (steps >= 1).all()
    if len(steps):
        assert steps.max() - steps.min() <= 1
        assert abs(int(anchors[0]) - (n - 1 - int(anchors[-1]))) <= 1


@pytest.mark.parametrize(("n", "count"), [(0, 3), (3, 0)])
def test_anchors_of_nothing_are_refused(n: int, count: int) -> None:
    with pytest.raises(ValueError, match="both >= 1"):
        anchor_indices(n, count)
