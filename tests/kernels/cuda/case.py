"""What one kernel is tested with: inputs, a check against the reference, mutations that it must notice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from kernels.cuda import Launch

Run = Callable[[Launch | Sequence[Launch]], None]
"""Runs launches, one after another; the check does not know on what, nor in which order of threads."""


@dataclass(frozen=True)
class Mutation:
    """One fault put into a source by replacing text that occurs there once."""

    what: str
    old: str
    new: str


def no_barrier(what: str, before: str) -> Mutation:
    """The mutation that leaves out the barrier behind a piece of source."""
    return Mutation(what, f"{before}__syncthreads();", before)


@dataclass(frozen=True)
class Case:
    """The tests of one kernel; `cases/<kernel>.py` holds it as CASE."""

    inputs: tuple[Any, ...]
    """Sizes that are no multiples of a tile, and fillings that break naive numerics; cheapest first."""
    check: Callable[[Any, Run], None]
    """Runs the kernel on one of the inputs; AssertionError unless the results are right."""
    mutations: tuple[Mutation, ...]


def case_of(kernel: str) -> Case:
    """The case of a kernel."""
    case = import_module(f"tests.kernels.cuda.cases.{kernel}").CASE
    assert isinstance(case, Case)
    return case


def kernels_with_a_case() -> list[str]:
    """Their names, sorted."""
    return sorted(path.stem for path in (Path(__file__).parent / "cases").glob("*.py"))
