"""What fields of a message may hold; the same for everything on the wire."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ..verdict import SAFE_INTEGER

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
BootId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")]
Ulid = Annotated[str, Meta(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
PartId = Annotated[str, Meta(pattern=r"^[ -~]{1,64}$")]
TriggerId = Annotated[int, Meta(ge=0, lt=2**32)]
Seq = Annotated[int, Meta(ge=1, lt=SAFE_INTEGER)]
Count = Annotated[int, Meta(ge=0, lt=SAFE_INTEGER)]
Counts = Annotated[int, Meta(gt=-SAFE_INTEGER, lt=SAFE_INTEGER)]
StateNumber = Literal[1, 2, 3, 4, 5, 6, 7, 8]


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every message. Unknown fields are ignored when reading: additions are no new version."""
