"""The kernels compiled for 64-bit ARM, run in an emulator: each against its formula, see smoke.cpp."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kernels import native

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
FLAGS = ["-O2", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-pthread"]


@pytest.mark.skipif(
    not (shutil.which(COMPILER) and shutil.which(EMULATOR)),
    reason="no cross compiler (apt-get install g++-aarch64-linux-gnu qemu-user)",
)
def test_every_kernel_agrees_on_arm(tmp_path: Path) -> None:
    sources = sorted(Path(native.__file__).parent.glob("*.cpp"))
    program = tmp_path / "smoke"
    command = [
        COMPILER,
        "-static",
        *FLAGS,
        "-DGONOGO_STAMP=1u",
        *sources,
        Path(__file__).with_name("smoke.cpp"),
    ]
    built = subprocess.run(
        [*map(str, command), "-o", str(program)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    done = subprocess.run([EMULATOR, str(program)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 11
