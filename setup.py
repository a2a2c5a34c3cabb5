"""Compiles the native kernels, once for each instruction set; everything else stands in pyproject.toml.

A library that cannot be compiled is left out: NumPy serves, and `gonogo doctor` says so.
"""

from __future__ import annotations

import copy
import os
import platform
import runpy
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
NATIVE = Path("kernels", "native")
X86 = {
    "v2": ["-march=x86-64-v2"],
    "v3": ["-march=x86-64-v3"],
    "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}
ARM: dict[str, list[str]] = {"neon": []}
SETS = {"x86_64": X86, "AMD64": X86, "aarch64": ARM, "arm64": ARM}
# Not -ffast-math: NaN must stay NaN, and sums keep the order in which they are written.
FLAGS = [
    "-O3",
    "-g0",
    "-std=c++17",
    "-Wextra",
    "-Wno-maybe-uninitialized",
    "-Wno-uninitialized",
    "-fvisibility=hidden",
]
FLAGS += ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]


class BuildLibraries(build_ext):
    """Plain shared libraries, loaded by ctypes: no Python in them and none in their names."""

    def get_ext_filename(self, fullname: str) -> str:
        """kernels.native._v3 -> kernels/native/_v3.so, the same for every Python."""
        return str(Path(*fullname.split("."))) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """Each instruction set has objects of its own; they are compiled from the same sources."""
        own = copy.copy(self)
        own.build_temp = str(Path(self.build_temp, ext.name))
        build_ext.build_extension(own, ext)


def libraries() -> list[Extension]:
    """One extension for each instruction set of this machine; none where the compiler is another kind."""
    if os.name != "posix":
        return []
    stamp = runpy.run_path(str(ROOT / NATIVE / "stamp.py"))["stamp"]()
    sources = sorted(str(NATIVE / path.name) for path in (ROOT / NATIVE).glob("*.cpp"))
    headers = sorted(str(NATIVE / path.name) for path in (ROOT / NATIVE).glob("*.h"))
    return [
        Extension(
            f"kernels.native._{name}",
            sources,
            depends=headers,
            define_macros=[("GONOGO_STAMP", f"{stamp}u")],
            extra_compile_args=[*FLAGS, *flags],
            extra_link_args=["-pthread"],
            language="c++",
            optional=True,
        )
        for name, flags in SETS.get(platform.machine(), {}).items()
    ]


setup(ext_modules=libraries(), cmdclass={"build_ext": BuildLibraries})
