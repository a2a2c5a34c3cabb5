"""A media socket for the tests, in a process of its own.

python media_process.py ENDPOINT: for each number on a line of stdin, shows so many NG parts with maps of
256 kB, and prints its resident memory, bytes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from runtime.bus.media import Media, map_message
from runtime.health import Health
from runtime.ids import new_ulid
from runtime.prediction import MapToImage, Prediction
from runtime.scripted import scripted_terms
from runtime.terms import Terms
from runtime.ticket import Ticket
from runtime.verdict import FrameFacts, Latency, Verdict, decide


def main(endpoint: str) -> None:
    media = Media(endpoint)
    media.wait()  # for the viewer
    terms = scripted_terms()
    seen = Prediction(2.0, np.zeros((256, 256), np.float32), MapToImage(0, 0, 1, 1))
    for line in sys.stdin:
        for number in range(1, int(line) + 1):
            media.send(*map_message(_verdict(number, terms), seen))
        print(_resident(), flush=True)


def _verdict(seq: int, terms: Terms) -> Verdict:
    return Verdict(
        seq=seq,
        judgement=decide(2.0, terms.thresholds),
        ticket=Ticket(seq, 0, terms.deadline_us, new_ulid(), terms),
        frame=FrameFacts(seq, 256, 256, 1, 0, 1, "synthetic", 1),
        lat_us=Latency(0, 0, 0, 0, 0, 0, 0, 1),
        late=False,
        t_pub_us=1,
        clock_ok=True,
        health=Health("ok", ()),
    )


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main(sys.argv[1])
