"""Each kernel in CUDA: `<name>.cu` is the kernel, `<name>.py` beside it says how it is launched.

Sources are compiled for the GPU by NVRTC or nvcc, and by g++ for the tests on the CPU. Nothing here needs a
GPU or a driver: a launch is plain data.
"""

from .bands import Bands, bands
from .distance_map import distance_map
from .launch import SOURCES, Launch
from .pattern import pattern
from .pool_norm import pool_norm, pool_norm_scratch
from .preprocess import normalisation, preprocess

__all__ = [
    "SOURCES",
    "Bands",
    "Launch",
    "bands",
    "distance_map",
    "normalisation",
    "pattern",
    "pool_norm",
    "pool_norm_scratch",
    "preprocess",
]
