"""Every CUDA kernel on the CPU: against the reference, under AddressSanitizer, and with faults put in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from kernels.cuda import SOURCES
from tests.kernels.cuda.case import Mutation, case_of, kernels_with_a_case
from tests.kernels.cuda.check import FAILED, SANITIZED, SEEDS, run_check
from tests.kernels.cuda.host import COMPILER, run_on_host

KERNELS = kernels_with_a_case()
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no g++")


def test_every_kernel_has_a_case() -> None:
    assert sorted(path.stem for path in SOURCES.glob("*.cu")) == KERNELS


@needs_compiler
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_agrees_with_the_reference(kernel: str, seed: int) -> None:
    case = case_of(kernel)
    for given in case.inputs:
        case.check(given, partial(run_on_host, seed=seed))


@needs_compiler
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_stays_inside_its_memory(kernel: str) -> None:
    done = run_check(kernel, SOURCES / f"{kernel}.cu", sanitize=True)
    assert done.returncode == 0, done.stderr


@needs_compiler
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_mutation_is_killed(kernel: str, tmp_path: Path, killed: dict[str, tuple[int, int]]) -> None:
    mutations = case_of(kernel).mutations
    assert len(mutations) >= 3
    source = (SOURCES / f"{kernel}.cu").read_text("utf-8")
    paths = [tmp_path / str(i) / f"{kernel}.cu" for i in range(len(mutations))]
    for mutation, path in zip(mutations, paths, strict=True):
        _write_mutated(source, mutation, path)
    with ThreadPoolExecutor(2) as pool:
        noticed = list(pool.map(lambda path: _is_killed(kernel, path), paths))
    killed[kernel] = (sum(noticed), len(noticed))
    survivors = [mutation.what for mutation, seen in zip(mutations, noticed, strict=True) if not seen]
    assert survivors == []


def _write_mutated(source: str, mutation: Mutation, path: Path) -> None:
    assert source.count(mutation.old) == 1, f"{mutation.what}: {mutation.old!r} is not in the source once"
    path.parent.mkdir()
    path.write_text(source.replace(mutation.old, mutation.new), "utf-8")


def _is_killed(kernel: str, path: Path) -> bool:
    """Whether the tests notice; a source that does not compile is no mutation."""
    for sanitize in (False, True):
        done = run_check(kernel, path, sanitize)
        assert "refuses the source" not in done.stderr, done.stderr
        if done.returncode != 0:
            assert done.returncode in (FAILED, SANITIZED) or done.returncode < 0, done.stderr
            return True
    return False
