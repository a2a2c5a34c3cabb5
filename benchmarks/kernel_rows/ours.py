"""Our own kernels as entrants."""

from __future__ import annotations

from benchmarks.contest import Absent, Call
from kernels import native


def native_call(call: Call) -> Call:
    """The call of a native kernel.

    Raises:
        Absent: none was compiled; says why.
    """
    if native.library().functions is None:
        raise Absent(f"no native kernels: {native.library().reason}")
    return call
