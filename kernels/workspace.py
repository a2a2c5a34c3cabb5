"""The memory of one job on a GPU: asked for at the start, constants brought up once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .device import Device, Memory


class Workspace:
    """Hands out memory of a device; one stream brings constants up, and takes the job's work afterwards."""

    def __init__(self, device: Device) -> None:
        self.device, self.stream = device, device.stream()

    def empty(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> Memory:
        """Memory for an array, of unknown content."""
        return self.device.memory(max(1, int(np.prod(shape)) * np.dtype(dtype).itemsize))

    def constant(self, array: npt.NDArray[Any]) -> Memory:
        """A copy of an array on the GPU, there before whatever the stream takes next."""
        held, staged = self.empty(array.shape, array.dtype), self.device.pinned(max(1, array.nbytes))
        staged.view(array.shape, array.dtype)[...] = array
        self.stream.copy(held, staged)
        return held

    def counters(self, count: int) -> Memory:
        """32-bit integers that are 0."""
        return self.constant(np.zeros(count, np.int32))
