"""Each kernel in CUDA: `<name>.cu` is the kernel, `<name>.py` beside it says how it is launched.

Sources are compiled for the GPU by NVRTC or nvcc, and by g++ for the tests on the CPU. Nothing here needs a
GPU or a driver: a launch is plain data.
"""

from .distance_map import distance_map
from .launch import SOURCES, Launch
from .pattern import pattern
from .pool_norm import pool_norm, pool_norm_scratch

__all__ = ["SOURCES", "Launch", "distance_map", "pattern", "pool_norm", "pool_norm_scratch"]
