"""The messages: what is sent fits its schema, what is read may have more in it, and no number gets lost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bus import wire
from runtime.bus.media import map_message, thumb_message
from runtime.bus.requests import (
    ControlReply,
    ControlRequest,
    RecipeArgs,
    ReplayArgs,
    ResultArgs,
    SimulateArgs,
    TriggerArgs,
)
from runtime.bus.wire import (
    SCHEMAS,
    EventMessage,
    Heartbeat,
    StateMessage,
    VerdictMessage,
    encode,
    schemas,
    to_message,
    topic,
)
from runtime.health import Health
from runtime.ids import new_boot_id, new_ulid
from runtime.ledger import Counters
from runtime.prediction import MapToImage, Prediction
from runtime.provenance import EngineFacts, Provenance, RecipeFacts
from runtime.terms import Terms, Thresholds
from runtime.ticket import Ticket
from runtime.verdict import SAFE_INTEGER, FrameFacts, Latency, Verdict, decide, invalid

FOLDER = Path(__file__).parents[2] / "configs" / "schema"
LARGEST = SAFE_INTEGER - 1
PROVENANCE = Provenance(
    "l1",
    "s2",
    RecipeFacts("r", "3.1", 12, "ab" * 32),
    EngineFacts("e", "cd" * 32, "onnxruntime", "cpu"),
    "cam",
    True,
)
COUNTERS = Counters(4, 1, 1, 1, 0, 0)
HEALTH = Health("degraded", ("CLOCK",))
HEAD: dict[str, Any] = {"line": "l1", "station": "s2", "boot_id": new_boot_id(), "t_pub_us": LARGEST}
THRESHOLDS = Thresholds(0.5, 0.3)
TERMS = Terms(PROVENANCE, THRESHOLDS, 250_000, 100)


def verdict(score: float | None, **changes: Any) -> Verdict:
    """A verdict on a score; None: on a part without a frame."""
    base = Verdict(
        seq=1,
        judgement=invalid("NO_FRAME", THRESHOLDS) if score is None else decide(score, THRESHOLDS),
        ticket=Ticket(1, 0, 250_000, new_ulid(), TERMS, 2**32 - 1, "SN 000123", -LARGEST),
        frame=None if score is None else FrameFacts(9912, 1280, 1024, 1, 0, LARGEST, "device_ptp", LARGEST),
        lat_us=Latency(1, 2, 3, 4, 5, 6, 7, 250_000),
        late=False,
        t_pub_us=LARGEST,
        clock_ok=True,
        health=HEALTH,
    )
    return replace(base, **changes)


def message_of(score: float | None, **changes: Any) -> VerdictMessage:
    return to_message(verdict(score, **changes), COUNTERS)


BEAT = Heartbeat(
    **HEAD,
    head_seq=0,
    state=6,
    health=HEALTH,
    uptime_us=1,
    inflight=0,
    queue_depth=0,
    last_frame_age_us=None,
    deadline_headroom_us=-5,
    recipe=PROVENANCE.recipe,
    counters=COUNTERS,
)
STATE = StateMessage(**HEAD, before=1, after=6, cause="STARTED", code=0, health=HEALTH, head_seq=0)
EVENT = EventMessage(
    **HEAD,
    event="late_result",
    severity="warning",
    code=4001,
    detail="x",
    result_id=new_ulid(),
    score=0.7,
    request_id=None,
)
REPLY = ControlReply(
    id=None, ok=False, code="BAD_REQUEST", state=6, boot_id=new_boot_id(), result={}, detail="no JSON"
)
TRIGGER = TriggerArgs(trigger_id=0, part_id=" ~", encoder=LARGEST)
SEEN = Prediction(0.9, np.zeros((4, 5), np.float32), MapToImage(0, 0, 8, 8))
EXAMPLES: dict[str, list[tuple[str, msgspec.Struct]]] = {
    "verdict-1": [(str(score), message_of(score)) for score in (0.1, 0.4, 0.9, math.nan, None)],
    "hb-1": [("", BEAT)],
    "state-1": [("", STATE)],
    "event-1": [("", EVENT)],
    "map-1": [("", map_message(verdict(0.9), SEEN)[0])],
    "thumb-1": [("", thumb_message(verdict(0.1), np.zeros((1024, 1280), np.uint8))[0])],
    "ctl-request-1": [("", ControlRequest(p="ctl/1", id="a", verb="trigger", args={"trigger_id": 1}))],
    "ctl-trigger-args-1": [("", TRIGGER)],
    "ctl-replay-args-1": [("", ReplayArgs(first=1, last=LARGEST))],
    "ctl-get_result-args-1": [("", ResultArgs(result_id=new_ulid()))],
    "ctl-prepare_recipe-args-1": [("", RecipeArgs(id="carpet", version="2", sha256="ab" * 32))],
    "ctl-simulate-args-1": [("", SimulateArgs(on=True))],
    "ctl-reply-1": [("", REPLY)],
}
ALL = [(name, message) for name, examples in EXAMPLES.items() for _, message in examples]
IDS = [f"{name} {what}".strip() for name, examples in EXAMPLES.items() for what, _ in examples]


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def numbers(value: Any) -> Iterator[float]:
    """Every number inside."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from numbers(inner)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


def ordered(value: Any) -> Any:
    """The same with its lists sorted: versions of msgspec write alternatives in different orders."""
    if isinstance(value, list):
        return sorted(map(ordered, value), key=repr)
    return {key: ordered(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def test_there_is_an_example_of_every_message() -> None:
    assert set(EXAMPLES) == set(SCHEMAS)


@pytest.mark.parametrize(("name", "message"), ALL, ids=IDS)
def test_a_message_fits_the_schema_that_ships(name: str, message: msgspec.Struct) -> None:
    validator(name).validate(json.loads(encode(message)))


@pytest.mark.parametrize(("name", "message"), ALL, ids=IDS)
def test_a_message_is_plain_json_with_numbers_that_every_reader_keeps(
    name: str, message: msgspec.Struct
) -> None:
    data = encode(message)
    assert len(data) < 65536
    body = json.loads(data, parse_constant=no_constant)
    assert all(abs(n) < SAFE_INTEGER for n in numbers(body))


@pytest.mark.parametrize(("name", "message"), ALL, ids=IDS)
def test_a_message_survives_the_way_and_fields_unknown_to_us_do_not_matter(
    name: str, message: msgspec.Struct
) -> None:
    assert msgspec.json.decode(encode(message), type=type(message)) == message
    body = json.loads(encode(message))
    with_more = {**body, "added_later": {"x": [1]}}
    for key, value in body.items():
        if isinstance(value, dict) and key not in ("args", "result"):
            with_more[key] = {**value, "added_later": 1}
    assert msgspec.json.decode(json.dumps(with_more), type=type(message)) == message
    validator(name).validate(with_more)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("verdict-1", {"seq": 0}),
        ("verdict-1", {"seq": SAFE_INTEGER}),
        ("verdict-1", {"verdict": "PASS"}),
        ("verdict-1", {"verdict_code": 0}),
        ("verdict-1", {"trigger_id": 2**32}),
        ("verdict-1", {"part_id": "stra\u00dfe"}),
        ("verdict-1", {"line": "a b"}),
        ("verdict-1", {"boot_id": "XYZ"}),
        ("verdict-1", {"result_id": "8" * 26}),
        ("verdict-1", {"score": -0.1}),
        ("verdict-1", {"pred_score": 1.1}),
        ("verdict-1", {"schema": "verdict/2"}),
        ("verdict-1", {"counters": {}}),
        ("hb-1", {"state": 9}),
        ("state-1", {"to": 0}),
        ("event-1", {"event": "other"}),
        ("ctl-request-1", {"p": "ctl/2"}),
        ("ctl-trigger-args-1", {"trigger_id": -1}),
        ("ctl-replay-args-1", {"from": 0}),
        ("ctl-replay-args-1", {"boot_id": "XYZ"}),
        ("ctl-get_result-args-1", {"result_id": "8" * 26}),
        ("ctl-prepare_recipe-args-1", {"id": "../web"}),
        ("ctl-simulate-args-1", {"on": 1}),
    ],
)
def test_what_breaks_the_contract_fits_neither_schema_nor_struct(name: str, change: dict[str, Any]) -> None:
    body = {**json.loads(encode(EXAMPLES[name][0][1])), **change}
    assert not validator(name).is_valid(body)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(body), type=SCHEMAS[name])


@pytest.mark.parametrize(("name", "message"), ALL, ids=IDS)
def test_no_field_may_be_missing_that_the_schema_requires(name: str, message: msgspec.Struct) -> None:
    body = json.loads(encode(message))
    required = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))["$defs"][type(message).__name__][
        "required"
    ]
    for field in required:
        assert not validator(name).is_valid({key: value for key, value in body.items() if key != field})


def test_the_schemas_that_ship_are_those_of_the_code(tmp_path: Path) -> None:
    wire.main(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == schemas()
    shipped = {path.name: ordered(json.loads(path.read_bytes())) for path in FOLDER.iterdir()}
    made = {name: ordered(json.loads(data)) for name, data in schemas().items()}
    assert shipped == made, "configs/schema is stale; run: python -m runtime.bus.wire"


@pytest.mark.parametrize(
    ("score", "outcome", "code", "reasons"),
    [
        (0.1, "OK", 1, []),
        (0.5, "NG", 2, ["SCORE_OVER_THRESHOLD"]),
        (math.inf, "INVALID", 3, ["NON_FINITE_SCORE"]),
        (None, "INVALID", 3, ["NO_FRAME"]),
        (0.3, "REVIEW", 4, ["SCORE_OVER_THRESHOLD"]),
    ],
)
def test_an_outcome_has_its_name_number_and_reasons(
    score: float | None, outcome: str, code: int, reasons: list[str]
) -> None:
    body = json.loads(encode(message_of(score)))
    assert (body["verdict"], body["verdict_code"], body["reasons"]) == (outcome, code, reasons)


def test_a_verdict_without_a_frame_has_null_where_a_frame_would_be() -> None:
    body = json.loads(encode(message_of(None)))
    of_frame = ("image", "frame_gap", "t_exposure_us", "t_exposure_src", "t_mono_us", "score", "pred_score")
    assert [body[key] for key in of_frame] == [None] * len(of_frame)
    assert "margin" not in body
    assert body["threshold"] == 0.5


def test_what_the_trigger_brought_comes_back() -> None:
    body = json.loads(encode(message_of(0.1)))
    assert (body["trigger_id"], body["part_id"], body["encoder"]) == (2**32 - 1, "SN 000123", -LARGEST)
    assert body["simulated"] is True
    assert body["counters"]["triggers"] == 4


@pytest.mark.parametrize(("score", "margin"), [(0.25, -0.5), (0.5, 0.0), (0.75, 0.5)])
def test_margin_is_the_distance_to_the_threshold_in_thresholds(score: float, margin: float) -> None:
    assert json.loads(encode(message_of(score)))["margin"] == margin


@given(score=st.floats(allow_nan=True, allow_infinity=True))
def test_no_score_whatever_makes_a_message_that_is_no_json(score: float) -> None:
    body = json.loads(encode(message_of(score)), parse_constant=no_constant)
    validator("verdict-1").validate(body)
    assert (body["score"] is None) == (body["verdict"] == "INVALID")


@pytest.mark.parametrize("kind", ["verdict", "state", "hb", "event"])
def test_a_topic_names_kind_line_and_station(kind: wire.Kind) -> None:
    assert topic(kind, "l1", "s2") == f"v1/{kind}/l1/s2/".encode()
