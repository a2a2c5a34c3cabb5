"""Preprocessing, compiled."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..arrays import F16, F32, U8, Indices
from ..matrices import resize_matrix
from ..resize import check_out, crop
from .library import Kernel

_PREPROCESS = Kernel("preprocess", "pnnnnnnnpppppnpppppi", 3)


class _Axis:
    """The resize matrix of one axis as the kernel reads it: few weights per output, in two orders."""

    def __init__(self, n_in: int, n_out: int) -> None:
        weights = resize_matrix(n_in, n_out).astype(np.float32)
        used = weights > 0
        first, last = used.argmax(axis=1), n_in - used[:, ::-1].argmax(axis=1)
        self.taps = int((last - first).max())
        self.first: Indices = np.minimum(first, n_in - self.taps).astype(np.int64)
        """(n_out,) where the weights of an output start."""
        columns = self.first[:, None] + np.arange(self.taps)
        self.weights: F32 = np.take_along_axis(weights, columns, axis=1)
        """(n_out, taps); zeros where an output needs fewer."""
        self.bands: tuple[Indices, F32, F32] | tuple[None, None, None] = (None, None, None)
        if n_in >= n_out:
            self.bands = _bands(weights)


def _bands(weights: F32) -> tuple[Indices, F32, F32]:
    """A shrinking axis by source positions: each lies between the centres of outputs i and i + 1.

    Returns:
        start: (n_out + 1,) first position of each band i; the first band begins at 0.
        own: (n_in,) the weight of each position in output i.
        ahead: (n_in,) its weight in output i + 1.
    """
    n_out, n_in = weights.shape
    centres = (np.arange(1, n_out) + 0.5) * (n_in / n_out)
    start = np.concatenate([[0], np.ceil(centres - 0.5), [n_in]]).astype(np.int64)
    band = np.repeat(np.arange(n_out), np.diff(start))
    padded = np.concatenate([weights, np.zeros((1, n_in), np.float32)])
    return start, padded[band, np.arange(n_in)], padded[band + 1, np.arange(n_in)]


@lru_cache(maxsize=64)
def _axis(n_in: int, n_out: int) -> _Axis:
    return _Axis(n_in, n_out)


@lru_cache(maxsize=64)
def _normalisation(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[F32, F32]:
    """Factor and summand of each channel."""
    if (len(mean), len(std)) != (3, 3):
        raise ValueError(f"preprocess: mean {mean} and std {std}, expected three numbers each")
    scale = [1 / (255 * s) for s in std]
    shift = [-m / s for m, s in zip(mean, std, strict=True)]
    return np.array(scale, np.float32), np.array(shift, np.float32)


def preprocess(
    image: U8,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    region: tuple[int, int, int, int] | None = None,
    out: F32 | F16 | None = None,
    threads: int = 1,
) -> F32 | F16:
    """As in `reference`; a view whose pixels do not lie side by side is copied first."""
    source = crop(image, region)
    rows, columns = source.shape[:2]
    channels = 1 if source.ndim == 2 else 3
    if source.strides[1:] != (3, 1)[3 - source.ndim :] or source.strides[0] < 0:
        source = np.ascontiguousarray(source)
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"preprocess: size is {size}, expected (height, width) of at least 1 each")
    target = check_out(size, out)
    if not target.flags.carray:
        raise ValueError("preprocess: out is not contiguous or not writable")
    down, across = _axis(rows, height), _axis(columns, width)
    scale, shift = _normalisation(tuple(mean), tuple(std))
    _PREPROCESS(
        (columns, channels, height),
        *(source, source.strides[0], rows, columns, channels, height, width),
        *(down.taps, down.first, down.weights, *down.bands),
        *(across.taps, across.first, across.weights, scale, shift, target, int(target.dtype == np.float16)),
        threads=threads,
    )
    return target
