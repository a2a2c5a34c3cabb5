"""The distance head against its formula written out, and what must never pass as good."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import FORMS, Form, finish_matrix, native, open_kernels
from runtime.bundle import DistanceMapHead
from runtime.errors import BundleError
from runtime.heads.distance_map import HostDistanceMap
from runtime.network import TensorSpec

F32 = NDArray[np.float32]

SHAPES = {"e_1": (1, 8, 6, 5), "d_1": (1, 8, 6, 5), "e_2": (1, 4, 3, 7), "d_2": (1, 4, 3, 7)}
OUTPUTS = tuple(TensorSpec(name, shape) for name, shape in SHAPES.items())
PART = DistanceMapHead(pairs=(("e_1", "d_1"), ("e_2", "d_2")), top=0.05)
HERE = FORMS if native.library().functions is not None else ("reference",)


class Case:
    """A head bound to random features."""

    def __init__(
        self, part: DistanceMapHead = PART, mask: F32 | None = None, form: Form = "reference"
    ) -> None:
        rng = np.random.default_rng(0)
        self.features = {name: rng.normal(0.5, 1, shape).astype(np.float32) for name, shape in SHAPES.items()}
        self.arrays = arrays()
        self.map, self.score = np.zeros((16, 12), np.float32), np.zeros(1, np.float32)
        self.head = HostDistanceMap(part, self.arrays, OUTPUTS, open_kernels(form))
        self.head.bind(self.features, self.map, self.score, mask)

    def run(self) -> float:
        self.head.run()
        return float(self.score[0])


def arrays() -> dict[str, F32]:
    """The matrices of both scales."""
    return {
        "rows_0": finish_matrix(8, 32, 16, 2.0),
        "columns_0": finish_matrix(6, 24, 12, 2.0),
        "rows_1": finish_matrix(4, 32, 16, 2.0),
        "columns_1": finish_matrix(3, 24, 12, 2.0),
    }


def _written_out(case: Case, distance: str) -> NDArray[np.float64]:
    """The mean of both scales' maps, in float64."""
    maps = []
    for i, (first, second) in enumerate(PART.pairs):
        a, b = (case.features[name][0].astype(np.float64) for name in (first, second))
        cells = np.zeros(a.shape[:2])
        for y, x in np.ndindex(*cells.shape):
            u, v = a[y, x], b[y, x]
            cosine = 1 - u @ v / (np.linalg.norm(u) * np.linalg.norm(v))
            cells[y, x] = cosine if distance == "cosine" else np.linalg.norm(u - v)
        maps.append(case.arrays[f"rows_{i}"] @ cells @ case.arrays[f"columns_{i}"].T)
    return np.asarray((maps[0] + maps[1]) / 2)


@pytest.mark.parametrize("form", HERE)
@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_map_and_score_are_the_formula(distance: Any, form: Form) -> None:
    case = Case(msgspec.structs.replace(PART, distance=distance), form=form)
    score = case.run()
    wanted = _written_out(case, distance)
    # Sums of float32 over 7 channels and two small products.
    np.testing.assert_allclose(case.map, wanted, rtol=1e-5)
    assert score == pytest.approx(np.sort(wanted.ravel())[-10:].mean(), rel=1e-5)


def test_it_gives_the_same_twice() -> None:
    case = Case()
    first, before = case.run(), case.map.copy()
    assert case.run() == first
    np.testing.assert_array_equal(case.map, before)


def test_what_is_rebuilt_exactly_scores_nothing_and_a_changed_cell_where_it_lies() -> None:
    case = Case()
    for first, second in PART.pairs:
        case.features[second][...] = case.features[first]
    assert case.run() == pytest.approx(0, abs=1e-6)
    case.features["d_1"][0, 6, 1] *= -1
    assert case.run() > 0.01
    row, column = np.unravel_index(case.map.argmax(), case.map.shape)
    assert (row // 2, column // 2) == (6, 1)


@pytest.mark.parametrize("form", HERE)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_never_gives_a_finite_score(value: float, form: Form) -> None:
    case = Case(mask=np.zeros((16, 12), np.float32), form=form)
    case.features["d_2"][0, 3, 2, 4] = value
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(case.run())


def test_a_mask_takes_its_cells_out_of_the_score_but_not_of_the_map() -> None:
    case = Case()
    case.run()
    whole = case.map.copy()
    masked = Case(mask=np.zeros((16, 12), np.float32))
    assert masked.run() == 0
    np.testing.assert_array_equal(masked.map, whole)


@pytest.mark.parametrize(
    ("pairs", "change", "complaint"),
    [
        ((), {}, "no pairs of outputs"),
        ((("e_1", "d_2"),), {}, "expected one"),
        ((("e_1", "other"),), {}, "shapes .1, 8, 6, 5. and None"),
        (PART.pairs, {"rows_1": None}, "rows_1 has shape None"),
        (PART.pairs, {"columns_1": np.zeros((12, 4), np.float32)}, "columns_1 has shape .12, 4."),
        (PART.pairs, {"rows_1": np.zeros((15, 4), np.float32)}, "rows_1 has shape .15, 4."),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(pairs: Any, change: dict[str, Any], complaint: str) -> None:
    found = {name: value for name, value in {**arrays(), **change}.items() if value is not None}
    part = msgspec.structs.replace(PART, pairs=pairs)
    with pytest.raises(BundleError, match=complaint):
        HostDistanceMap(part, found, OUTPUTS, open_kernels("reference"))
