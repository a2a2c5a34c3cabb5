"""The floor times of the CUDA kernels, and the page that quotes them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.kernel_floors import Floor, table
from kernels.cuda import SOURCES

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"


def test_a_floor_names_the_greater_of_the_two_times() -> None:
    assert Floor("k", "s", 3_350_000, 1_000).row() == "| `k` | s | 3.35 MB | 0.0 M | 1.00 | 0.00 | memory |"
    assert Floor("k", "s", 1_000, 134_000_000).row().endswith("| 0.00 | 2.00 | arithmetic |")


def test_the_page_quotes_the_table() -> None:
    quoted = PAGE.read_text("utf-8").split("<!-- floors -->")[1].split("<!-- /floors -->")[0]
    assert quoted.strip() == table()


def test_the_page_names_every_kernel() -> None:
    text = PAGE.read_text("utf-8")
    assert [path.stem for path in SOURCES.glob("*.cu") if path.stem not in text] == []
