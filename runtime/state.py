"""The station's state, with the names and numbers of OPC 40100-1 (Machine Vision)."""

from __future__ import annotations

import enum
from functools import lru_cache


class State(enum.IntEnum):
    """A trigger is accepted in READY and SINGLE_EXECUTION, a frame is taken in CONTINUOUS_EXECUTION."""

    PREOPERATIONAL = 1
    """Opening, waiting for a lost camera, or finishing what is in flight before the end."""
    HALTED = 2
    """Everything answered and closed; safe to power off."""
    ERROR = 3
    """A fault ended the run; somebody must look."""
    OPERATIONAL = 4
    """What 5 to 8 have in common; never a state of its own."""
    INITIALIZED = 5
    """Camera and detector are open; the golden images are being judged."""
    READY = 6
    """Waits for triggers; nothing is in flight."""
    SINGLE_EXECUTION = 7
    """Triggers are in flight; more are taken while there is room."""
    CONTINUOUS_EXECUTION = 8
    """Runs free: every frame of the source is inspected."""


RUNNING = frozenset({State.READY, State.SINGLE_EXECUTION, State.CONTINUOUS_EXECUTION})
_FROM_RUNNING = frozenset({State.PREOPERATIONAL, State.ERROR})

MOVES: dict[State, frozenset[State]] = {
    State.PREOPERATIONAL: frozenset(
        {State.INITIALIZED, State.READY, State.CONTINUOUS_EXECUTION, State.HALTED, State.ERROR}
    ),
    State.INITIALIZED: frozenset({State.READY, State.PREOPERATIONAL, State.ERROR}),
    State.READY: _FROM_RUNNING | {State.SINGLE_EXECUTION, State.CONTINUOUS_EXECUTION},
    State.SINGLE_EXECUTION: _FROM_RUNNING | {State.READY},
    State.CONTINUOUS_EXECUTION: _FROM_RUNNING | {State.READY},
    State.HALTED: frozenset(),
    State.ERROR: frozenset(),
}
"""From a state to those that may follow."""


def check_move(before: State, after: State) -> None:
    """Raises ValueError for a move that `MOVES` does not hold."""
    if after not in MOVES[before]:
        raise ValueError(f"state {before.name} cannot become {after.name}")


@lru_cache
def state_name(state: State) -> str:
    """`ContinuousExecution`: the name as OPC 40100-1 writes it."""
    return "".join(word.capitalize() for word in state.name.split("_"))
