"""`ctl/1` as structs: a request, the arguments of each verb that takes some, and the reply."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .fields import BootId, Count, Counts, Id, PartId, Seq, Sha256, StateNumber, TriggerId, Ulid, Wire


class ControlRequest(Wire, frozen=True):
    """What a client asks."""

    p: Literal["ctl/1"]
    # No tag: msgspec would read a request that lacks it.
    id: Annotated[str, Meta(min_length=1, max_length=64)]
    verb: Annotated[str, Meta(max_length=64)]
    args: dict[str, Any] = msgspec.field(default_factory=dict)
    if_state: str | None = None
    """Refuse unless the station is in the state of this name, e.g. `Ready`."""
    t_sent_us: Count | None = None
    """When it was sent, us since the Unix epoch."""
    ttl_ms: Count | None = None
    """Refuse with `EXPIRED` when it arrives later than this after `t_sent_us`; without that: never."""


class NoArgs(Wire, frozen=True):
    """`args` of the verbs that need none."""


class TriggerArgs(Wire, frozen=True):
    """`args` of the verb trigger."""

    trigger_id: TriggerId
    part_id: PartId | None = None
    encoder: Counts | None = None


class ReplayArgs(Wire, frozen=True):
    """`args` of the verb replay: verdicts from `first` to `last`, both included."""

    first: Seq = msgspec.field(name="from")
    last: Seq = msgspec.field(name="to")
    boot_id: BootId | None = None
    """Whose verdicts; absent: those of the boot that is asked."""


class ResultArgs(Wire, frozen=True):
    """`args` of the verb get_result."""

    result_id: Ulid


class RecipeArgs(Wire, frozen=True):
    """`args` of the verb prepare_recipe."""

    id: Id
    version: str | None = None
    """Refuse a recipe of another version."""
    sha256: Sha256 | None = None
    """Refuse a recipe file that holds anything else."""


class SimulateArgs(Wire, frozen=True):
    """`args` of the verb simulate."""

    on: bool


class ControlReply(Wire, frozen=True, tag_field="p", tag="ctl/1"):
    """The one answer to a request."""

    id: str | None
    """Of the request; null when it could not be read."""
    ok: bool
    code: str
    state: StateNumber
    boot_id: BootId
    result: dict[str, Any]
    detail: str
