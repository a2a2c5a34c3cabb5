"""Makes the README's pictures by playing the demo: what was rejected, and a still of the live table.

python -m benchmarks.make_pictures
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Before numpy is imported, as the front door does it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
from rich.console import Console

from runtime.demo.panel import Panel
from runtime.demo.virtual_plc import Report
from runtime.images.files import load_image
from runtime.process import Signals
from runtime.sinks.overlay import SHEET, OverlaySink
from runtime.verbs.demo import Demo, load_demo, play

DOCS = Path(__file__).parents[1] / "docs"
SECONDS = 12.0
WIDTH_PX = 1200
COLUMNS = 92


def main() -> int:
    """Plays the demo and writes docs/demo.jpg and docs/demo_live.svg."""
    demo = load_demo(None, None, SECONDS, endless=False)
    seen: list[Report] = []
    signals = Signals()
    folder = Path(tempfile.mkdtemp())
    try:
        play(demo, [OverlaySink(folder)], seen.append, signals)
        _write_sheet(folder / SHEET, DOCS / "demo.jpg")
    finally:
        signals.restore()
        shutil.rmtree(folder)
    running = [report for report in seen if report.stage == "running"]
    _write_still(demo, running[-1], DOCS / "demo_live.svg")
    return 0


def _write_sheet(sheet: Path, out: Path) -> None:
    picture = load_image(sheet)
    height = round(picture.shape[0] * WIDTH_PX / picture.shape[1])
    small = cv2.resize(picture, (WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(out), small, [cv2.IMWRITE_JPEG_QUALITY, 85])


def _write_still(demo: Demo, report: Report, out: Path) -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Panel(f"gonogo demo: {demo.web.texture} web, {demo.rate_hz:g} parts/s").render(report))
    console.save_svg(str(out), title="gonogo demo")


if __name__ == "__main__":
    sys.exit(main())
