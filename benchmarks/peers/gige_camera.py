"""A GigE Vision camera on the loopback interface: Aravis' own simulator.

    /usr/bin/python3 gige_camera.py [LOST_SHARE]        # the share of image packets that it drops

Prints one line when it serves. SIGUSR1 makes it drop a fiftieth of its packets, SIGUSR2 none. Runs on the
system's Python: its binding is none of pip's.
"""

from __future__ import annotations

import signal
import sys

import gi

gi.require_version("Aravis", "0.8")
from gi.repository import Aravis  # noqa: E402

LOSSES = {signal.SIGUSR1: 0.02, signal.SIGUSR2: 0.0}


def main(lost_share: float) -> None:
    camera = Aravis.GvFakeCamera.new("lo", "GV01")
    camera.set_property("gvsp-lost-ratio", lost_share)
    if not camera.is_running():
        sys.exit("the camera does not run; is its port (UDP 3956) in use?")
    for number, share in LOSSES.items():
        signal.signal(number, lambda *_, share=share: camera.set_property("gvsp-lost-ratio", share))
    print("serving", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0)
