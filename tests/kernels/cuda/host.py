"""Runs the CUDA kernels on the CPU: g++ compiles them with cuhost.h, the threads of a block are fibers."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.cuda import SOURCES, Launch

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CACHE = ROOT / ".pytest_cache" / "cuda_host"
COMPILER = shutil.which("g++")
FLAGS = ["-std=gnu++17", "-O1", "-fPIC", "-fno-strict-aliasing", "-Wall", "-Wextra", "-Werror"]
FLAGS += ["-Wno-unknown-pragmas", "-Wno-unused-parameter", "-Wno-unused-function", "-Wno-unused-variable"]
SANITIZE = ["-fsanitize=address,alignment,bounds", "-fno-sanitize-recover=all", "-g1"]
GUARD = 512
"""Bytes before and behind each array of a launch; whoever reads them reads NaN, a write is an error."""


class HostError(Exception):
    """A launch did what a GPU answers with garbage or a hang."""


class Program:
    """One .cu file, compiled for the CPU."""

    def __init__(self, library: Path, guard: int) -> None:
        self._functions = ctypes.CDLL(str(library))
        self._functions.host_launch.restype = ctypes.c_char_p
        self._guard = guard

    def run(self, launch: Launch, seed: int) -> None:
        """Runs one launch; arrays among its arguments are read and written.

        Args:
            seed: of the order of threads and blocks; 0 is the plain order.

        Raises:
            HostError: threads miss each other at a barrier or in a warp, or a write left its array.
        """
        letters = self._letters(launch.entry)
        if len(letters) != len(launch.args) or "?" in letters:
            raise HostError(f"{launch.entry} takes {letters!r}, the launch has {len(launch.args)} arguments")
        # An array that a kernel takes twice is one piece of memory.
        held = {id(a): _Guarded(a, self._guard) for a in launch.args if isinstance(a, np.ndarray)}
        given = [held.get(id(argument), argument) for argument in launch.args]
        values = [_value(launch.entry, *pair) for pair in zip(letters, given, strict=True)]
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
        grid, block = (ctypes.c_uint32 * 3)(*launch.grid), (ctypes.c_uint32 * 3)(*launch.block)
        thread = ctypes.cast(self._functions[f"{launch.entry}_thread"], ctypes.c_void_p)
        shared, order = ctypes.c_uint64(launch.shared), ctypes.c_uint64(seed)
        error = self._functions.host_launch(thread, grid, block, shared, pointers, order)
        if error is not None:
            raise HostError(f"{launch.entry}, {error.decode()}")
        for memory in held.values():
            memory.give_back(launch.entry)

    def _letters(self, entry: str) -> str:
        function = self._functions[f"{entry}_parameters"]
        function.restype = ctypes.c_char_p
        return str(function().decode())


class _Guarded:
    """A copy of an array between guards; with a guard of 0 the array itself, watched by the sanitizer."""

    def __init__(self, array: npt.NDArray[Any], guard: int) -> None:
        if not array.flags.c_contiguous:
            raise HostError("an array of a launch is not contiguous")
        self._array, self._guard = array, guard
        self._memory = np.full(2 * guard + 256 + array.nbytes, 0xFF, np.uint8)
        # On a multiple of 256 bytes, as the driver's memory is.
        first = guard + -(_address(self._memory) + guard) % 256
        self._inside = slice(first, first + array.nbytes)
        self._memory[self._inside] = np.frombuffer(array.tobytes(), np.uint8)
        self.address = _address(self._memory) + first if guard else _address(array)

    def give_back(self, entry: str) -> None:
        """Copies what the kernel wrote; raises HostError where it wrote elsewhere."""
        if not self._guard:
            return
        array = self._array
        if (np.delete(self._memory, self._inside) != 0xFF).any():
            raise HostError(f"{entry} wrote beside an array {array.dtype} {array.shape}")
        if array.flags.writeable:
            array[...] = self._memory[self._inside].view(array.dtype).reshape(array.shape)


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


_SCALARS: dict[str, tuple[type, Any]] = {
    "i": (int, ctypes.c_int32),
    "l": (int, ctypes.c_int64),
    "f": (float, ctypes.c_float),
}


def _value(entry: str, letter: str, argument: Any) -> Any:
    """A C value of the parameter's type.

    Raises:
        HostError: the argument is of another kind.
    """
    if letter == "p" and (argument is None or isinstance(argument, _Guarded)):
        return ctypes.c_void_p(argument.address if argument else None)
    if letter == "p" or not isinstance(argument, _SCALARS[letter][0]):
        raise HostError(f"{entry}: {argument!r} does not fit a parameter {letter!r}")
    return _SCALARS[letter][1](argument)


def run_on_host(
    launches: Launch | Sequence[Launch], seed: int = 0, source: Path | None = None, sanitize: bool = False
) -> None:
    """Runs launches one after another.

    Args:
        seed: of the order of threads and blocks; 0 is the plain order.
        source: takes the place of the kernel of the same name.
        sanitize: see `compiled`.

    Raises:
        HostError: see `Program.run` and `compiled`.
    """
    for launch in [launches] if isinstance(launches, Launch) else launches:
        named = SOURCES / f"{launch.source}.cu"
        path = source if source is not None and source.stem == launch.source else named
        compiled(path, sanitize).run(launch, seed)


def poisoned(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array in which every element that is not written shows: NaN, or -1 in integers."""
    filled = np.empty(shape, dtype)
    filled.view(np.uint8)[...] = 0xFF
    return filled


@cache
def compiled(source: Path, sanitize: bool = False) -> Program:
    """The program of a .cu file; compiled once for each content.

    Args:
        sanitize: with AddressSanitizer, whose library must be loaded before Python (LD_PRELOAD).

    Raises:
        HostError: there is no compiler, or it refuses the source.
    """
    if COMPILER is None:
        raise HostError("no g++")
    text = source.read_text("utf-8")
    entries = re.findall(r'extern "C" __global__ void (?:__launch_bounds__\(\w+\)\s+)?(\w+)\(', text)
    unit = f'#include "device.cuh"\n#line 1 "{source.name}"\n{text}\n'
    unit += "".join(f"HOST_KERNEL({entry})\n" for entry in entries)
    flags = [*FLAGS, *(SANITIZE if sanitize else [])]
    scheduler = _built((HERE / "cuhost.cpp").read_text("utf-8"), ".o", [*flags, "-O2", "-c"])
    return Program(_built(unit, ".so", [*flags, "-shared"], scheduler), 0 if sanitize else GUARD)


def _built(unit: str, suffix: str, flags: list[str], *objects: Path) -> Path:
    """The output of g++ for one text, from the cache where it lies there."""
    headers = [(HERE / "cuhost.h").read_text("utf-8"), (SOURCES / "device.cuh").read_text("utf-8")]
    key = hashlib.sha256("\0".join([unit, *flags, *map(str, objects), *headers]).encode()).hexdigest()
    output = CACHE / f"{key[:24]}{suffix}"
    if output.is_file():
        return output
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = output.with_suffix(f".{os.getpid()}.tmp")
    command = [str(COMPILER), *flags, f"-I{HERE}", f"-I{SOURCES}", "-x", "c++", "-"]
    command += ["-x", "none", *map(str, objects), "-o", str(partial)]
    done = subprocess.run(command, input=unit, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HostError(f"g++ refuses the source:\n{done.stderr}")
    partial.rename(output)
    return output
