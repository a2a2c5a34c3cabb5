"""GPU times by CUDA events, the L2 cache flushed before each run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from kernels.cuda import Launch
from kernels.device import Memory, Stream
from kernels.workspace import Workspace

FLUSH_BYTES = 256 << 20
"""Written before each run: several times the largest L2 cache."""
WARM_RUNS, RUNS = 5, 50


def time_launches(space: Workspace, launches: Sequence[Launch], runs: int = RUNS) -> list[float]:
    """Milliseconds of each run of all launches, as one graph where there are graphs."""
    for launch in launches:
        space.device.load(launch)

    def work() -> None:
        for launch in launches:
            space.stream.launch(launch)

    work()
    space.stream.sync()
    start = space.stream.capture(work).launch if space.device.graphs else work
    return time_work(space.stream, space.device.memory(FLUSH_BYTES), start, runs)


def time_work(stream: Stream, flush: Memory, work: Callable[[], None], runs: int) -> list[float]:
    """Milliseconds between two events around each run; a few runs before do not count."""
    times = []
    for run in range(WARM_RUNS + runs):
        stream.fill(flush, run % 251)
        before = stream.mark(timed=True)
        work()
        after = stream.mark(timed=True)
        after.wait()
        if run >= WARM_RUNS:
            times.append(after.ms_since(before))
    return times


def time_torch(work: Callable[[], object], runs: int = RUNS) -> list[float]:
    """The same for work that torch enqueues on its own stream."""
    import torch

    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    times = []
    for run in range(WARM_RUNS + runs):
        flush.fill_(run % 251)
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        work()
        after.record()
        after.synchronize()
        if run >= WARM_RUNS:
            times.append(before.elapsed_time(after))
    return times


def time_cupy(work: Callable[[], object], runs: int = RUNS) -> list[float]:
    """The same for work that CuPy enqueues on the default stream."""
    import cupy

    flush = cupy.empty(FLUSH_BYTES, cupy.uint8)
    times = []
    for run in range(WARM_RUNS + runs):
        flush.fill(run % 251)
        before, after = cupy.cuda.Event(), cupy.cuda.Event()
        before.record()
        work()
        after.record()
        after.synchronize()
        if run >= WARM_RUNS:
            times.append(cupy.cuda.get_elapsed_time(before, after))
    return times


def copy_rate(space: Workspace, nbytes: int = 1 << 30) -> float:
    """Bytes per second that a copy on the GPU reads and writes: the roof of all that memory bounds."""
    source, target = space.device.memory(nbytes), space.device.memory(nbytes)

    def work() -> None:
        space.stream.copy(target, source)

    times = time_work(space.stream, space.device.memory(FLUSH_BYTES), work, 20)
    return 2 * nbytes / (1e-3 * statistics.median(times)) if min(times) > 0 else float("nan")
