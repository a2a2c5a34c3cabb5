"""Checkpoints that torch wrote: plain tensors, nothing that runs."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ConfigError

F32 = NDArray[np.float32]


def load_state(path: Path) -> dict[str, F32]:
    """Tensors of a state dict by name, float32, read with `weights_only`: nothing in the file is run.

    Raises:
        ConfigError: torch is missing, no such file, or it holds anything but named tensors.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise ConfigError("package torch is missing; pip install 'gonogo[fit]'") from None
    try:
        with warnings.catch_warnings():
            # What torch warns of in a foreign file ends in one of these errors.
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(f"{path}: not a checkpoint of plain tensors: {reason}") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ConfigError(f"{path}: holds {type(state).__name__}; expected a state dict of named tensors")
    return {str(name): tensor.float().numpy() for name, tensor in state.items()}
