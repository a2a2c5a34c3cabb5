"""One launch of a kernel as plain data: what a driver enqueues, and what the tests run on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent
"""Where the kernels' sources lie: `<name>.cu` and the header `device.cuh`."""

Dim = tuple[int, int, int]


@dataclass(frozen=True)
class Launch:
    """A kernel with its grid and arguments; launches of one list run one after another on one stream."""

    source: str
    """Stem of the .cu file."""
    entry: str
    """Name of the kernel in it."""
    grid: Dim
    """Blocks along x, y, z."""
    block: Dim
    """Threads of a block along x, y, z."""
    args: tuple[Any, ...]
    """In the kernel's order: int and float of 32 bits, None for the null pointer; anything else is memory."""
    shared: int = 0
    """Dynamic shared memory, bytes."""


def blocks(count: int, each: int) -> int:
    """How many blocks of `each` cover `count`; at least one, as a grid must not be empty."""
    return max(1, -(-count // each))
