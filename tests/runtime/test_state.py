"""States and names on the wire: those of the contract, and no others."""

from __future__ import annotations

import random
import re
import time

import pytest

from runtime.ids import check_id, new_boot_id, new_ulid
from runtime.state import MOVES, RUNNING, State, check_move, state_name


def test_states_have_the_names_and_numbers_of_opc_40100_1() -> None:
    assert {state_name(state): state.value for state in State} == {
        "Preoperational": 1,
        "Halted": 2,
        "Error": 3,
        "Operational": 4,
        "Initialized": 5,
        "Ready": 6,
        "SingleExecution": 7,
        "ContinuousExecution": 8,
    }


def test_a_run_ends_halted_or_in_error_and_nothing_follows() -> None:
    assert {state for state, after in MOVES.items() if not after} == {State.HALTED, State.ERROR}


def test_from_every_running_state_the_camera_may_be_lost_and_a_fault_come() -> None:
    assert all({State.PREOPERATIONAL, State.ERROR} <= MOVES[state] for state in RUNNING)


def test_single_and_continuous_execution_are_left_by_way_of_ready() -> None:
    both = (State.SINGLE_EXECUTION, State.CONTINUOUS_EXECUTION)
    assert all(not (MOVES[state] & RUNNING) - {State.READY} for state in both)


@pytest.mark.parametrize("before", MOVES)
@pytest.mark.parametrize("after", State)
def test_only_the_moves_of_the_table_are_made(before: State, after: State) -> None:
    if after in MOVES[before]:
        check_move(before, after)
    else:
        with pytest.raises(ValueError, match=f"state {before.name} cannot become {after.name}"):
            check_move(before, after)


@pytest.mark.parametrize("name", ["a", "line-1", "A.b_C-9", "x" * 64])
def test_a_name_of_letters_digits_and_a_few_signs_is_taken(name: str) -> None:
    check_id("line", name)


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a/b", "a\n", "stra\u00dfe", "\u0665", "a\0"])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^line is .*; expected 1 to 64 letters, digits, '\.', '_' or '-'$"):
        check_id("line", name)


def test_a_boot_has_a_name_of_its_own() -> None:
    ids = {new_boot_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"[0-9a-f]{16}", each) for each in ids)


def test_a_ulid_is_unique_and_holds_the_time_in_ms() -> None:
    before_ms = time.time_ns() // 1_000_000
    ids = [new_ulid() for _ in range(100)]
    after_ms = time.time_ns() // 1_000_000
    assert len(set(ids)) == 100
    for each in ids:
        assert re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", each)
        stamp_ms = 0
        for digit in each[:10]:
            stamp_ms = 32 * stamp_ms + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(digit)
        assert before_ms <= stamp_ms <= after_ms


def test_seeding_the_common_generator_does_not_repeat_a_name() -> None:
    names = []
    for _ in range(2):
        random.seed(7)
        names.append(new_ulid()[10:])  # without the clock
    assert names[0] != names[1]
