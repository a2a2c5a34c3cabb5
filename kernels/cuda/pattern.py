"""How `pattern.cu` is launched."""

from __future__ import annotations

from typing import Any

from .launch import Launch, blocks

_BLOCK, _PER_THREAD = 256, 4


def pattern(source: Any, target: Any, n: int) -> Launch:
    """Copies n float32 from `source` to `target`."""
    grid = blocks(n, _BLOCK * _PER_THREAD)
    return Launch("pattern", "pattern", (grid, 1, 1), (_BLOCK, 1, 1), (source, target, n))
