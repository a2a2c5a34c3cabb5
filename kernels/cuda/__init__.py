"""Each kernel in CUDA: `<name>.cu` is the kernel, `<name>.py` beside it says how it is launched.

Sources are compiled for the GPU by NVRTC or nvcc, and by g++ for the tests on the CPU. Nothing here needs a
GPU or a driver: a launch is plain data.
"""

from .launch import SOURCES, Launch
from .pattern import pattern

__all__ = ["SOURCES", "Launch", "pattern"]
