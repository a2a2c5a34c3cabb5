"""The table of kernels: which form it gives, and that both forms are callable alike."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import native, open_kernels, reference
from kernels.native import Library


def test_native_kernels_are_taken_where_they_are_and_the_reference_where_they_are_not() -> None:
    best = "reference" if native.library().functions is None else "native"
    assert open_kernels().form == best
    assert open_kernels("reference").form == "reference"
    with native.using(Library("", "not compiled")):
        assert open_kernels().form == "reference"
        with pytest.raises(ValueError, match="not compiled"):
            open_kernels("native")


def test_the_reference_form_is_the_reference_itself() -> None:
    assert open_kernels("reference").neighbour_regression is reference.neighbour_regression


def test_both_forms_take_the_same_arguments() -> None:
    features = np.random.default_rng(0).normal(1, 1, (8, 9, 20)).astype(np.float32)
    pooled = np.empty_like(features)
    for kernels in (open_kernels("reference"), open_kernels(threads=2)):
        found, _, mean = kernels.pool_norm(features, out=pooled)
        assert found is pooled
        errors = kernels.neighbour_regression(found, mean, 0.995, 1e-5)
        assert errors.shape == (6, 7)
        assert kernels.fill_border(errors, (8, 9), 1, "edge").shape == (8, 9)
        assert kernels.preprocess(np.zeros((9, 9), np.uint8), (4, 4), (0, 0, 0), (1, 1, 1)).shape == (3, 4, 4)
