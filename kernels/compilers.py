"""The two ways from CUDA C++ to code: NVRTC, a library, and nvcc, a program; each as it is installed."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

DIALECT = "-std=c++17"
TOOLKITS = ("/usr/local/cuda*/lib64", "/usr/local/cuda*/targets/*/lib")
"""Where a CUDA toolkit, JetPack's too, keeps its libraries."""


class CompileError(Exception):
    """There is no compiler, or it refused: one line, then what the compiler said."""


class Compiler(Protocol):
    """Makes code from source; prints as its name and release, such as "NVRTC 12.6"."""

    @property
    def version(self) -> tuple[int, int]:
        """CUDA release."""

    @property
    def architectures(self) -> tuple[int, ...]:
        """The architectures it knows, ascending; 87 is sm_87 and compute_87."""

    def compile(
        self, name: str, text: str, headers: Mapping[str, str], arch: str, options: Sequence[str]
    ) -> tuple[bytes, str]:
        """Code for `arch` (cubin for sm_*, PTX for compute_*), and what the compiler said.

        Raises:
            CompileError: it refuses.
        """


class Nvrtc:
    """NVIDIA's runtime compiler, through ctypes: releases 12 and 13 live side by side in one process."""

    def __init__(self, path: Path) -> None:
        """Loads the library.

        Raises:
            OSError: it does not load.
        """
        for builtins in path.parent.glob("libnvrtc-builtins.so.*"):
            # NVRTC opens it by its bare name, which is found only where it is loaded already.
            ctypes.CDLL(str(builtins))
        self._library = ctypes.CDLL(str(path))
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)
        count = ctypes.c_int()
        self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self._library.nvrtcGetSupportedArchs(found)
        self.architectures = tuple(sorted(found))

    def __str__(self) -> str:
        return "NVRTC {}.{}".format(*self.version)

    @classmethod
    def installed(cls) -> Iterator[Nvrtc]:
        """One of each release: wheels first, then toolkits."""
        seen = set()
        for path in _libraries():
            try:
                one = cls(path)
            except OSError:
                continue
            if one.version not in seen:
                seen.add(one.version)
                yield one

    def compile(
        self, name: str, text: str, headers: Mapping[str, str], arch: str, options: Sequence[str]
    ) -> tuple[bytes, str]:
        """As in `Compiler`."""
        program, count = ctypes.c_void_p(), len(headers)
        contents = (ctypes.c_char_p * count)(*[header.encode() for header in headers.values()])
        names = (ctypes.c_char_p * count)(*[header.encode() for header in headers])
        source = (text.encode(), name.encode(), count, contents, names)
        self._check("nvrtcCreateProgram", ctypes.byref(program), *source)
        try:
            flags = [f"--gpu-architecture={arch}", DIALECT, *options]
            flags += ["--ptxas-options=-v"] if arch.startswith("sm_") else []
            given = (ctypes.c_char_p * len(flags))(*[flag.encode() for flag in flags])
            code = self._library.nvrtcCompileProgram(program, len(flags), given)
            log = self._read("ProgramLog", program).rstrip(b"\0").decode(errors="replace")
            if code != 0:
                raise _refused(name, self, arch, log)
            return self._read("CUBIN" if arch.startswith("sm_") else "PTX", program), log
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _read(self, what: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._check(f"nvrtcGet{what}Size", program, ctypes.byref(size))
        content = ctypes.create_string_buffer(size.value)
        self._check(f"nvrtcGet{what}", program, content)
        return content.raw

    def _check(self, function: str, *arguments: object) -> None:
        code = self._library[function](*arguments)
        if code != 0:
            raise CompileError(f"{self}: {function} answers {code}")


class Nvcc:
    """The toolkit's compiler, as a program; slower, and the same code."""

    def __init__(self, path: str) -> None:
        """Asks the program for its release and architectures.

        Raises:
            OSError, ValueError: it does not run or does not answer as nvcc.
        """
        self._path = path
        release = re.search(r"release (\d+)\.(\d+)", _output(path, "--version"))
        if release is None:
            raise ValueError(f"{path} --version names no release")
        self.version = (int(release[1]), int(release[2]))
        listed = re.findall(r"compute_(\d+)\b", _output(path, "--list-gpu-arch"))
        self.architectures = tuple(sorted(map(int, listed)))

    def __str__(self) -> str:
        return "nvcc {}.{}".format(*self.version)

    @classmethod
    def installed(cls) -> Iterator[Nvcc]:
        """The one on PATH, or else the toolkit's."""
        path = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
        if path is None:
            return
        try:
            yield cls(path)
        except (OSError, ValueError):
            return

    def compile(
        self, name: str, text: str, headers: Mapping[str, str], arch: str, options: Sequence[str]
    ) -> tuple[bytes, str]:
        """As in `Compiler`."""
        with tempfile.TemporaryDirectory() as folder:
            for file, content in {name: text, **headers}.items():
                Path(folder, file).write_text(content, "utf-8")
            kind = "-cubin" if arch.startswith("sm_") else "-ptx"
            command = [
                self._path,
                kind,
                f"-arch={arch}",
                DIALECT,
                *options,
                "-Xptxas",
                "-v",
                name,
                "-o",
                "out",
            ]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise _refused(name, self, arch, done.stderr)
            return Path(folder, "out").read_bytes(), done.stderr


def _refused(name: str, compiler: object, arch: str, log: str) -> CompileError:
    """Names the first error in the first line; the log follows."""
    first = next((line for line in log.splitlines() if "error" in line), "no reason given")
    return CompileError(f"{name}: {compiler} for {arch} refuses it: {first.strip()}\n{log.strip()}")


def _libraries() -> Iterator[Path]:
    """Every libnvrtc of a major release, wheels before toolkits."""
    spec = importlib.util.find_spec("nvidia")
    for wheels in (spec and spec.submodule_search_locations) or ():
        yield from sorted(Path(wheels).glob("*/lib/libnvrtc.so.1[0-9]"))
    for pattern in TOOLKITS:
        yield from sorted(Path("/").glob(f"{pattern[1:]}/libnvrtc.so.1[0-9]"))


@lru_cache
def _output(path: str, option: str) -> str:
    return subprocess.run([path, option], capture_output=True, text=True, check=True).stdout
