"""The two floor times of every CUDA kernel: bytes over bandwidth, operations over rate. Nothing is measured.

    python -m benchmarks.kernel_floors

A kernel cannot be faster than the greater of the two. Figures of the H100 SXM are NVIDIA's published ones;
bytes are those that must come from or go to memory at least once, operations those of the method as written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

BANDWIDTH = 3.35e12
"""Bytes per second."""
FP32, TENSOR = 67e12, 989e12
"""Operations per second: FP32, and FP16 on tensor cores, dense. A product with its addition counts two."""

HEAD = "| kernel | size | bytes | operations | memory, us | arithmetic, us | limit |"
RULE = "| --- | --- | ---: | ---: | ---: | ---: | --- |"


@dataclass(frozen=True)
class Floor:
    """One kernel at one size."""

    kernel: str
    size: str
    bytes: int
    operations: int
    rate: float = FP32

    def row(self) -> str:
        """As a row of the table."""
        memory, arithmetic = 1e6 * self.bytes / BANDWIDTH, 1e6 * self.operations / self.rate
        limit = "memory" if memory >= arithmetic else "arithmetic"
        amounts = f"{self.bytes / 1e6:.2f} MB | {self.operations / 1e6:.1f} M"
        return f"| `{self.kernel}` | {self.size} | {amounts} | {memory:.2f} | {arithmetic:.2f} | {limit} |"


def preprocess(rows: int, columns: int, size: int) -> Floor:
    """A colour image shrunk to size x size in FP16: a pixel enters two rows, then two columns."""
    moved = 3 * rows * columns + 2 * 3 * size * size
    operations = 2 * 2 * 3 * (rows * columns + size * columns)
    return Floor("preprocess", f"{rows} x {columns} x 3 to {size} x {size}", moved, operations)


def pool_norm(h: int, w: int, channels: int) -> Floor:
    """Read once, written once; two additions across, two down, a division and a sum."""
    n = h * w * channels
    return Floor("pool_norm", f"{h} x {w} x {channels}", 4 * n + 4 * channels, 6 * n)


def distance_map(h: int, w: int, channels: int) -> Floor:
    """Two maps read once; three products of two vectors per cell."""
    n = h * w
    return Floor("distance_map", f"{h} x {w} x {channels}", 2 * 2 * n * channels + 4 * n, 6 * n * channels)


def distance_rowsum(n: int, channels: int) -> Floor:
    """Cells read once, means written; every pair's product once, on tensor cores."""
    moved = 2 * n * channels + 4 * n
    return Floor("distance_rowsum", f"{n} x {channels}", moved, n * n * channels, TENSOR)


def select_global(n: int, channels: int, count: int) -> Floor:
    """Distances and the selected cells read once; the mean."""
    moved = 4 * n + 2 * count * channels + 4 * (count + channels)
    return Floor("select_global", f"{count} of {n} x {channels}", moved, count * channels)


def knn_distance(n: int, m: int, channels: int, k: int) -> Floor:
    """Both sides read once, distances and indices written; one product per pair, on tensor cores."""
    moved = 2 * channels * (n + m) + 8 * n * k
    operations = 2 * n * m * channels
    return Floor("knn_distance", f"{n} x {m} x {channels}, k = {k}", moved, operations, TENSOR)


def neighbour_regression(h: int, w: int, channels: int) -> Floor:
    """Features of two parts read once; three products of 16 rows with 8 per cell, on tensor cores."""
    cells = (h - 2) * (w - 2)
    moved = 4 * h * w * channels + 4 * cells
    operations = 3 * 2 * 16 * 8 * channels * cells
    return Floor("neighbour_regression", f"{h} x {w} x {channels}", moved, operations, TENSOR)


def finish_map(cells: tuple[int, int], size: int, taps: tuple[int, int]) -> Floor:
    """Both scales, cells x cells each; a strip as wide as the grid, then the map, `taps` products each."""
    moved = 4 * (sum(c * c for c in cells) + size * size)
    operations = sum(2 * t * size * (c + size) for c, t in zip(cells, taps, strict=True)) + size * size
    return Floor("finish_map", f"{cells[0]}^2 and {cells[1]}^2 to {size} x {size}", moved, operations)


def score_map(size: int) -> Floor:
    """The map once; four digits for the median, four for the score, compared and counted."""
    return Floor("score_map", f"{size} x {size}, profile and mean_top", 4 * size * size, 2 * 8 * size * size)


def floors() -> Iterator[Floor]:
    """Camera sizes, GRNR on wide_resnet50_2 at 320 px, and one size above the caches."""
    yield preprocess(2048, 2448, 320)
    yield preprocess(1080, 1920, 320)
    yield preprocess(8192, 8192, 512)
    yield pool_norm(40, 40, 512)
    yield pool_norm(20, 20, 1024)
    yield pool_norm(256, 256, 512)
    yield distance_map(40, 40, 512)
    yield distance_map(256, 256, 512)
    yield distance_rowsum(1600, 512)
    yield distance_rowsum(400, 1024)
    yield distance_rowsum(16384, 512)
    yield select_global(1600, 512, 40)
    yield knn_distance(1296, 200, 512, 24)
    yield knn_distance(4096, 65536, 128, 1)
    yield knn_distance(4096, 65536, 1024, 10)
    yield neighbour_regression(40, 40, 512)
    yield neighbour_regression(20, 20, 1024)
    yield finish_map((40, 20), 256, (5, 4))
    yield score_map(256)


def table() -> str:
    """All floors in Markdown."""
    return "\n".join([HEAD, RULE, *(floor.row() for floor in floors())])


if __name__ == "__main__":
    print(table())
