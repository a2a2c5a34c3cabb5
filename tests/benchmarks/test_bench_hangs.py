"""The page on hangs says what was measured, and the cases are stations."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks.bench_hangs import CASES, MARKS, PAGE, RESULTS, Result, page, station_text
from runtime.config import parse_yaml
from runtime.sources import FaultyConfig
from runtime.station import Station


def test_the_page_shows_the_result_file() -> None:
    result = msgspec.json.decode(RESULTS.read_bytes(), type=Result)
    assert MARKS[0] + page(result) + MARKS[1] in PAGE.read_text("utf-8")
    assert [(row.hang, row.seconds) for row in result.rows] == CASES
    assert all(row.late_ok == 0 for row in result.rows)


@pytest.mark.parametrize(("hang", "seconds"), CASES)
def test_every_case_is_a_station_with_its_hang(hang: str, seconds: float | None) -> None:
    station = parse_yaml(station_text(hang, seconds), Station, hang)
    assert bool(station.stalls) == hang.startswith("network")
    assert isinstance(station.source, FaultyConfig) == (hang == "source")
