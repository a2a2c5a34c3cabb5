"""Runs one kernel's case on one source, in a process of its own: it may crash, or need the sanitizer.

    python -m tests.kernels.cuda.check KERNEL SOURCE [--sanitize]

Exit code 0: right for all inputs and seeds; 3: a check failed, with the reason; 99: the sanitizer's own;
a crash is negative. Anything else is no finding but a fault of the test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.kernels.cuda.case import case_of
from tests.kernels.cuda.host import COMPILER, ROOT, HostError, run_on_host

SEEDS = (0, 1, 2)
"""0 is the plain order; of the drawn ones two find what a missing barrier breaks."""

FAILED, SANITIZED = 3, 99
"""Exit codes: a check failed; the sanitizer ended the process."""


def check(kernel: str, source: Path, sanitize: bool) -> str:
    """What is wrong with a source; empty where nothing is."""
    case = case_of(kernel)
    try:
        for given in case.inputs:
            for seed in SEEDS[:1] if sanitize else SEEDS:
                case.check(given, partial(run_on_host, seed=seed, source=source, sanitize=sanitize))
    except (AssertionError, HostError) as error:
        return str(error) or repr(error)
    return ""


def run_check(kernel: str, source: Path, sanitize: bool) -> subprocess.CompletedProcess[str]:
    """`check` in another process, with the sanitizer's library loaded first where it is wanted."""
    command = [sys.executable, "-m", "tests.kernels.cuda.check", kernel, str(source)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if sanitize:
        command.append("--sanitize")
        environment["LD_PRELOAD"] = _sanitizer_library()
        environment["ASAN_OPTIONS"] = f"detect_leaks=0:exitcode={SANITIZED}"
        environment["UBSAN_OPTIONS"] = f"exitcode={SANITIZED}"
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=environment, cwd=ROOT
    )


def _sanitizer_library() -> str:
    asked = [str(COMPILER), "-print-file-name=libasan.so"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    wrong = check(sys.argv[1], Path(sys.argv[2]), "--sanitize" in sys.argv)
    print(wrong, file=sys.stderr)
    sys.exit(FAILED if wrong else 0)
