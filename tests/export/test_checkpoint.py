"""A training's state survives whatever stops it, and is never taken for another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.checkpoint import Checkpoint, State
from runtime.errors import ConfigError

TENSORS: dict[str, NDArray[Any]] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.ones(1, np.float16),
}


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "new" / "fit.checkpoint")
    assert kept.load("mine") is None
    kept.save("mine", State(3, TENSORS, (0.5, 0.25, 0.125)))
    state = kept.load("mine")
    assert state is not None
    assert (state.epoch, state.losses) == (3, (0.5, 0.25, 0.125))
    for name, array in TENSORS.items():
        assert state.tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(state.tensors[name], array)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["fit.checkpoint"]
    kept.remove()
    assert kept.load("mine") is None


def test_without_a_path_nothing_is_kept() -> None:
    Checkpoint(None).save("mine", State(1, TENSORS))
    assert Checkpoint(None).load("mine") is None


def test_a_part_that_a_killed_process_left_is_not_read(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "fit.checkpoint")
    kept.save("mine", State(1, TENSORS))
    (tmp_path / "fit.checkpoint.part").write_bytes(b"half")
    state = kept.load("mine")
    assert state is not None
    assert state.epoch == 1


def test_a_damaged_file_or_another_fit_is_refused(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "fit.checkpoint")
    kept.save("mine", State(1, TENSORS))
    with pytest.raises(ConfigError, match="other images, settings or versions; remove it to start anew"):
        kept.load("yours")
    whole = (tmp_path / "fit.checkpoint").read_bytes()
    for damaged in (whole[:40], b"", b"\xff" * 99):
        (tmp_path / "fit.checkpoint").write_bytes(damaged)
        with pytest.raises(ConfigError, match="not a safetensors file"):
            kept.load("mine")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="expected a place to write"):
        Checkpoint(tmp_path / "file" / "fit").save("mine", State(1, TENSORS))
