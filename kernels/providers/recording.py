"""A device without a GPU that writes down what it is asked for: the tests read the order of operations.

Copies and fills happen, in NumPy. What a launch does is the caller's: tests give a function that runs kernels
on the CPU, or none. Like a GPU it refuses kernels that were not loaded, and memory during a capture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..cuda import Launch
from ..device import DeviceError, Memory

Operation = Callable[[], None]


class RecordingMark:
    """As `Mark`; all work before it is done, no time passes."""

    def __init__(self, device: RecordingDevice) -> None:
        self._device = device

    def wait(self) -> None:
        """As in `Mark`."""
        self._device.log.append("wait")

    def ms_since(self, earlier: RecordingMark) -> float:
        """As in `Mark`."""
        return 0.0


class RecordingGraph:
    """As `Graph`."""

    def __init__(self, device: RecordingDevice, operations: list[Operation]) -> None:
        self._device, self._operations = device, operations

    def launch(self) -> None:
        """As in `Graph`."""
        self._device.log.append("graph")
        for operation in self._operations:
            operation()


class RecordingStream:
    """As `Stream`."""

    handle = 0

    def __init__(self, device: RecordingDevice) -> None:
        self._device = device

    def launch(self, launch: Launch) -> None:
        """As in `Stream`."""
        self._device.enqueue(launch.entry, lambda: self._device.execute(launch))

    def copy(self, target: Memory, source: Memory) -> None:
        """As in `Stream`."""
        size = min(target.nbytes, source.nbytes)
        self._device.enqueue("copy", lambda: np.copyto(bytes_of(target)[:size], bytes_of(source)[:size]))

    def fill(self, target: Memory, byte: int) -> None:
        """As in `Stream`."""
        self._device.enqueue("fill", lambda: bytes_of(target).fill(byte))

    def mark(self, timed: bool = False) -> RecordingMark:
        """As in `Stream`."""
        return RecordingMark(self._device)

    def capture(self, work: Callable[[], None]) -> RecordingGraph:
        """As in `Stream`."""
        operations = self._device.begin_capture()
        try:
            work()
        finally:
            self._device.end_capture()
        return RecordingGraph(self._device, operations)

    def sync(self) -> None:
        """As in `Stream`."""
        self._device.log.append("sync")


class RecordingDevice:
    """As `Device`."""

    name = "recording"
    arch = "sm_87"

    def __init__(self, run: Callable[[Launch], None] | None = None, graphs: bool = True) -> None:
        """Takes what a launch does; None: nothing. The launch's memory is NumPy arrays of bytes by then."""
        self.log: list[str] = []
        """In order: memory, load, the entry of each launch, copy, fill, capture, graph, wait, sync, close;
        what is captured stands there once, behind a "captured "."""
        self.graphs = graphs
        self.fault: tuple[type[Exception], ...] = (DeviceError,)
        self._run, self._loaded = run, set[tuple[str, str]]()
        self._captured: list[Operation] | None = None

    def memory(self, nbytes: int) -> Memory:
        """As in `Device`; full of NaN."""
        if self._captured is not None:
            raise DeviceError("memory was asked for during a capture")
        self.log.append("memory")
        array = np.full(nbytes, 0xFF, np.uint8)
        return Memory(array.__array_interface__["data"][0], nbytes, array)

    def pinned(self, nbytes: int) -> Memory:
        """As in `Device`."""
        held = self.memory(nbytes)
        return Memory(held.address, nbytes, held.owner, held.owner)

    def stream(self) -> RecordingStream:
        """As in `Device`."""
        return RecordingStream(self)

    def load(self, launch: Launch) -> None:
        """As in `Device`."""
        if (launch.source, launch.entry) not in self._loaded:
            self.log.append("load")
            self._loaded.add((launch.source, launch.entry))

    def close(self) -> None:
        """As in `Device`."""
        self.log.append("close")

    def enqueue(self, name: str, operation: Operation) -> None:
        """Does it, or keeps it for the graph under construction."""
        self.log.append(name if self._captured is None else f"captured {name}")
        if self._captured is None:
            operation()
        else:
            self._captured.append(operation)

    def execute(self, launch: Launch) -> None:
        """Runs a launch on the arrays behind its memory.

        Raises:
            DeviceError: the kernel was not loaded.
        """
        if (launch.source, launch.entry) not in self._loaded:
            raise DeviceError(f"kernel {launch.entry} was not loaded before the start")
        if self._run is not None:
            args = tuple(bytes_of(a) if isinstance(a, Memory) else a for a in launch.args)
            self._run(Launch(launch.source, launch.entry, launch.grid, launch.block, args, launch.shared))

    def begin_capture(self) -> list[Operation]:
        """The list that fills until `end_capture`.

        Raises:
            DeviceError: made without graphs.
        """
        if not self.graphs:
            raise DeviceError("this provider knows no CUDA graphs")
        self.log.append("capture")
        self._captured = []
        return self._captured

    def end_capture(self) -> None:
        """From here on work is done at once again."""
        self._captured = None


def bytes_of(memory: Memory) -> Any:
    """The NumPy array behind a recording device's memory, pinned or not."""
    return memory.owner
