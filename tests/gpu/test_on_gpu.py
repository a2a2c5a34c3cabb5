"""On a real GPU: every kernel's case as it runs on the CPU elsewhere, and the same bits every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from kernels import finish_matrix
from kernels.cuda import Launch
from kernels.device import Device, Memory, open_device, probe
from kernels.workspace import Workspace
from runtime.bundle import GrnrHead
from runtime.heads.cuda_grnr import CudaGrnr
from runtime.network import TensorSpec
from tests.kernels.cuda.case import case_of, kernels_with_a_case

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(probe().reason), reason=probe().reason or "there is a GPU"),
]

REPEATS = 1000


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    opened = open_device()
    yield opened
    opened.close()


def run_on_gpu(device: Device, launches: Launch | Sequence[Launch]) -> None:
    """Runs launches on copies of their arrays, which come back: what `run_on_host` does on the CPU."""
    space = Workspace(device)
    for launch in [launches] if isinstance(launches, Launch) else launches:
        device.load(launch)
        held = {id(a): (a, space.constant(a)) for a in launch.args if isinstance(a, np.ndarray)}
        args = tuple(held[id(a)][1] if id(a) in held else a for a in launch.args)
        space.stream.launch(
            Launch(launch.source, launch.entry, launch.grid, launch.block, args, launch.shared)
        )
        space.stream.sync()
        for array, memory in held.values():
            if array.flags.writeable:
                array[...] = downloaded(space, memory, array)


def downloaded(space: Workspace, memory: Memory, like: np.ndarray[Any, Any]) -> Any:
    """What memory holds, in the shape of an array."""
    staged = space.device.pinned(max(1, like.nbytes))
    space.stream.copy(staged, memory)
    space.stream.sync()
    return staged.view(like.shape, like.dtype).copy()


@pytest.mark.parametrize("kernel", kernels_with_a_case())
def test_kernel_agrees_with_the_reference(device: Device, kernel: str) -> None:
    case = case_of(kernel)
    for given in case.inputs:
        case.check(given, lambda launches: run_on_gpu(device, launches))


@pytest.mark.parametrize(
    "part",
    [
        GrnrHead(outputs=("a", "b"), rings=(3, 2), target="selected", fill="min"),
        GrnrHead(outputs=("a", "b"), rings=(2, 2), target="nearest", score="mean_top", profile=True),
    ],
    ids=["selected", "nearest"],
)
def test_a_thousand_runs_have_the_same_bits(part: GrnrHead) -> None:
    shapes = ((1, 40, 40, 512), (1, 20, 20, 1024))
    arrays = {
        f"{axis}_{i}": finish_matrix(shape[1], 320, 256, 3.0, 32)
        for i, shape in enumerate(shapes)
        for axis in ("rows", "columns")
    }
    outputs = [TensorSpec(name, shape) for name, shape in zip("ab", shapes, strict=True)]
    head = CudaGrnr(part, arrays, outputs, open_device())
    rng = np.random.default_rng(0)
    features = {spec.name: np.abs(rng.normal(size=spec.shape)).astype(np.float32) for spec in outputs}
    found, score = np.zeros(head.map_shape, np.float32), np.zeros(1, np.float32)
    head.bind(features, found, score, None)
    head.run()
    first, first_score = found.copy(), score.copy()
    assert np.isfinite(first).all()
    for _ in range(REPEATS):
        head.run()
        np.testing.assert_array_equal(found, first)
        np.testing.assert_array_equal(score, first_score)
    head.close()
