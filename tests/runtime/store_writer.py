"""Kills a writer of records again and again: `python store_writer.py FOLDER KILLS`.

Each child is forked from this warm process, writes rows as fast as the disk takes them, and names each on its
pipe once it is acknowledged; it is killed in the middle. Prints every name that was acknowledged.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from runtime.store.database import VerdictRow
from runtime.store.journal import Journal


def write_for_ever(folder: Path, out: int, child: int) -> None:
    """The child: never returns."""
    journal = Journal(folder)
    for n in range(1_000_000):
        name = f"{child:03d}-{n:06d}"
        now_us = time.time_ns() // 1000
        row = VerdictRow(name, "b" * 16, n + 1, now_us, n, None, "OK", "", 0.5, b"{}" * 600)
        if journal.save(row, 10_000_000) == "yes":
            os.write(out, f"{name}\n".encode())


def main(folder: Path, kills: int) -> None:
    rng = random.Random(1)
    for child in range(kills):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            write_for_ever(folder, writer, child)
        os.close(writer)
        wanted, seen = rng.randrange(12), b""
        while seen.count(b"\n") <= wanted:
            seen += os.read(reader, 4096)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        while more := os.read(reader, 65536):
            seen += more
        os.close(reader)
        # A line that is cut off was acknowledged all the same, but nobody heard of it.
        sys.stdout.write(seen[: seen.rfind(b"\n") + 1].decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
