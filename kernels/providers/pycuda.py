"""The GPU through PyCUDA, in the primary context that TensorRT and PyTorch share; it knows no CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pycuda import driver

from ..compile import choose, compile_kernel
from ..cuda import SOURCES, Launch
from ..device import DeviceError, Graph, Memory, Probe

FAULTS: tuple[type[Exception], ...] = (driver.Error,)


class PyMark:
    """As `Mark`."""

    def __init__(self, stream: Any, timed: bool) -> None:
        flags = driver.event_flags.BLOCKING_SYNC
        self._event = driver.Event(flags if timed else flags | driver.event_flags.DISABLE_TIMING)
        self._event.record(stream)

    def wait(self) -> None:
        """As in `Mark`."""
        self._event.synchronize()

    def ms_since(self, earlier: PyMark) -> float:
        """As in `Mark`."""
        return float(self._event.time_since(earlier._event))


class PyStream:
    """As `Stream`."""

    def __init__(self, device: PyDevice) -> None:
        self._device, self._stream = device, driver.Stream(driver.stream_flags.NON_BLOCKING)

    @property
    def handle(self) -> int:
        """As in `Stream`."""
        return int(self._stream.handle)

    def launch(self, launch: Launch) -> None:
        """As in `Stream`."""
        arguments = [as_argument(argument) for argument in launch.args]
        self._device.kernel(launch)(
            *arguments, grid=launch.grid, block=launch.block, shared=launch.shared, stream=self._stream
        )

    def copy(self, target: Memory, source: Memory) -> None:
        """As in `Stream`."""
        size = min(target.nbytes, source.nbytes)
        if target.array is not None and source.array is None:
            driver.memcpy_dtoh_async(target.array[:size], source.address, self._stream)
        elif source.array is not None and target.array is None:
            driver.memcpy_htod_async(target.address, source.array[:size], self._stream)
        else:
            driver.memcpy_dtod_async(target.address, source.address, size, self._stream)

    def fill(self, target: Memory, byte: int) -> None:
        """As in `Stream`."""
        driver.memset_d8_async(target.address, byte, target.nbytes, self._stream)

    def mark(self, timed: bool = False) -> PyMark:
        """As in `Stream`."""
        return PyMark(self._stream, timed)

    def capture(self, work: Callable[[], None]) -> Graph:
        """As in `Stream`: always refused."""
        raise DeviceError("pycuda knows no CUDA graphs; take provider cuda-core, or enqueue without a graph")

    def sync(self) -> None:
        """As in `Stream`."""
        self._stream.synchronize()


class PyDevice:
    """As `Device`."""

    graphs = False
    fault = FAULTS

    def __init__(self, found: Probe) -> None:
        """Makes the primary context current in this thread; `pycuda.autoinit` would make its own."""
        driver.init()
        device = driver.Device(0)
        self._context = device.retain_primary_context()
        self._context.push()
        self._driver = found.cuda
        major, minor = device.compute_capability()
        self.name, self.arch = device.name(), f"sm_{major}{minor}"
        self._modules: dict[str, Any] = {}
        self._kernels: dict[tuple[str, str], Any] = {}
        self._given: list[Any] = []

    def memory(self, nbytes: int) -> Memory:
        """As in `Device`."""
        held = driver.mem_alloc(nbytes)
        self._given.append(held)
        return Memory(int(held), nbytes, held)

    def pinned(self, nbytes: int) -> Memory:
        """As in `Device`."""
        array = driver.pagelocked_empty(nbytes, np.uint8, mem_flags=driver.host_alloc_flags.DEVICEMAP)
        self._given.append(array.base)
        return Memory(int(array.base.get_device_pointer()), nbytes, array, array)

    def stream(self) -> PyStream:
        """As in `Device`."""
        return PyStream(self)

    def load(self, launch: Launch) -> None:
        """As in `Device`."""
        if launch.source not in self._modules:
            compiler = choose(self.arch, self._driver)
            compiled = compile_kernel(SOURCES / f"{launch.source}.cu", self.arch, compiler)
            self._modules[launch.source] = driver.module_from_buffer(compiled.image)
        key = (launch.source, launch.entry)
        if key not in self._kernels:
            self._kernels[key] = self._modules[launch.source].get_function(launch.entry)

    def kernel(self, launch: Launch) -> Any:
        """The loaded kernel of a launch.

        Raises:
            DeviceError: it was not loaded.
        """
        try:
            return self._kernels[launch.source, launch.entry]
        except KeyError:
            raise DeviceError(f"kernel {launch.entry} was not loaded before the start") from None

    def close(self) -> None:
        """As in `Device`."""
        self._context.synchronize()
        for held in self._given:
            held.free()
        self._given.clear()
        self._context.pop()


def as_argument(argument: Any) -> Any:
    """An argument of a launch in the width that the kernel declares."""
    if argument is None or isinstance(argument, Memory):
        return np.uintp(argument.address if argument else 0)
    return np.float32(argument) if isinstance(argument, float) else np.int32(argument)


def open_device(found: Probe) -> PyDevice:
    """The first GPU.

    Raises:
        DeviceError: the driver refuses.
    """
    try:
        return PyDevice(found)
    except FAULTS as error:
        raise DeviceError(f"pycuda cannot open the GPU: {error}") from error
