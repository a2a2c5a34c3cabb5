"""The memory bank head against the paper's formulas written out, and what must never pass as good."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import finish_matrix, open_kernels
from runtime.bundle import KnnHead
from runtime.errors import BundleError
from runtime.heads.knn import HostKnn, embed, resized
from runtime.network import TensorSpec

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

KERNELS = open_kernels()
OUTPUTS = (TensorSpec("fine", (1, 8, 6, 3)), TensorSpec("coarse", (1, 4, 3, 5)))
PART = KnnHead(outputs=("fine", "coarse"), support=4)


class Case:
    """A head bound to random features."""

    def __init__(self, part: KnnHead = PART, rows: int = 50, mask: F32 | None = None, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.features = {spec.name: _normal(rng, *spec.shape) for spec in OUTPUTS}
        self.arrays = {
            "bank": _normal(rng, rows, 8),
            "rows": finish_matrix(8, 32, 16, 2.0),
            "columns": finish_matrix(6, 24, 12, 2.0),
        }
        self.map, self.score = np.zeros((16, 12), np.float32), np.zeros(1, np.float32)
        self.head = HostKnn(part, self.arrays, OUTPUTS, KERNELS)
        self.head.bind(self.features, self.map, self.score, mask)

    def run(self) -> float:
        self.head.run()
        return float(self.score[0])


def _normal(rng: np.random.Generator, *shape: int) -> F32:
    return rng.standard_normal(shape).astype(np.float32)


def _mean_3x3(feature: F64) -> F64:
    """Zeros outside, divisor 9, by loops."""
    h, w, _ = feature.shape
    padded = np.pad(feature, ((1, 1), (1, 1), (0, 0)))
    cells = [[padded[y : y + 3, x : x + 3].mean(axis=(0, 1)) for x in range(w)] for y in range(h)]
    return np.array(cells)


def _bilinear(feature: F64, size: tuple[int, int]) -> F64:
    """Half-pixel centres, the edge repeated, by loops."""
    h, w, c = feature.shape
    out = np.zeros((*size, c))
    for y, x in np.ndindex(*size):
        v = np.clip((y + 0.5) * h / size[0] - 0.5, 0, h - 1)
        u = np.clip((x + 0.5) * w / size[1] - 0.5, 0, w - 1)
        top, left = int(v), int(u)
        below, right = min(top + 1, h - 1), min(left + 1, w - 1)
        upper = feature[top, left] * (1 - u + left) + feature[top, right] * (u - left)
        lower = feature[below, left] * (1 - u + left) + feature[below, right] * (u - left)
        out[y, x] = upper * (1 - v + top) + lower * (v - top)
    return out


def _embedded(case: Case) -> F64:
    fine, coarse = (_mean_3x3(case.features[spec.name][0].astype(np.float64)) for spec in OUTPUTS)
    return np.concatenate([fine, _bilinear(coarse, (8, 6))], axis=2).reshape(48, 8)


def _published(case: Case, support: int, neighbours: int = 1) -> tuple[F64, float]:
    """Patch scores and image score, section 3.3, equations 6 and 7, with every distance written out."""
    queries, bank = _embedded(case), case.arrays["bank"].astype(np.float64)
    distances = np.linalg.norm(queries[:, None] - bank[None], axis=2)
    patch = np.sort(distances, axis=1)[:, :neighbours].mean(axis=1)
    worst = int(patch.argmax())
    nearest = int(distances[worst].argmin())
    around = np.argsort(np.linalg.norm(bank - bank[nearest], axis=1))[:support]
    weight = 1 - np.exp(distances[worst, nearest]) / np.exp(distances[worst, around]).sum()
    return patch.reshape(8, 6), float(weight * patch[worst])


def test_an_embedding_joins_3x3_means_on_the_finer_grid() -> None:
    case = Case()
    found = embed([case.features[spec.name][0] for spec in OUTPUTS])
    # Float32 sums of some ten terms of size 1.
    np.testing.assert_allclose(found, _embedded(case), atol=1e-6)


@pytest.mark.parametrize(("neighbours", "support"), [(1, 4), (1, 9), (3, 2), (1, 60)])
def test_map_and_score_are_as_published(neighbours: int, support: int) -> None:
    case = Case(msgspec.structs.replace(PART, neighbours=neighbours, support=support), seed=neighbours)
    patch, score = _published(case, min(support, 50), neighbours)
    # Squared distances of about 8 in float32: 1e-6 of them.
    assert case.run() == pytest.approx(score, rel=1e-5)
    finished = case.arrays["rows"] @ patch @ case.arrays["columns"].T
    np.testing.assert_allclose(case.map, finished, rtol=1e-5)


def test_a_support_of_one_leaves_the_score_as_it_is() -> None:
    case = Case(msgspec.structs.replace(PART, support=1))
    assert case.run() == pytest.approx(float(_published(case, 2)[0].max()), rel=1e-5)


def test_a_bank_of_one_row_still_tells_good_from_bad() -> None:
    case = Case(rows=1)
    assert case.run() == pytest.approx(
        float(np.linalg.norm(_embedded(case) - case.arrays["bank"], axis=1).max())
    )


def test_a_nearest_row_that_stands_alone_weighs_more_than_one_among_others() -> None:
    def score(spread: float) -> float:
        case = Case(rows=9)
        case.arrays["bank"][:] = 40
        # One row near the queries' side of a group, whose other rows lie `spread` further off.
        case.arrays["bank"][1:] += spread
        case.head = HostKnn(PART, case.arrays, OUTPUTS, KERNELS)
        case.head.bind(case.features, case.map, case.score, None)
        return case.run()

    assert score(0.0) == pytest.approx(0.75 * score(30.0), rel=1e-4)


def test_masked_cells_do_not_count() -> None:
    mask = np.ones((16, 12), np.float32)
    case = Case(msgspec.structs.replace(PART, support=1), mask=mask)
    patch, _ = _published(case, 2)
    row, column = divmod(int(patch.argmax()), 6)
    mask[max(0, 2 * row - 1) : 2 * row + 3, max(0, 2 * column - 1) : 2 * column + 3] = 0
    case.head.bind(case.features, case.map, case.score, mask)
    weights = resized(mask, (8, 6))
    assert weights[row, column] == 0
    assert case.run() == pytest.approx(float((patch * weights).max()), rel=1e-5)
    assert case.score[0] < patch.max()


@pytest.mark.parametrize("name", ["fine", "coarse"])
def test_a_feature_that_is_not_a_number_is_no_score_even_under_a_mask(name: str) -> None:
    case = Case(mask=np.zeros((16, 12), np.float32))
    assert case.run() == 0
    case.features[name][0, 2, 1, 0] = np.nan
    assert np.isnan(case.run())


def test_an_image_that_lies_in_the_bank_scores_nothing() -> None:
    case = Case()
    case.arrays["bank"] = _embedded(case).astype(np.float32)
    case.head = HostKnn(PART, case.arrays, OUTPUTS, KERNELS)
    case.head.bind(case.features, case.map, case.score, None)
    # A true zero under the root of a float32 difference of squares of about 8.
    assert case.run() < 1e-2
    assert case.map.max() < 1e-2


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("bank", np.zeros((50, 7), np.float32), r"bank has shape \(50, 7\); expected \(1 or more rows, 8\)"),
        ("bank", np.zeros((0, 8), np.float32), r"bank has shape \(0, 8\)"),
        ("bank", np.full((9, 8), np.nan, np.float32), "bank of finite numbers"),
        ("rows", np.zeros((16, 9), np.float32), r"rows has shape \(16, 9\); expected \(cells out, 8\)"),
        ("columns", np.zeros(12, np.float32), r"columns has shape \(12,\)"),
        ("columns", None, "no columns"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, value: F32 | None, complaint: str) -> None:
    arrays = {**Case().arrays, name: value}
    with pytest.raises(BundleError, match=complaint):
        HostKnn(PART, {k: v for k, v in arrays.items() if v is not None}, OUTPUTS, KERNELS)


def test_an_output_that_the_network_does_not_have_is_refused() -> None:
    with pytest.raises(BundleError, match="expected \\(1, h, w, C\\) each"):
        HostKnn(msgspec.structs.replace(PART, outputs=("fine", "other")), Case().arrays, OUTPUTS, KERNELS)
