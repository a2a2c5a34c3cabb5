"""The compiled kernels: the best library that this CPU runs, or why there is none; calls, scratch memory."""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from ..arrays import F32
from .stamp import stamp

SETS = {"v4": "AVX-512", "v3": "AVX2", "v2": "SSE4.2", "neon": "NEON"}
"""Library -> what a reader calls its instruction set; best first."""

MOST_THREADS = 64
"""As in threads.h; more are not started."""

A = TypeVar("A", bound="NDArray[Any]")

_TYPES: dict[str, Any] = {"p": ctypes.c_void_p, "n": ctypes.c_int64, "f": ctypes.c_float, "i": ctypes.c_int}


@dataclass(frozen=True)
class Library:
    """A loaded library, or the reason why there is none."""

    name: str
    """Key of SETS; empty where none is loaded."""
    reason: str
    """Why none is loaded; empty where one is."""
    functions: ctypes.CDLL | None = None

    def __str__(self) -> str:
        return SETS.get(self.name, self.reason)


@lru_cache(maxsize=1)
def libraries() -> tuple[Library, ...]:
    """Every library that this CPU runs, best first; one without functions says why there is none."""
    names = ("neon",) if platform.machine() in ("aarch64", "arm64") else ("v2", "v3", "v4")
    found = [_load(name) for name in names]
    first = found[0]
    if first.functions is None:
        return (first,)
    level = first.functions.gonogo_cpu_level()
    if level < 2:
        return (Library("", "this CPU lacks SSE4.2"),)
    usable = [lib for lib in found[: max(1, level - 1)] if lib.functions is not None]
    return tuple(reversed(usable))


def library() -> Library:
    """The library in use: the best one, or the one chosen by `using`."""
    return _chosen[-1] if _chosen else libraries()[0]


_chosen: list[Library] = []


@contextmanager
def using(lib: Library) -> Iterator[None]:
    """For tests and benchmarks: every kernel call inside, in any thread, goes to this library."""
    _chosen.append(lib)
    try:
        yield
    finally:
        _chosen.pop()


def _load(name: str) -> Library:
    path = Path(__file__).parent / f"_{name}.so"
    if not path.is_file():
        return Library("", "not compiled: a C++17 compiler was missing when gonogo was installed")
    try:
        functions = ctypes.CDLL(str(path))
        built_from = ctypes.c_uint32.in_dll(functions, "gonogo_stamp").value
    except (OSError, ValueError) as error:
        return Library("", f"{path.name} cannot be loaded: {error}")
    if stamp() not in (None, built_from):
        return Library("", f"{path.name} was built from other sources; install gonogo again")
    return Library(name, "", functions)


class Call:
    """One C function by name, called with NumPy arrays and numbers, its GIL released."""

    def __init__(self, name: str, types: str) -> None:
        """`types` has a letter per argument: p array or address, n int64, f float, i int."""
        self._name, self._types = f"gonogo_{name}", [_TYPES[letter] for letter in types]
        self._found: dict[str, Any] = {}

    def __call__(self, *arguments: Any) -> int:
        """What the C function returns; arrays must be contiguous and live until then.

        Raises:
            RuntimeError: no library is loaded.
        """
        lib = library()
        function = self._found.get(lib.name) or self._find(lib)
        return int(function(*[_address(a) if isinstance(a, np.ndarray) else a for a in arguments]))

    def _find(self, lib: Library) -> Any:
        if lib.functions is None:
            raise RuntimeError(f"no native kernels: {lib.reason}")
        function = lib.functions[self._name]
        function.argtypes, function.restype = self._types, ctypes.c_int64
        self._found[lib.name] = function
        return function


class Kernel:
    """A kernel of two C functions: its scratch memory by sizes, and the work."""

    def __init__(self, name: str, types: str, sizes: int) -> None:
        """`types` as in `Call`, without the scratch and thread arguments that end every kernel's list.

        Args:
            sizes: how many int64 arguments `gonogo_<name>_workspace` takes before `threads`.
        """
        self._name = name
        self._run = Call(name, types + "pi")
        self._workspace = Call(f"{name}_workspace", "n" * sizes + "i")

    def __call__(self, sizes: tuple[int, ...], *arguments: Any, threads: int) -> None:
        """Runs the kernel on checked arguments.

        Raises:
            ValueError: the kernel refuses these sizes (its code 1), an index is out of range (2), or threads
                is below 1.
            RuntimeError: no library is loaded.
        """
        if threads < 1:
            raise ValueError(f"{self._name}: threads is {threads}, expected >= 1")
        threads = min(threads, MOST_THREADS)
        needed = self._workspace(*sizes, threads)
        code = 1 if needed < 0 else self._run(*arguments, scratch(needed), threads)
        if code != 0:
            reason = f"sizes {sizes} are not possible" if code == 1 else "an index is out of range"
            raise ValueError(f"{self._name}: {reason}")


_local = threading.local()


def aligned(size: int) -> NDArray[np.uint8]:
    """New memory of that many bytes or more, its address a multiple of 64."""
    memory = np.empty(size + 64, np.uint8)
    return memory[-_address(memory) % 64 :]


def scratch(size: int, use: str = "work") -> int:
    """Address of at least `size` bytes of this thread's scratch memory, aligned to 64; it only ever grows.

    Its content does not outlive the thread's next call for the same `use`.
    """
    memory = getattr(_local, use, None)
    if memory is None or memory.size < size:
        memory = aligned(size)
        setattr(_local, use, memory)
    return _address(memory)


def _address(array: np.ndarray[Any, Any]) -> int:
    writable: Any = array
    try:
        # Five times as fast as what follows, and a kernel takes several arrays.
        return ctypes.addressof(ctypes.c_char.from_buffer(writable))
    except TypeError:  # read-only
        address: int = array.__array_interface__["data"][0]
        return address


def addresses(arrays: Sequence[F32]) -> NDArray[np.uintp]:
    """Pointers to contiguous arrays, in an array: what C takes as `const float* const*`."""
    return np.array([_address(array) for array in arrays], np.uintp)


def checked(name: str, what: str, array: F32, ndim: int) -> F32:
    """The array, contiguous (copied where it is not).

    Raises:
        ValueError: not float32, or another number of axes.
    """
    if array.dtype != np.float32 or array.ndim != ndim or array.size == 0:
        raise ValueError(
            f"{name}: {what} is {array.dtype} {array.shape}, expected float32 with {ndim} axes, none empty"
        )
    return np.ascontiguousarray(array)


def result(name: str, shape: tuple[int, ...], out: F32 | None) -> F32:
    """`out`, or a new float32 array of that shape.

    Raises:
        ValueError: out has another shape or dtype, or is not contiguous or not writable.
    """
    return np.empty(shape, np.float32) if out is None else fitting(name, out, shape, np.float32)


def fitting(name: str, out: A, shape: tuple[int, ...], dtype: npt.DTypeLike) -> A:
    """`out`, which a kernel is to write into.

    Raises:
        ValueError: it has another shape or dtype, or is not contiguous or not writable.
    """
    if out.shape != shape or out.dtype != dtype or not out.flags.carray:
        raise ValueError(
            f"{name}: out is {out.dtype} {out.shape}, "
            f"expected {np.dtype(dtype)} {shape}, contiguous and writable"
        )
    return out
