"""What else receives verdicts: the interface, and the sink that keeps them in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .frame import Frame
from .prediction import Prediction
from .verdict import Verdict

GRACE_S = 0.05
"""How long a verdict waits for sinks that still look at earlier parts, s; then it goes without picture."""


@dataclass(frozen=True, slots=True)
class View:
    """The pixels behind a verdict; valid only while `send` runs: whoever needs them longer copies them."""

    frame: Frame | None = None
    """None when the verdict had to go out before its frame came back from detection, or without one."""
    prediction: Prediction | None = None
    """With its map for NG and REVIEW; for OK only when a sink `wants_maps`."""


class Sink(Protocol):
    """Takes verdicts one by one, from the thread `sinks`, after the bus has them.

    `send` returns within a millisecond or two: slow work, such as writing an image, copies what it needs and
    goes on in a thread of the sink's own. One that holds on for longer than `GRACE_S` delays no verdict:
    the parts that come meanwhile reach the sinks later, and without their pictures.
    """

    wants_maps: bool
    """Whether it needs the anomaly map of every frame, not only of NG and REVIEW."""

    def send(self, verdict: Verdict, view: View) -> None:
        """Takes one verdict. What it raises is logged and reported; the next verdict comes all the same."""

    def close(self) -> None:
        """Called once, after the last verdict."""


class CollectSink:
    """Keeps verdicts in a list; for tests, benchmarks and short runs."""

    wants_maps = False

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []

    def send(self, verdict: Verdict, view: View) -> None:
        """As in `Sink`."""
        self.verdicts.append(verdict)

    def close(self) -> None:
        """As in `Sink`."""
