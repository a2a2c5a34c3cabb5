"""A network that hangs on a script: shows what the line sees when inference does not come back.

Which hangs a station survives, with figures: docs/hangs.md.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from typing import Literal

from ..config import ConfigStruct
from ..network import Buffers, Network, TensorSpec


class Stall(ConfigStruct, frozen=True):
    """One hang."""

    run: int
    """Number of the run it happens at, from 0; those of a station's warm-up (`assembly.WARM_RUNS`) count."""
    kind: Literal["sleep", "hold_gil"]
    """`sleep`: waits as a driver does, other threads go on. `hold_gil`: holds Python's lock, as native code
    does that forgot to release it: no other thread of the process runs."""
    seconds: float
    """How long it lasts, above 0 and at most 3600 s."""

    def __post_init__(self) -> None:
        if self.run < 0 or not 0 < self.seconds <= 3600:
            raise ValueError(
                f"run is {self.run}, seconds {self.seconds}; expected run >= 0 and 0 < seconds <= 3600"
            )


class StallNetwork:
    """Another network, hanging before the scripted runs."""

    def __init__(self, inner: Network, stalls: Sequence[Stall]) -> None:
        """`inner` is run all the same once the hang is over."""
        self.specs: tuple[TensorSpec, ...] = inner.specs
        self._inner = inner
        self._stalls = {stall.run: stall for stall in stalls}
        self._runs = 0

    def bind(self, buffers: Buffers) -> None:
        """As in `Network`."""
        self._inner.bind(buffers)

    def run(self, stream: object | None = None) -> None:
        """As in `Network`, after the hang of this run if there is one."""
        stall, self._runs = self._stalls.get(self._runs), self._runs + 1
        if stall is not None:
            HANGS[stall.kind](stall.seconds)
        self._inner.run(stream)

    def close(self) -> None:
        """As in `Network`."""
        self._inner.close()


def hold_gil(seconds: float) -> None:
    """Sleeps in C with Python's lock held (POSIX): the whole interpreter stands still."""
    # PyDLL, unlike CDLL, keeps the lock during the call.
    ctypes.PyDLL(None).usleep(ctypes.c_uint32(int(1e6 * seconds)))


HANGS = {"sleep": time.sleep, "hold_gil": hold_gil}
