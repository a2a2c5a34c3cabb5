"""What a station file says of its records."""

from __future__ import annotations

from typing import Literal

from ..config import ConfigStruct


class StoreConfig(ConfigStruct, frozen=True):
    """Records of verdicts and images; one station per folder."""

    folder: str
    """Where they lie, relative to the station file; made where there is none."""
    durability: Literal["full", "normal"] = "full"
    """`full`: what was acknowledged survives a power cut; `normal`: a crash of the program only."""
    wait_ms: int = 5
    """How long a verdict waits for its record, 0..1000; later it goes out with stored: queued."""
    keep_days: int = 90
    """Days with records that are kept, 1..3650; older ones are deleted, database and images."""
    image_quota_mb: int = 2000
    """Images kept, in megabytes, 0..100000000; the oldest leave, OK before others. 0: no images."""
    ok_every: int = 0
    """Of the OK parts each so many-th image is kept; 0: none, 1: all."""

    def __post_init__(self) -> None:
        for what, least, most in (
            ("wait_ms", 0, 1000),
            ("keep_days", 1, 3650),
            ("image_quota_mb", 0, 100_000_000),
            ("ok_every", 0, 1_000_000),
        ):
            value = getattr(self, what)
            if not least <= value <= most:
                raise ValueError(f"{what} is {value}; expected {least}..{most}")
