"""Weights of every backbone, drawn at random: what a test needs that looks at graphs and not at features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from export.networks import BACKBONES

F32 = NDArray[np.float32]


def random_state(backbone: str, folded: bool) -> dict[str, F32]:
    """Every tensor that the backbone's file must hold, scaled so that activations stay near 1."""
    layout = BACKBONES[backbone].layout
    assert layout is not None
    rng = np.random.default_rng(3)
    state: dict[str, F32] = {}
    for name, shape in layout.expected(folded).items():
        value = rng.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[1:]))
        state[name] = (np.abs(value) + 0.5 if name.endswith("var") else value).astype(np.float32)
    return state


@pytest.fixture(scope="session", name="random_state")
def random_state_fixture() -> Callable[[str, bool], dict[str, F32]]:
    """Backbone, and whether its norms are folded -> every tensor of its file."""
    return random_state
