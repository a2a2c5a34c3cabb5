"""From CUDA sources to code for a GPU: by NVRTC from a wheel or a toolkit, else by nvcc; kept in a cache.

No GPU and no driver is needed. `sm_87` names real code for one architecture (a cubin), `compute_87` PTX,
which the driver of any later GPU translates. `-Xptxas -v` comes with every compilation, so that a spilled
register is seen where the code is made.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .compilers import CompileError, Compiler, Nvcc, Nvrtc
from .cuda import SOURCES

__all__ = ["CompileError", "Compiled", "Compiler", "Resources", "choose", "compile_kernel", "compilers"]

LINE_INFO = ("-lineinfo",)
"""Profilers and compute-sanitizer then name the source line; the code is the same."""


@dataclass(frozen=True)
class Resources:
    """What one kernel takes, as ptxas reports it."""

    registers: int
    """Per thread."""
    spills: int
    """Bytes of registers that go through memory, stores and loads together; 0 is the rule here."""
    shared: int
    """Static shared memory, bytes per block."""


@dataclass(frozen=True)
class Compiled:
    """A source as code for one architecture."""

    image: bytes
    """Cubin or PTX."""
    log: str
    """What the compiler said."""

    def resources(self) -> dict[str, Resources]:
        """Per kernel of the source; empty for PTX, whose registers the driver hands out."""
        return dict(_resources(self.log))


@lru_cache(maxsize=1)
def compilers() -> tuple[Compiler, ...]:
    """Every compiler that is installed here: NVRTC of each CUDA release, newest first, then nvcc."""
    found: list[Compiler] = sorted(Nvrtc.installed(), key=lambda one: one.version, reverse=True)
    return (*found, *Nvcc.installed())


def choose(arch: str, driver: tuple[int, int] | None = None) -> Compiler:
    """The best compiler for an architecture.

    Args:
        arch: such as "sm_87" or "compute_87".
        driver: newest CUDA release that the driver runs, which is (12, 6) on JetPack 6: code of a later major
            release does not load there. None: any.

    Raises:
        CompileError: there is none; says what is installed and what to install.
    """
    number = int(re.sub(r"\D", "", arch) or 0)
    for one in compilers():
        if number in one.architectures and (driver is None or one.version[0] <= driver[0]):
            return one
    known = "; ".join(f"{one} knows {one.architectures[0]}..{one.architectures[-1]}" for one in compilers())
    limit = "" if driver is None else f" and a driver of CUDA {driver[0]}.{driver[1]}"
    raise CompileError(
        f"no CUDA compiler for {arch}{limit}: {known or 'none is installed'}; "
        f"pip install 'gonogo[{'cuda12' if driver and driver[0] < 13 else 'cuda13'}]'"
    )


def compile_kernel(
    source: Path, arch: str, compiler: Compiler | None = None, cache: Path | None = None
) -> Compiled:
    """The code of one .cu file; compiled once for each content, compiler and architecture.

    Args:
        source: the file; the headers beside it take part in the key.
        arch: "sm_87" for a cubin, "compute_87" for PTX.
        compiler: None chooses one.
        cache: folder; None takes `user_cache()`.

    Raises:
        CompileError: no compiler, or it refuses the source: one line, then the compiler's own words.
    """
    compiler = compiler or choose(arch)
    headers = {path.name: path.read_text("utf-8") for path in sorted(SOURCES.glob("*.cuh"))}
    text = source.read_text("utf-8")
    key = _key([text, *headers, *headers.values(), str(compiler), arch, *LINE_INFO])
    image = (cache or user_cache()) / f"{source.stem}-{arch}-{key}"
    log = image.with_name(image.name + ".log")
    if image.is_file() and log.is_file():
        return Compiled(image.read_bytes(), log.read_text("utf-8"))
    compiled = Compiled(*compiler.compile(source.name, text, headers, arch, LINE_INFO))
    # The log first: who finds the image finds both.
    _write(log, compiled.log.encode())
    _write(image, compiled.image)
    return compiled


def user_cache() -> Path:
    """Folder of this user's compiled kernels; it may be deleted at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "gonogo" / "kernels"


def _key(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, also when two processes compile at once; an unwritable cache is none."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()


def _resources(log: str) -> Iterable[tuple[str, Resources]]:
    """ptxas names a kernel, then its spills, then its registers."""
    entry, spills = "", 0
    for line in log.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)'", line):
            entry, spills = found[1], 0
        elif found := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spills = int(found[1]) + int(found[2])
        elif found := re.search(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?", line):
            yield entry, Resources(int(found[1]), spills, int(found[2] or 0))
