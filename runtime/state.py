"""The station's state, with the names and numbers of OPC 40100-1 (Machine Vision)."""

from __future__ import annotations

import enum


class State(enum.IntEnum):
    """A trigger is accepted in READY, a frame is taken in CONTINUOUS_EXECUTION, and in no other state."""

    PREOPERATIONAL = 1
    """Opening, warming up, waiting for a lost camera, or finishing what is in flight before a stop."""
    HALTED = 2
    """Everything answered and closed; safe to power off."""
    ERROR = 3
    """A fault ended the run; somebody must look."""
    OPERATIONAL = 4
    INITIALIZED = 5
    READY = 6
    """Waits for triggers."""
    SINGLE_EXECUTION = 7
    CONTINUOUS_EXECUTION = 8
    """Runs free: every frame of the source is inspected."""


RUNNING = frozenset({State.READY, State.CONTINUOUS_EXECUTION})

MOVES: dict[State, frozenset[State]] = {
    State.PREOPERATIONAL: RUNNING | {State.HALTED, State.ERROR},
    State.READY: frozenset({State.PREOPERATIONAL, State.ERROR}),
    State.CONTINUOUS_EXECUTION: frozenset({State.PREOPERATIONAL, State.ERROR}),
    State.HALTED: frozenset(),
    State.ERROR: frozenset(),
}
"""From a state to those that may follow; the numbers 4, 5 and 7 wait for recipes on the wire."""


def check_move(before: State, after: State) -> None:
    """Raises ValueError for a move that `MOVES` does not hold."""
    if after not in MOVES[before]:
        raise ValueError(f"state {before.name} cannot become {after.name}")


def state_name(state: State) -> str:
    """`ContinuousExecution`: the name as OPC 40100-1 writes it."""
    return "".join(word.capitalize() for word in state.name.split("_"))
