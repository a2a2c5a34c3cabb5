"""A station's store, put together: what the publish thread asks before a verdict goes out."""

from __future__ import annotations

from pathlib import Path

from ..bus.wire import VerdictMessage
from ..output import make_folder, require_writable
from ..sink import Sink
from .config import StoreConfig
from .database import VerdictRow
from .images import ImageSink
from .journal import Journal, Stored


class Recorder:
    """Keeps the row of every verdict, and images through `sinks`."""

    def __init__(self, config: StoreConfig, base: Path) -> None:
        """Makes the folder; `base` is where its path starts.

        Raises:
            ConfigError: it cannot be made or written to.
        """
        folder = base / config.folder
        make_folder(folder)
        require_writable(folder / "verdicts")
        self._wait_us = 1000 * config.wait_ms
        self.journal = Journal(folder, config.durability, config.keep_days)
        quota_bytes = config.image_quota_mb * 1_000_000
        self.sinks: list[Sink] = []
        """What the station must send its verdicts to."""
        if quota_bytes:
            self.sinks.append(ImageSink(folder, self.journal, quota_bytes, config.ok_every))

    @property
    def failed(self) -> bool:
        """Whether records are being lost."""
        return self.journal.failed

    def save(self, message: VerdictMessage, payload: bytes, left_us: int) -> Stored:
        """Stores a verdict, waiting no longer than its deadline allows.

        Args:
            payload: the message as it will go out.
            left_us: time until its deadline; the disk must not make it late.
        """
        row = VerdictRow(
            message.result_id,
            message.boot_id,
            message.seq,
            message.t_pub_us,
            message.trigger_id,
            message.part_id,
            message.verdict,
            " ".join(message.reasons),
            message.score,
            payload,
        )
        return self.journal.save(row, max(0, min(self._wait_us, left_us)))

    def close(self) -> None:
        """After the last verdict and the sinks."""
        self.journal.close()
