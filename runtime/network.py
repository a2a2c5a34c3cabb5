"""The neural graph alone: the interface; implementations stand in `networks/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Buffers = Mapping[str, F32]


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name, shape and dtype of one input or output tensor."""

    name: str
    shape: tuple[int, ...]
    """`image` is (1, 3, H, W); feature maps are channels-last (1, h, w, C)."""
    dtype: str = "float32"


class Network(Protocol):
    """Runs one network in memory it does not own: bound once, run many times, by one thread."""

    specs: tuple[TensorSpec, ...]
    """The input `image` first, then the outputs."""

    def bind(self, buffers: Buffers) -> None:
        """Fixes the memory of every tensor in `specs`, by name; C-contiguous, of that shape and dtype."""

    def run(self, stream: object | None = None) -> None:
        """Reads `image`, writes the outputs; on a GPU it only enqueues on `stream`, the CPU ignores it."""

    def close(self) -> None:
        """Frees what the backend holds."""
