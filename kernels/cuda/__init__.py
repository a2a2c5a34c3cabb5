"""Each kernel in CUDA: `<name>.cu` is the kernel, `<name>.py` beside it says how it is launched.

Sources are compiled for the GPU by NVRTC or nvcc, and by g++ for the tests on the CPU. Nothing here needs a
GPU or a driver: a launch is plain data.
"""

from .bands import Bands, bands
from .distance_map import distance_map
from .distance_rowsum import RowsumScale, distance_rowsum, rowsum_scratch
from .finish_map import ErrorMap, finish_map, finish_scratch
from .knn_distance import MOST_NEIGHBOURS, KnnScale, knn_distance, knn_scratch
from .launch import SOURCES, Launch
from .neighbour_regression import RegressionScale, neighbour_regression
from .pattern import pattern
from .pool_norm import PoolScale, pool, pool_norm, pool_norm_scratch
from .preprocess import normalisation, preprocess
from .score_map import Judge, score_map, score_scratch
from .select_global import MOST_SELECTED, SelectScale, select_global

__all__ = [
    "MOST_NEIGHBOURS",
    "MOST_SELECTED",
    "SOURCES",
    "Bands",
    "ErrorMap",
    "Judge",
    "KnnScale",
    "Launch",
    "PoolScale",
    "RegressionScale",
    "RowsumScale",
    "SelectScale",
    "bands",
    "distance_map",
    "distance_rowsum",
    "finish_map",
    "finish_scratch",
    "knn_distance",
    "knn_scratch",
    "neighbour_regression",
    "normalisation",
    "pattern",
    "pool",
    "pool_norm",
    "pool_norm_scratch",
    "preprocess",
    "rowsum_scratch",
    "score_map",
    "score_scratch",
    "select_global",
]
