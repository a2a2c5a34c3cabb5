"""The page on faults says what was measured, and no fault passes a part."""

from __future__ import annotations

import msgspec

from benchmarks.bench_faults import CASES, MARKS, PAGE, RESULTS, Case, Result, page, play
from benchmarks.fault_rigs import store, synthetic


def result() -> Result:
    return msgspec.json.decode(RESULTS.read_bytes(), type=Result)


def test_the_page_shows_the_result_file() -> None:
    assert MARKS[0] + page(result()) + MARKS[1] in PAGE.read_text("utf-8")
    names = [row.fault for row in result().rows] + list(result().not_played)
    assert sorted(names) == sorted(case.name for case in CASES)


def test_no_part_was_ok_while_camera_or_picture_was_at_fault_and_none_went_unanswered() -> None:
    # A disk is no fault of the picture, and a frame may come whole between two that did not.
    right = {case.name for case in CASES if case.rig is store or case.fault == "packets"}
    assert {row.fault for row in result().rows if row.ok} <= right
    assert {row.missing for row in result().rows} == {0}


def test_a_case_can_be_played() -> None:
    row = play(Case("5", "black picture", synthetic, "dark"))
    assert set(row.answers) == {"INVALID TOO_DARK"}
    assert row.recovered_ms is not None
    assert (row.ok, row.missing) == (0, 0)
