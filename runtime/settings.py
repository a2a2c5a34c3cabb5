"""What a pipeline is told at the start: plain values, no files and no open things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .channel import Policy
from .images.sample import Box
from .provenance import Provenance
from .quality import QualityLimits
from .terms import Terms, Thresholds

TriggerMode = Literal["software", "free_run"]
"""Who says that a part is there: a request on the control socket, or the source with every frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Fixed from start to stop."""

    provenance: Provenance
    thresholds: Thresholds
    deadline_ms: float
    """From the trigger (or capture, in free run) to the verdict."""
    trigger: TriggerMode = "software"
    policy: Policy = "drop_oldest"
    """What a full queue of frames does."""
    queue: int = 4
    """Triggers that may wait for capture, and frames that may wait for detection."""
    bus: str = "tcp://127.0.0.1:5555"
    control: str = "tcp://127.0.0.1:5556"
    frame_timeout_ms: int | None = None
    """How long a trigger waits for its frame; None: half the deadline."""
    quality: QualityLimits | None = None
    """Limits of a sound picture; None: no frame is looked at before detection."""
    box: Box | None = None
    """What is inspected; None: the whole frame."""
    heartbeat_ms: int = 100
    stop_timeout_ms: int = 2000
    """How long a stop waits for frames in flight and for threads that hang."""

    @property
    def terms(self) -> Terms:
        """What these settings come down to for one part."""
        # Half the deadline: a frame that comes later could not be judged in time.
        wait_ms = self.deadline_ms / 2 if self.frame_timeout_ms is None else self.frame_timeout_ms
        return Terms(
            provenance=self.provenance,
            thresholds=self.thresholds,
            deadline_us=round(1000 * self.deadline_ms),
            frame_wait_ms=max(1, round(wait_ms)),
            quality=self.quality,
            box=self.box,
        )
