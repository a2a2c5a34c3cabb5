"""The messages that leave the station, as typed structs: encoder, validator and JSON Schema in one.

`python -m runtime.bus.wire FOLDER` writes the schemas. The contract in words: docs/wire.md.
"""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..health import Health
from ..ledger import Counters
from ..provenance import EngineFacts, Provenance, RecipeFacts
from ..reasons import REASONS
from ..verdict import Latency, Verdict
from .fields import BootId, Count, Counts, Id, PartId, Seq, StateNumber, TriggerId, Ulid, Wire
from .media import MapHeader, ThumbHeader
from .requests import (
    ControlReply,
    ControlRequest,
    RecipeArgs,
    ReplayArgs,
    ResultArgs,
    SimulateArgs,
    TriggerArgs,
)

Kind = Literal["verdict", "state", "hb", "event"]
EventName = Literal[
    "late_result",
    "camera_lost",
    "camera_back",
    "sink_failed",
    "thread_hung",
    "recipe_prepared",
    "recipe_refused",
]


class ImageFacts(Wire, frozen=True):
    """The frame that was judged."""

    w: Count
    h: Count
    channels: Count
    frame_id: Count
    camera_id: Id
    sha256: str | None


class _Message(Wire, frozen=True):
    """What every message on the bus begins with."""

    line: Id
    station: Id
    boot_id: BootId
    t_pub_us: Count


class VerdictMessage(_Message, frozen=True, tag_field="schema", tag="verdict/1"):
    """One per ticket."""

    seq: Seq
    result_id: Ulid
    trigger_id: TriggerId | None
    part_id: PartId | None
    encoder: Counts | None
    verdict: Literal["OK", "NG", "INVALID", "REVIEW"]
    verdict_code: Literal[1, 2, 3, 4]
    reasons: tuple[str, ...]
    score: Annotated[float, Meta(ge=0)] | None
    threshold: float
    pred_score: Annotated[float, Meta(ge=0, le=1)] | None
    image: ImageFacts | None
    frame_gap: Count | None
    t_exposure_us: Count | None
    t_exposure_src: Literal["device_ptp", "device", "driver", "dequeue", "synthetic"] | None
    clock_ok: bool
    t_mono_us: Count | None
    lat_us: Latency
    deadline_us: Count
    late: bool
    recipe: RecipeFacts
    engine: EngineFacts
    health: Health
    quality: dict[str, float] | None
    simulated: bool
    stored: Literal["yes", "queued", "no"]
    counters: Counters
    margin: float | UnsetType = UNSET


class StateMessage(_Message, frozen=True, tag_field="schema", tag="state/1"):
    """A change of state; it goes out before the verdicts it causes."""

    before: StateNumber = msgspec.field(name="from")
    after: StateNumber = msgspec.field(name="to")
    cause: str
    """A reason, or `STARTED`, `CAMERA_BACK`, `STOPPED`."""
    code: Count
    """The reason's number; 0 where the cause is no fault."""
    health: Health
    head_seq: Count
    """Number of the last verdict before it; 0: none yet."""


class Heartbeat(_Message, frozen=True, tag_field="schema", tag="hb/1"):
    """Every 100 ms, whatever else happens."""

    head_seq: Count
    """Number of the last verdict; 0: none yet."""
    state: StateNumber
    health: Health
    uptime_us: Count
    inflight: Count
    """Tickets still owed a verdict."""
    queue_depth: Count
    """Frames waiting for detection."""
    last_frame_age_us: Count | None
    """None: no frame yet."""
    deadline_headroom_us: Counts | None
    """Deadline less the longest total of the last thousand verdicts; None: no verdict yet."""
    recipe: RecipeFacts
    counters: Counters


class EventMessage(_Message, frozen=True, tag_field="schema", tag="event/1"):
    """Something worth a record that is no verdict; the line never acts on it."""

    event: EventName
    severity: Literal["info", "warning", "error", "critical"]
    code: Count
    """Number of a reason; 0: none."""
    detail: str
    result_id: Ulid | None
    """The verdict it belongs to, if any."""
    score: Annotated[float, Meta(ge=0)] | None
    request_id: str | None
    """Of the control request that it finishes, if any."""


SCHEMAS: dict[str, type[msgspec.Struct]] = {
    "verdict-1": VerdictMessage,
    "state-1": StateMessage,
    "hb-1": Heartbeat,
    "event-1": EventMessage,
    "map-1": MapHeader,
    "thumb-1": ThumbHeader,
    "ctl-request-1": ControlRequest,
    "ctl-trigger-args-1": TriggerArgs,
    "ctl-replay-args-1": ReplayArgs,
    "ctl-get_result-args-1": ResultArgs,
    "ctl-prepare_recipe-args-1": RecipeArgs,
    "ctl-simulate-args-1": SimulateArgs,
    "ctl-reply-1": ControlReply,
}
"""Name of the schema file -> its struct."""


def topic(kind: Kind, line: str, station: str) -> bytes:
    """First frame of a bus message; ends with a slash, so that `s1` is no prefix of `s10`."""
    return f"v1/{kind}/{line}/{station}/".encode("ascii")


def to_message(verdict: Verdict, counters: Counters) -> VerdictMessage:
    """The verdict as it goes over the wire; `counters` include it."""
    ticket, judgement, frame, source = verdict.ticket, verdict.judgement, verdict.frame, verdict.provenance
    return VerdictMessage(
        line=source.line,
        station=source.station,
        boot_id=source.boot_id,
        t_pub_us=verdict.t_pub_us,
        seq=verdict.seq,
        result_id=ticket.result_id,
        trigger_id=ticket.trigger_id,
        part_id=ticket.part_id,
        encoder=ticket.encoder,
        verdict=judgement.outcome.name,  # type: ignore[arg-type]
        verdict_code=judgement.outcome.value,
        reasons=judgement.reasons,
        score=judgement.score,
        threshold=judgement.threshold,
        pred_score=judgement.pred_score,
        image=_image(verdict, source),
        frame_gap=None if frame is None else frame.gap,
        t_exposure_us=None if frame is None else frame.t_exposure_us,
        t_exposure_src=None if frame is None else frame.t_exposure_src,  # type: ignore[arg-type]
        clock_ok=verdict.clock_ok,
        t_mono_us=None if frame is None else frame.t_mono_us,
        lat_us=verdict.lat_us,
        deadline_us=verdict.deadline_us,
        late=verdict.late,
        recipe=source.recipe,
        engine=source.engine,
        health=verdict.health,
        quality=None if frame is None or frame.quality is None else asdict(frame.quality),
        simulated=source.simulated,
        stored="no",
        counters=counters,
        margin=_margin(judgement.score, judgement.threshold),
    )


def encode(message: msgspec.Struct) -> bytes:
    """JSON, UTF-8. Numbers were checked when the message's parts were made: NaN would become null here."""
    return msgspec.json.encode(message)


def schemas() -> dict[str, bytes]:
    """File name -> JSON Schema (draft 2020-12) of every message."""
    files = {}
    for name, struct in SCHEMAS.items():
        (reference,), definitions = msgspec.json.schema_components([struct])
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **reference,
            "$defs": definitions,
        }
        files[f"{name}.json"] = (
            msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=1) + b"\n"
        )
    files["reasons.json"] = msgspec.json.format(msgspec.json.encode(REASONS), indent=1) + b"\n"
    return files


def main(folder: Path) -> None:
    """Writes every schema into the folder."""
    for name, data in schemas().items():
        (folder / name).write_bytes(data)


def _image(verdict: Verdict, source: Provenance) -> ImageFacts | None:
    frame = verdict.frame
    if frame is None:
        return None
    return ImageFacts(
        w=frame.width,
        h=frame.height,
        channels=frame.channels,
        frame_id=frame.frame_id,
        camera_id=source.camera_id,
        sha256=None,
    )


def _margin(score: float | None, threshold: float) -> float | UnsetType:
    margin = math.nan if score is None else (score - threshold) / threshold
    return margin if math.isfinite(margin) else UNSET


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "configs/schema"))
