"""Each kernel compiled for the CPU: names and meaning as in `kernels.reference`, float32 only.

Beyond the reference's arguments a kernel takes `threads`: 1 by default, and no other thread runs then.
Results are new arrays or the caller's `out`; scratch memory is kept for each Python thread, so that a second
call of the same sizes allocates none. The GIL is released while a kernel runs. Where no library is loaded
(`library()` says why) every kernel raises RuntimeError.
"""

from .distance import distance_map
from .features import distance_rowsum, neighbour_mean, pool_norm, select_global
from .finish import fill_border, finish_map
from .library import Library, libraries, library, using
from .neighbours import Bank, Scan, knn_distance, scans
from .regression import neighbour_regression
from .resize import preprocess

__all__ = [
    "Bank",
    "Library",
    "Scan",
    "distance_map",
    "distance_rowsum",
    "fill_border",
    "finish_map",
    "knn_distance",
    "libraries",
    "library",
    "neighbour_mean",
    "neighbour_regression",
    "pool_norm",
    "preprocess",
    "scans",
    "select_global",
    "using",
]
