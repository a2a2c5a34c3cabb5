"""How fast the kernels are on one core: native, reference, their peers and the machine's limit, in turn.

    python -m benchmarks.bench_kernels [--only TEXT ...] [--seconds 10] [--json] [--save]
    python -m benchmarks.bench_kernels --gpu [--only TEXT ...] [--save]

Each row of the table is one piece of work; its entrants are timed in turn, so that a busy machine slows all
of them, and the figure is the median CPU time over the rounds. Install the peers with
`pip install torch faiss-cpu numba scikit-learn openvino onnx Pillow`; a missing one is listed as such.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA", "NUMEXPR", "VECLIB")
SLOWS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Some machines set these for old programs; they hold a current OpenBLAS back."""


def main() -> int:
    """Prints the table, or JSON; with --save writes results/kernels.json and kernels.md."""
    arguments = _arguments()
    if arguments.gpu:
        return _on_gpu(arguments)
    _start_clean()
    # NumPy and the peers read their number of threads when they are loaded, not before here.
    from benchmarks.contest import hold
    from benchmarks.kernel_report import Report, save_report, this_run, to_json, to_table
    from benchmarks.kernel_rows import all_rows

    rows = [row for row in all_rows() if _wanted(row.work, arguments.only)]
    if not rows:
        print(f"bench_kernels: no row holds {' or '.join(arguments.only)}", file=sys.stderr)
        return 2
    results = []
    for row in rows:
        print(f"{row.work} ...", file=sys.stderr, flush=True)
        results.append(hold(row, arguments.seconds))
    report = Report(this_run(arguments.seconds), results)
    print(to_json(report) if arguments.json else to_table(report))
    if arguments.save:
        save_report(report, HERE / "results" / "kernels.json", HERE / "kernels.md")
    return 0


def _on_gpu(arguments: argparse.Namespace) -> int:
    """The rows of benchmarks/gpu; one line where there is no GPU."""
    from kernels.device import DeviceError, open_device

    try:
        device = open_device()
    except DeviceError as error:
        print(f"bench_kernels --gpu: {error}", file=sys.stderr)
        return 2
    from benchmarks.gpu.report import run, save, to_table

    report = run(device, arguments.only)
    print(to_table(report))
    if arguments.save:
        save(report, HERE / "results" / "gpu_kernels.json")
    device.close()
    return 0


def _start_clean() -> None:
    """Starts this program again, with one thread everywhere and on one core, unless that is so already."""
    wanted = {f"{name}_NUM_THREADS": "1" for name in THREADS}
    kept = {name: value for name, value in os.environ.items() if name not in SLOWS}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if kept | wanted != dict(os.environ):
        os.execve(
            sys.executable, [sys.executable, "-m", "benchmarks.bench_kernels", *sys.argv[1:]], kept | wanted
        )


def _wanted(work: str, only: list[str]) -> bool:
    return not only or any(text.lower() in work.lower() for text in only)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="rows whose work holds a text")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each row, at least 5 rounds")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--save", action="store_true", help="write results/kernels.json and kernels.md")
    parser.add_argument("--gpu", action="store_true", help="time the CUDA kernels instead (gpu_kernels.json)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
