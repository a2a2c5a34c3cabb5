"""Which cells count as typical."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import select_global


@given(distances=st.lists(st.integers(0, 5), min_size=1, max_size=30), data=st.data())
def test_the_paper_takes_the_smallest_distances_and_breaks_ties_by_index(
    distances: list[int], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(distances)))
    features = np.arange(2.0 * len(distances)).reshape(-1, 2)
    indices, vector = select_global(features, np.array(distances, np.float32), count)
    expected = sorted(range(len(distances)), key=lambda i: (distances[i], i))[:count]
    assert indices.tolist() == expected
    assert vector.tolist() == pytest.approx([sum(features[i][c] for i in expected) / count for c in (0, 1)])


def test_the_demo_takes_the_first_forty_raster_cells() -> None:
    features = np.random.default_rng(0).normal(0, 1, (400, 8)).astype(np.float32)
    indices, vector = select_global(features, -np.arange(400.0, dtype=np.float32), 40, "demo")
    assert indices.tolist() == list(range(40))
    assert vector.dtype == np.float32
    # One rounding to float32.
    np.testing.assert_allclose(vector, features[:40].astype(np.float64).mean(axis=0), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("count", [0, -1, 6])
def test_a_count_outside_the_cells_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=r"expected 1\.\.5"):
        select_global(np.ones((5, 2)), np.ones(5), count)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="variant is 'best'"):
        select_global(np.ones((5, 2)), np.ones(5), 2, "best")  # type: ignore[arg-type]
