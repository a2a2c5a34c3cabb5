"""Named arrays as safetensors: plain data, no pickle; the same arrays give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ConfigError


def to_safetensors(arrays: Mapping[str, NDArray[Any]], said: Mapping[str, str] | None = None) -> bytes:
    """The arrays as one safetensors file; `said`: words kept in its header."""
    from safetensors.numpy import save

    return bytes(
        save({name: np.ascontiguousarray(a) for name, a in arrays.items()}, dict(said or {}) or None)
    )


def from_safetensors(data: bytes, where: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays and words of a safetensors file, in the order of its header.

    Raises:
        ConfigError: it is none.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError) as error:
        raise ConfigError(f"{where}: not a safetensors file ({error}); damaged, fit again") from None
    return arrays, header.get("__metadata__", {})
