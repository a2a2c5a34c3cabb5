"""A GPU behind a small interface: memory, streams, graphs and launches; providers stand in `providers/`.

A stream takes work in order and returns at once; nothing here waits but `sync` and `Mark.wait`. Memory is
asked for at the start and given back by `close`. A device belongs to the thread that opened it. `probe` says
in one line why there is no GPU, before any library is touched that would crash without one.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .cuda import Launch

PROVIDERS = {"cuda-core": "cuda_core", "pycuda": "pycuda"}
"""Name of a provider -> its module in `providers/`, which has `open_device()`; best first."""


class DeviceError(Exception):
    """A GPU cannot be opened here, or was misused; one line that says what is missing or wrong."""


@dataclass(frozen=True)
class Memory:
    """A piece of memory that kernels can reach; what a `Launch` takes as an argument."""

    address: int
    """On the device; aligned to 256 bytes."""
    nbytes: int
    owner: Any
    """What keeps it alive."""
    array: npt.NDArray[np.uint8] | None = None
    """(nbytes,) the same bytes for the CPU; None for memory that only the device reaches."""

    def view(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """The CPU's view of pinned memory, whose first bytes these are.

        Raises:
            ValueError: the CPU does not reach it, or it is smaller.
        """
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self.array is None or size > self.nbytes:
            raise ValueError(
                f"memory: {shape} {np.dtype(dtype)} is no part of {self.nbytes} bytes of the CPU's"
            )
        return self.array[:size].view(dtype).reshape(shape)


class Mark(Protocol):
    """A point in a stream's work."""

    def wait(self) -> None:
        """Blocks this thread, without spinning, until the work before the mark is done."""

    def ms_since(self, earlier: Any) -> float:
        """Milliseconds on the GPU between another mark of the device and this one; both are passed."""


class Graph(Protocol):
    """Work recorded once, enqueued as one."""

    def launch(self) -> None:
        """Enqueues all of it on the stream that it was captured from."""


class Stream(Protocol):
    """Takes work in order and returns at once."""

    @property
    def handle(self) -> int:
        """The driver's own stream, for a network engine that enqueues on it."""

    def launch(self, launch: Launch) -> None:
        """Enqueues a kernel that was loaded."""

    def copy(self, target: Memory, source: Memory) -> None:
        """Enqueues a copy of the smaller one's bytes."""

    def fill(self, target: Memory, byte: int) -> None:
        """Enqueues the setting of every byte."""

    def mark(self, timed: bool = False) -> Mark:
        """Marks the end of the work so far."""

    def capture(self, work: Callable[[], None]) -> Graph:
        """A graph of what `work` enqueues on this stream; nothing of it runs yet.

        Capture is in thread-local mode: other threads may use the GPU meanwhile, as they please.

        Raises:
            DeviceError: the provider has no graphs (`Device.graphs`).
        """

    def sync(self) -> None:
        """Blocks until all work is done."""


class Device(Protocol):
    """One GPU, in its primary context."""

    name: str
    arch: str
    """Such as "sm_87"."""
    graphs: bool
    """Whether streams can capture."""
    fault: tuple[type[Exception], ...]
    """What the provider raises when the GPU fails; final for the process."""

    def memory(self, nbytes: int) -> Memory:
        """Memory of the GPU."""

    def pinned(self, nbytes: int) -> Memory:
        """Memory of the CPU that the GPU reaches too: locked, and mapped at `address`."""

    def stream(self) -> Stream:
        """A new stream, which does not wait for the default one."""

    def load(self, launch: Launch) -> None:
        """Compiles and loads the kernel of a launch, if it was not yet.

        Raises:
            CompileError: there is no compiler, or it refuses.
        """

    def close(self) -> None:
        """Waits for all work and gives everything back."""


@dataclass(frozen=True)
class Probe:
    """What the driver says about this machine."""

    reason: str
    """Why no GPU can be used; empty where one can."""
    devices: int = 0
    cuda: tuple[int, int] = (0, 0)
    """Newest CUDA release that the driver runs."""
    arch: str = ""
    """Of the first device, such as "sm_87"."""


_ANSWERS = {
    35: "the driver is older than the CUDA it is asked for",
    100: "no GPU",
    101: "no such GPU",
    802: "the GPU is not ready yet",
    803: "driver and kernel module are of different releases; reboot",
    804: "this GPU cannot run a newer CUDA than its driver's",
    999: "unknown error; the kernel module may not be loaded",
}


def probe(library: str = "libcuda.so.1") -> Probe:
    """Asks the driver itself, through ctypes: a missing GPU is an answer and never a crash."""
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return Probe(f"no CUDA driver ({library})")
    try:
        return _ask(driver)
    except AttributeError as error:
        return Probe(f"{library} is no CUDA driver: {error}")


def _ask(driver: ctypes.CDLL) -> Probe:
    count, release, major, minor = (ctypes.c_int(0) for _ in range(4))
    code = driver.cuInit(0) or driver.cuDriverGetVersion(ctypes.byref(release))
    code = code or driver.cuDeviceGetCount(ctypes.byref(count))
    if code:
        return Probe(f"the CUDA driver answers {code}: {_ANSWERS.get(code, 'see its documentation')}")
    cuda = (release.value // 1000, release.value % 1000 // 10)
    if count.value == 0:
        return Probe("the CUDA driver finds no GPU", cuda=cuda)
    for attribute, part in ((75, major), (76, minor)):
        driver.cuDeviceGetAttribute(ctypes.byref(part), attribute, 0)
    return Probe("", count.value, cuda, f"sm_{major.value}{minor.value}")


def open_device(provider: str | None = None) -> Device:
    """The first GPU, opened by a provider; None: the first one whose package is installed.

    Raises:
        DeviceError: no GPU, no such provider, or its package is not installed.
    """
    found = probe()
    if found.reason:
        raise DeviceError(f"{found.reason}; head native runs without a GPU")
    missing = []
    for name in PROVIDERS if provider is None else [provider]:
        if name not in PROVIDERS:
            raise DeviceError(f"no provider {name!r}; there are {', '.join(PROVIDERS)}")
        try:
            module = importlib.import_module(f".providers.{PROVIDERS[name]}", __package__)
        except ImportError as error:
            missing.append(f"{name} cannot be imported ({error})")
            continue
        device: Device = module.open_device(found)
        return device
    extra = "pycuda" if provider == "pycuda" else f"cuda{found.cuda[0]}"
    raise DeviceError(f"{'; '.join(missing)}; pip install 'gonogo[{extra}]'")
