"""A training's last state on disk: written whole or not at all, so that a killed fit goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from runtime.errors import ConfigError

from .tensors import from_safetensors, to_safetensors

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class State:
    """What a training needs to go on as if it had never stopped."""

    epoch: int
    """Epochs that are done."""
    tensors: Tensors
    """Weights and the optimiser's memory, by name."""
    losses: tuple[float, ...] = ()
    """Mean loss of each epoch so far."""


class _Facts(msgspec.Struct, frozen=True):
    fit: str
    epoch: int
    losses: tuple[float, ...]


class Checkpoint:
    """The checkpoint of one fit in one file; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def load(self, fit: str) -> State | None:
        """The last state that was saved; None: there is none yet.

        Args:
            fit: digest of everything that decides the training's result.

        Raises:
            ConfigError: the file is damaged, or of another fit.
        """
        if self._path is None or not self._path.exists():
            return None
        tensors, said = from_safetensors(self._path.read_bytes(), str(self._path))
        try:
            facts = msgspec.json.decode(said.get("facts", ""), type=_Facts)
        except msgspec.DecodeError as error:
            raise ConfigError(f"{self._path}: no checkpoint ({error}); remove it to start anew") from None
        if facts.fit != fit:
            raise ConfigError(
                f"{self._path}: is of a fit with other images, settings or versions; remove it to start anew"
            )
        return State(facts.epoch, tensors, facts.losses)

    def save(self, fit: str, state: State) -> None:
        """Replaces the file in one step: whoever pulls the plug finds the old state or the new one.

        Raises:
            ConfigError: it cannot be written.
        """
        if self._path is None:
            return
        facts = msgspec.json.encode(_Facts(fit, state.epoch, state.losses)).decode()
        part = self._path.with_name(self._path.name + ".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(to_safetensors(state.tensors, {"facts": facts}))
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self._path)
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}; expected a place to write") from None

    def remove(self) -> None:
        """Deletes the file when the fit is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
