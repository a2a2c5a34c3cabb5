"""The whole chain on inputs that break naive numerics: finite, non-negative and the same every time."""

import numpy as np
import numpy.typing as npt
import pytest

from kernels import (
    anchor_indices,
    distance_rowsum,
    fill_border,
    finish_map,
    finish_matrix,
    knn_distance,
    neighbour_mean,
    neighbour_regression,
    pool_norm,
    select_global,
)

F32 = npt.NDArray[np.float32]

CELLS, CHANNELS = 20, 26
MATRIX = finish_matrix(CELLS, 160, 128, 3, 16)


def features_of(name: str) -> F32:
    grid = np.arange(CELLS, dtype=np.float32)
    slope = np.linspace(0.5, 2, CHANNELS, dtype=np.float32)
    ramp: F32 = (grid[:, None, None] + 2 * grid[None, :, None]) * slope
    named: dict[str, F32] = {
        "zero": np.zeros_like(ramp),
        "constant": np.full_like(ramp, 0.7),
        "ramp": ramp,
        "tiny": 1e-12 * ramp,
        "large": 1e6 * ramp,
        "noise": np.random.default_rng(0).normal(0, 1, ramp.shape).astype(np.float32),
    }
    return named[name]


NAMES = ["zero", "constant", "ramp", "tiny", "large", "noise"]


def paper(features: F32) -> tuple[F32, float]:
    pooled, _, _ = pool_norm(features)
    flat = pooled.reshape(-1, CHANNELS)
    _, vector = select_global(flat, distance_rowsum(flat), 40)
    errors = neighbour_regression(pooled, vector, 200 / 201)
    return finish_map([fill_border(errors, (CELLS, CELLS), 3, "min")], [MATRIX], [MATRIX])


def default(features: F32) -> tuple[F32, float]:
    pooled, _, _ = pool_norm(features)
    flat = pooled.reshape(-1, CHANNELS)
    anchors = anchor_indices(len(flat), 100)
    exclude = np.full(len(flat), -1)
    exclude[anchors] = np.arange(100)
    _, nearest = knn_distance(flat, flat[anchors], 10, exclude)
    target = neighbour_mean(flat[anchors], nearest).reshape(CELLS, CELLS, CHANNELS)[1:-1, 1:-1]
    errors = neighbour_regression(pooled, target, 0.995)
    filled = fill_border(errors, (CELLS, CELLS), 2, "edge")
    return finish_map([filled], [MATRIX], [MATRIX], profile=True)


def demo(features: F32) -> tuple[F32, float]:
    pooled, _, _ = pool_norm(features)
    flat = pooled.reshape(-1, CHANNELS)
    _, vector = select_global(flat, distance_rowsum(flat), 40, "demo")
    mirrored = np.pad(pooled, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    errors = neighbour_regression(mirrored, vector, 200 / 201)
    return finish_map([fill_border(errors, (CELLS, CELLS), 3, "min")], [MATRIX], [MATRIX])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("chain", [paper, default, demo])
def test_every_map_is_finite_and_not_negative(chain: object, name: str) -> None:
    assert callable(chain)
    found, score = chain(features_of(name))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert np.isfinite(score)
    assert score >= 0


@pytest.mark.parametrize("name", ["constant", "ramp", "noise"])
@pytest.mark.parametrize("chain", [paper, default])
def test_a_hundred_runs_agree_to_the_last_bit(chain: object, name: str) -> None:
    assert callable(chain)
    first, score = chain(features_of(name))
    for _ in range(99):
        again, same = chain(features_of(name).copy())
        np.testing.assert_array_equal(again, first)
        assert same == score


def test_constant_features_leave_next_to_nothing_inside() -> None:
    constant = features_of("constant")
    errors = neighbour_regression(constant, constant[0, 0], 0.995)
    # The ridge takes eps / (8 K) = 1e-5 / 8 of the vector away; float32 adds about as much.
    assert errors.max() <= 1e-5 * np.linalg.norm(constant[0, 0])


def test_a_single_odd_cell_stands_out_in_its_place() -> None:
    features = np.random.default_rng(1).normal(5, 0.3, (CELLS, CELLS, CHANNELS)).astype(np.float32)
    features[9, 12, ::2] += 6
    for chain in (paper, default):
        found, score = chain(features)
        y, x = np.unravel_index(found.argmax(), found.shape)
        # Cells of 8 px behind a crop of 16; pooling spreads the odd cell over its window.
        assert abs(y + 16 - (9.5 * 8)) <= 12
        assert abs(x + 16 - (12.5 * 8)) <= 12
        assert score > 2 * np.median(found)
