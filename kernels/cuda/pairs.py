"""One or two scales of an image in one launch: what the kernels that know scales have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .launch import blocks

_DEPTH = 32


def paired(args: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The arguments of two scales; where there is one, the second has null pointers and sizes of 0.

    Raises:
        ValueError: no scale, or more than two.
    """
    if not 1 <= len(args) <= 2:
        raise ValueError(f"a launch takes one or two scales, not {len(args)}")
    absent = tuple(type(value)() if isinstance(value, int | float) else None for value in args[0])
    return (*args[0], *(args[1] if len(args) == 2 else absent))


def centre_bytes(channels: int) -> int:
    """Dynamic shared memory for a centre in FP16, filled up to whole slices of channels."""
    return 2 * _DEPTH * blocks(channels, _DEPTH)
