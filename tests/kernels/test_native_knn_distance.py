"""Compiled nearest neighbours against float64 and the reference: shapes, ties, scales, no numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernels import anchor_indices, native, reference
from kernels.arrays import F32, F64, Indices
from kernels.native import Bank, Library, scans


def explicit(queries: F32, bank: F32, exclude: Indices | None = None) -> F64:
    """(N, M) distances in float64, infinite to the excluded rows."""
    exact = np.stack(
        [np.linalg.norm(bank.astype(np.float64) - q, axis=1) for q in queries.astype(np.float64)]
    )
    if exclude is not None:
        exact[exclude >= 0, exclude[exclude >= 0]] = np.inf
    return exact


def assert_nearest(found: tuple[F32, Indices], exact: F64, k: int, rtol: float = 1e-6) -> None:
    """The k smallest of each row, each under the index where it stands, ascending, none twice."""
    distances, indices = found
    order = np.argsort(exact, axis=1, kind="stable")[:, :k]
    np.testing.assert_allclose(distances, np.take_along_axis(exact, order, axis=1), rtol=rtol)
    np.testing.assert_allclose(distances, np.take_along_axis(exact, indices, axis=1), rtol=rtol)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert all(len(set(row)) == k for row in indices.tolist())


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 40),
    m=st.one_of(st.integers(1, 70), st.integers(1000, 1300)),
    channels=st.integers(1, 70),
    seed=st.integers(0, 9999),
    threads=st.integers(1, 3),
    data=st.data(),
)
def test_neighbours_are_the_nearest(
    native_library: Library, n: int, m: int, channels: int, seed: int, threads: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    bank, queries = (rng.normal(2, 1, (rows, channels)).astype(np.float32) for rows in (m, n))
    exclude = rng.integers(-1, m, n) if m > 1 and data.draw(st.booleans()) else None
    k = data.draw(st.integers(1, min(64, m - (exclude is not None))))
    found = native.knn_distance(queries, bank, k, exclude, threads=threads)
    assert_nearest(found, explicit(queries, bank, exclude), k)


@pytest.mark.parametrize("k", [1, 7, 64])
@pytest.mark.parametrize("channels", [5, 128, 390])
def test_blocks_and_strips_do_not_show(native_library: Library, k: int, channels: int) -> None:
    rng = np.random.default_rng(k)
    bank = rng.normal(0, 1, (3000, channels)).astype(np.float32)
    queries = rng.normal(0, 1, (4500 if channels == 5 else 100, channels)).astype(np.float32)
    found = native.knn_distance(queries, bank, k)
    some = [*range(0, len(queries), 97), len(queries) - 1]
    assert_nearest((found[0][some], found[1][some]), explicit(queries[some], bank), k)
    for one, two in zip(found, native.knn_distance(queries, bank, k, threads=2), strict=True):
        np.testing.assert_array_equal(one, two)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(half=st.integers(2, 400), channels=st.integers(1, 3), seed=st.integers(0, 9999), data=st.data())
def test_ties_go_to_the_smaller_index_as_in_the_reference(
    native_library: Library, half: int, channels: int, seed: int, data: st.DataObject
) -> None:
    """Small integers and a bank of mean zero: every product is exact, so ties are true ties."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, (half, channels))
    bank = np.concatenate([rows, -rows]).astype(np.float32)
    queries = rng.integers(-2, 3, (9, channels)).astype(np.float32)
    exclude = rng.integers(-1, 2 * half, 9)
    k = data.draw(st.integers(1, min(64, 2 * half - 1)))
    expected = reference.knn_distance(queries, bank, k, exclude)
    distances, indices = native.knn_distance(queries, bank, k, exclude)
    np.testing.assert_array_equal(indices, expected[1])
    # Exact squares, one rounded root.
    np.testing.assert_allclose(distances, expected[0], rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.3, -1e30, 1e-40])
def test_a_constant_image_takes_the_first_cells(native_library: Library, value: float) -> None:
    cells = np.full((2000, 33), value, np.float32)
    distances, indices = native.knn_distance(cells, cells, 64, np.arange(2000))
    assert (distances == 0).all()
    for i in (0, 30, 63, 64, 1999):
        assert indices[i].tolist() == [j for j in range(65) if j != i][:64]


def test_rows_that_repeat_are_found_at_distance_zero_in_order(native_library: Library) -> None:
    """1e3 away from the origin the Gram form cannot tell 0 from 0.1; the explicit differences can."""
    rows = np.random.default_rng(3).normal(1000, 1, (300, 64)).astype(np.float32)
    bank = np.concatenate([rows, rows, rows])
    distances, indices = native.knn_distance(rows, bank, 3)
    assert (distances == 0).all()
    np.testing.assert_array_equal(indices, np.arange(300)[:, None] + [0, 300, 600])


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1e-3, 1e5, 1e20, 3e36])
def test_no_scale_over_or_underflows(native_library: Library, scale: float) -> None:
    rng = np.random.default_rng(4)
    bank, queries = ((rng.normal(0, 1, (n, 19)) * scale).astype(np.float32) for n in (500, 20))
    assert_nearest(native.knn_distance(queries, bank, 9), explicit(queries, bank), 9)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_a_query_at_another_scale_has_its_distance(native_library: Library, scale: float) -> None:
    rng = np.random.default_rng(5)
    bank = (rng.normal(0, 1, (300, 8)) * 1e-3).astype(np.float32)
    queries = (rng.normal(0, 1, (20, 8)) * scale).astype(np.float32)
    assert_nearest(native.knn_distance(queries, bank, 5), explicit(queries, bank), 5)
    zeros = np.zeros_like(bank)
    assert_nearest(native.knn_distance(queries, zeros, 5), explicit(queries, zeros), 5)


@pytest.mark.parametrize("k", [1, 2, 6])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows(native_library: Library, k: int, bad: float) -> None:
    good = np.random.default_rng(6).normal(0, 1, (6, 3)).astype(np.float32)
    worse = good.copy()
    worse[4, 1] = bad
    distances, indices = native.knn_distance(good, worse, k)
    assert np.isnan(distances).all()
    assert indices.tolist() == [list(range(k))] * 6
    distances, indices = native.knn_distance(worse, good, k)
    assert not np.isfinite(distances[4]).any()
    assert indices[4].tolist() == list(range(k))
    rest = np.delete(good, 4, axis=0)
    assert_nearest((np.delete(distances, 4, axis=0), np.delete(indices, 4, axis=0)), explicit(rest, good), k)


def test_the_image_is_its_own_bank_of_strided_anchors(native_library: Library) -> None:
    cells = np.random.default_rng(7).normal(0, 1, (1600, 48)).astype(np.float32)
    anchors = anchor_indices(1600, 400)
    exclude = np.full(1600, -1)
    exclude[anchors] = np.arange(400)
    expected = reference.knn_distance(cells, cells[anchors], 32, exclude)
    found = native.knn_distance(cells, cells[anchors], 32, exclude)
    # Float32 Gram form in the reference, distances as large as the norms.
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    assert (found[1] == expected[1]).mean() > 0.999, "more than near ties differ"


def test_views_are_read_as_they_are(native_library: Library) -> None:
    cells = np.random.default_rng(8).normal(0, 1, (90, 20)).astype(np.float32)
    queries, bank, exclude = cells[::2, ::3], cells[::3, ::3], np.arange(90)[:45]
    exclude = np.where(exclude < 30, exclude, -1)[::-1]
    found = native.knn_distance(queries, bank, 4, exclude)
    assert_nearest(found, explicit(queries, bank, exclude), 4)


def test_wrong_arguments_are_refused(native_library: Library) -> None:
    bank = np.zeros((100, 3), np.float32)
    with pytest.raises(ValueError, match="queries have 2 channels, the bank 3"):
        native.knn_distance(np.zeros((1, 2), np.float32), bank, 1)
    with pytest.raises(ValueError, match=r"k is 0, expected 1\.\.100"):
        native.knn_distance(bank, bank, 0)
    with pytest.raises(ValueError, match="expected float32"):
        native.knn_distance(bank, bank.astype(np.float64), 1)
    with pytest.raises(ValueError, match="does not fit"):
        native.knn_distance(bank, bank, 2, np.arange(1, 101))
    with pytest.raises(ValueError, match="threads is 0"):
        native.knn_distance(bank, bank, 2, threads=0)


def test_more_neighbours_than_compiled_for_come_from_the_reference(native_library: Library) -> None:
    rng = np.random.default_rng(9)
    bank, queries = (rng.normal(0, 1, (n, 6)).astype(np.float32) for n in (150, 10))
    # Float32 Gram form.
    assert_nearest(native.knn_distance(queries, bank, 65), explicit(queries, bank), 65, rtol=1e-5)


def ranked(rows: F32, k: int) -> Indices:
    """The k nearest of each row among all, ties by index; exact for small integers."""
    squares = np.stack([np.square(rows.astype(np.float64) - row).sum(axis=1) for row in rows])
    return np.argsort(squares, axis=1, kind="stable")[:, :k]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.one_of(st.integers(2, 60), st.integers(190, 400)),
    channels=st.integers(1, 140),
    spread=st.sampled_from([1e-4, 1e-2, 1.0]),
    seed=st.integers(0, 9999),
    data=st.data(),
)
def test_every_way_to_the_same_rows_gives_the_same_bits(
    native_library: Library, n: int, channels: int, spread: float, seed: int, data: st.DataObject
) -> None:
    """Scanned in either precision, among themselves or as others, by any number of threads."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (5, channels))
    rows = (centres[rng.integers(0, 5, n)] + spread * rng.normal(0, 1, (n, channels))).astype(np.float32)
    exclude = np.arange(n) if data.draw(st.booleans()) else None
    k = data.draw(st.integers(1, min(64, n - (exclude is not None))))
    expected = native.knn_distance(rows.copy(), rows, k, exclude)
    assert_nearest(expected, explicit(rows, rows, exclude), k, rtol=1e-5)
    for scan in scans():
        bank = Bank(rows, scan, threads=2)
        for queries, threads in ((rows.copy(), 1), (rows, 1), (rows, 2), (rows, 5)):
            found = native.knn_distance(queries, bank, k, exclude, threads=threads)
            np.testing.assert_array_equal(found[1], expected[1])
            np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("channels", [2, 7, 40])
def test_a_bank_full_of_ties_far_from_the_origin_keeps_their_order(
    native_library: Library, channels: int
) -> None:
    """The scores cannot tell ties from what rounding makes of them: every row is measured."""
    rows = np.random.default_rng(1).integers(0, 3, (700, channels)).astype(np.float32) + 1000
    expected = ranked(rows, 20)
    for scan in scans():
        for queries in (rows, rows.copy()):
            np.testing.assert_array_equal(native.knn_distance(queries, Bank(rows, scan), 20)[1], expected)


def test_differences_below_the_scan_s_precision_are_told_apart(native_library: Library) -> None:
    """One step of bfloat16 is 1/128 here: all rows look alike in it."""
    rng = np.random.default_rng(2)
    rows = (1.5 + 1e-3 * rng.normal(0, 1, (2500, 24))).astype(np.float32)
    rows[0] = -3
    for scan in scans():
        assert_nearest(
            native.knn_distance(rows[:50], Bank(rows, scan), 9), explicit(rows[:50], rows), 9, rtol=2e-6
        )


def test_more_rows_than_a_block_are_searched_among_themselves(native_library: Library) -> None:
    rows = np.random.default_rng(3).normal(0, 1, (4500, 6)).astype(np.float32)
    rows[4400:] = rows[:100]
    expected = native.knn_distance(rows.copy(), rows, 5)
    for scan in scans():
        for threads in (1, 3):
            found = native.knn_distance(rows, Bank(rows, scan), 5, threads=threads)
            np.testing.assert_array_equal(found[1], expected[1])
            np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_a_constant_image_takes_the_first_cells_in_every_scan(native_library: Library, threads: int) -> None:
    cells = np.full((1100, 20), 0.3, np.float32)
    expected = np.array([[j for j in range(31) if j != i][:30] for i in range(1100)])
    for scan in scans():
        found = native.knn_distance(cells, Bank(cells, scan), 30, np.arange(1100), threads=threads)
        assert (found[0] == 0).all()
        np.testing.assert_array_equal(found[1], expected)


def test_a_bank_of_zeros_or_with_a_nan_is_searched_like_its_rows(native_library: Library) -> None:
    good = np.random.default_rng(4).normal(0, 1, (40, 6)).astype(np.float32)
    bad = good.copy()
    bad[7, 2] = np.nan
    for scan in scans():
        distances, indices = native.knn_distance(good, Bank(np.zeros((9, 6), np.float32), scan), 3)
        np.testing.assert_allclose(distances[:, 2], np.linalg.norm(good, axis=1), rtol=1e-6)
        assert (indices == [0, 1, 2]).all()
        assert np.isnan(native.knn_distance(bad, Bank(bad, scan), 3)[0]).all()


def test_results_are_written_where_the_caller_says(native_library: Library) -> None:
    rng = np.random.default_rng(5)
    queries, rows = (rng.normal(0, 1, (n, 8)).astype(np.float32) for n in (30, 90))
    for kernels in (native, reference):
        out = np.empty((30, 4), np.float32), np.empty((30, 4), np.int64)
        found = kernels.knn_distance(queries, kernels.Bank(rows), 4, out=out)
        assert found[0] is out[0]
        assert found[1] is out[1]
        fresh = kernels.knn_distance(queries, rows, 4)
        np.testing.assert_array_equal(fresh[0], out[0])
        np.testing.assert_array_equal(fresh[1], out[1])
    with pytest.raises(ValueError, match=r"out is int64 \(30, 4\), expected float32 \(30, 4\)"):
        native.knn_distance(queries, rows, 4, out=(out[1], out[1]))  # type: ignore[arg-type]


def test_a_scan_that_there_is_not_is_refused(native_library: Library) -> None:
    assert scans()[-1] == "float32"
    with pytest.raises(ValueError, match=r"scan is 'int8', expected one of \("):
        Bank(np.zeros((9, 3), np.float32), "int8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected float32"):
        Bank(np.zeros((9, 3)))  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [3, 40])
def test_rows_whose_difference_is_no_float_are_still_found(native_library: Library, channels: int) -> None:
    rows = np.full((11, channels), -3.3e38, np.float32)
    rows[10] *= -1
    for scan in native.scans():
        bank = native.Bank(rows, scan)
        distances, indices = native.knn_distance(rows[10:], bank, 1)
        assert (distances[0, 0], indices[0, 0]) == (0, 10)
        distances, indices = native.knn_distance(rows[:1], bank, 11)
        np.testing.assert_array_equal(indices[0], np.arange(11))
        assert not distances[0, :10].any()
        assert distances[0, 10] == np.inf


def test_a_bank_packed_for_another_instruction_set_is_refused(native_library: Library) -> None:
    rows = np.ones((9, 5), np.float32)
    bank = Bank(rows)
    for other in native.libraries():
        with native.using(other):
            if other.name == native_library.name:
                native.knn_distance(rows, bank, 1)
            else:
                with pytest.raises(ValueError, match="another instruction set"):
                    native.knn_distance(rows, bank, 1)
