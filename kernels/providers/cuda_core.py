"""The GPU through NVIDIA's `cuda-core`: streams, graphs, memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from cuda import core
from cuda.core._utils.cuda_utils import CUDAError

from ..compile import choose, compile_kernel
from ..cuda import SOURCES, Launch
from ..device import DeviceError, Memory, Probe

FAULTS: tuple[type[Exception], ...] = (CUDAError, RuntimeError)
"""cuda-core raises its CUDAError, to which no public name leads, or a RuntimeError."""

BLOCKING = core.EventOptions(blocking_sync=True)
TIMED = core.EventOptions(timing_enabled=True, blocking_sync=True)


class CoreMark:
    """As `Mark`."""

    def __init__(self, event: core.Event) -> None:
        self._event = event

    def wait(self) -> None:
        """As in `Mark`."""
        self._event.sync()

    def ms_since(self, earlier: CoreMark) -> float:
        """As in `Mark`."""
        return float(self._event - earlier._event)


class CoreGraph:
    """As `Graph`."""

    def __init__(self, graph: core.graph.Graph, stream: core.Stream) -> None:
        self._graph, self._stream = graph, stream
        graph.upload(stream)

    def launch(self) -> None:
        """As in `Graph`."""
        self._graph.launch(self._stream)


class CoreStream:
    """As `Stream`; during a capture, what is enqueued goes to the graph's builder."""

    def __init__(self, device: CoreDevice, stream: core.Stream) -> None:
        self._device, self._stream = device, stream
        self._queue: Any = stream

    @property
    def handle(self) -> int:
        """As in `Stream`."""
        return int(self._stream.handle)

    def launch(self, launch: Launch) -> None:
        """As in `Stream`."""
        config = core.LaunchConfig(grid=launch.grid, block=launch.block, shmem_size=launch.shared)
        arguments = [as_argument(argument) for argument in launch.args]
        core.launch(self._queue, config, self._device.kernel(launch), *arguments)

    def copy(self, target: Memory, source: Memory) -> None:
        """As in `Stream`."""
        size = min(target.nbytes, source.nbytes)
        to, start = (core.Buffer.from_handle(memory.address, size) for memory in (target, source))
        to.copy_from(start, stream=self._queue)

    def fill(self, target: Memory, byte: int) -> None:
        """As in `Stream`."""
        core.Buffer.from_handle(target.address, target.nbytes).fill(byte, stream=self._queue)

    def mark(self, timed: bool = False) -> CoreMark:
        """As in `Stream`."""
        return CoreMark(self._stream.record(options=TIMED if timed else BLOCKING))

    def capture(self, work: Callable[[], None]) -> CoreGraph:
        """As in `Stream`."""
        builder = self._stream.create_graph_builder()
        self._queue = builder.begin_building("thread_local")
        try:
            work()
        finally:
            self._queue = self._stream
            builder.end_building()
        return CoreGraph(builder.complete(), self._stream)

    def sync(self) -> None:
        """As in `Stream`."""
        self._stream.sync()


class CoreDevice:
    """As `Device`."""

    graphs = True
    fault = FAULTS

    def __init__(self, found: Probe) -> None:
        """Makes the primary context current in this thread."""
        self._device = core.Device(0)
        self._device.set_current()
        self._driver = found.cuda
        self.name, self.arch = self._device.name, f"sm_{self._device.arch}"
        self._pinned = core.LegacyPinnedMemoryResource()
        self._setup = self._device.create_stream()
        self._codes: dict[str, core.ObjectCode] = {}
        self._kernels: dict[tuple[str, str], core.Kernel] = {}
        self._given: list[core.Buffer] = []
        self._streams: list[core.Stream] = []

    def memory(self, nbytes: int) -> Memory:
        """As in `Device`."""
        buffer = self._device.memory_resource.allocate(nbytes, stream=self._setup)
        self._setup.sync()
        return self._keep(buffer, nbytes)

    def pinned(self, nbytes: int) -> Memory:
        """As in `Device`; with unified addresses the driver maps all pinned memory where the CPU has it."""
        buffer = self._pinned.allocate(nbytes)
        array = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(int(buffer.handle)))
        return self._keep(buffer, nbytes, array)

    def _keep(self, buffer: core.Buffer, nbytes: int, array: Any = None) -> Memory:
        self._given.append(buffer)
        return Memory(int(buffer.handle), nbytes, buffer, array)

    def stream(self) -> CoreStream:
        """As in `Device`."""
        stream = self._device.create_stream(options=core.StreamOptions(nonblocking=True))
        self._streams.append(stream)
        return CoreStream(self, stream)

    def load(self, launch: Launch) -> None:
        """As in `Device`."""
        if launch.source not in self._codes:
            compiler = choose(self.arch, self._driver)
            compiled = compile_kernel(SOURCES / f"{launch.source}.cu", self.arch, compiler)
            self._codes[launch.source] = core.ObjectCode.from_cubin(compiled.image, name=launch.source)
        key = (launch.source, launch.entry)
        if key not in self._kernels:
            self._kernels[key] = self._codes[launch.source].get_kernel(launch.entry)

    def kernel(self, launch: Launch) -> core.Kernel:
        """The loaded kernel of a launch.

        Raises:
            DeviceError: it was not loaded: a compilation at run time would be a hidden wait.
        """
        try:
            return self._kernels[launch.source, launch.entry]
        except KeyError:
            raise DeviceError(f"kernel {launch.entry} was not loaded before the start") from None

    def close(self) -> None:
        """As in `Device`."""
        for stream in self._streams:
            stream.sync()
        for buffer in self._given:
            buffer.close()
        self._given.clear()


def as_argument(argument: Any) -> Any:
    """An argument of a launch in the width that the kernel declares: a bare int would go as 64 bits."""
    if argument is None:
        return 0  # the null pointer: 64 bits
    if isinstance(argument, Memory):
        return argument.address
    return np.float32(argument) if isinstance(argument, float) else np.int32(argument)


def open_device(found: Probe) -> CoreDevice:
    """The first GPU.

    Raises:
        DeviceError: the driver refuses.
    """
    try:
        return CoreDevice(found)
    except FAULTS as error:
        raise DeviceError(f"cuda-core cannot open the GPU: {error}") from error
