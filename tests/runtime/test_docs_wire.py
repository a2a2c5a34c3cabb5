"""docs/wire.md says what the station does: its tables name every field, and its client runs as printed."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from runtime.assembly import assemble
from runtime.bus.control import Control
from runtime.bus.media import MapHeader, ThumbHeader
from runtime.bus.sockets import Bus
from runtime.bus.wire import EventMessage, EventName, Heartbeat, StateMessage, VerdictMessage
from runtime.health import FLAGS
from runtime.state import MOVES, state_name

PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text("utf-8")
PARTS = 12
COMMON = {"line", "station", "boot_id", "t_pub_us"}
PICTURES = (MapHeader, ThumbHeader)


def _client(folder: Path) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    path = folder / "client.py"
    path.write_text(code, "utf-8")
    return path


def _run_client(folder: Path, *options: str) -> dict[str, Any]:
    """What the page's client prints after its parts went past a real station."""
    demo = Path(str(files("runtime") / "data" / "demo"))
    # A deadline that a busy machine keeps too: this is about the messages.
    recipe = (demo / "recipe.yaml").read_text("utf-8")
    (folder / "recipe.yaml").write_text(
        recipe.replace("bundle: bundle", f"bundle: {demo / 'bundle'}").replace("ms: 250.0", "ms: 5000.0")
    )
    pipeline = assemble(Path(shutil.copy(demo / "station.yaml", folder)))
    pipeline.start()
    try:
        command = [sys.executable, str(_client(folder)), *pipeline.endpoints, str(PARTS), *options]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    finally:
        pipeline.stop()
        assert pipeline.join(30)
    assert done.returncode == 0, done.stderr
    counters = pipeline.counters()
    told: dict[str, Any] = json.loads(done.stdout)
    assert counters.triggers == PARTS
    assert told["parts"] == told["verdicts"] == PARTS
    assert told["lost"] == 0
    assert told["passed"] == (counters.ok if options else 0)
    return told


def test_the_page_s_client_gets_one_verdict_per_trigger_and_passes_good_parts(tmp_path: Path) -> None:
    assert _run_client(tmp_path, "--accept-simulated")["passed"] >= PARTS // 2


def test_the_page_s_client_passes_nothing_that_was_simulated(tmp_path: Path) -> None:
    assert _run_client(tmp_path)["passed"] == 0


ID, BOOT = "01KAN3Q7W2M6S9F4T1B8X5Z0CD", "6f1c0d3e9a5b4c21"
OK = {
    "schema": "verdict/1", "boot_id": BOOT, "seq": 1, "result_id": ID, "trigger_id": 7, "verdict": "OK",
    "verdict_code": 1, "late": False, "simulated": False,
}  # fmt: skip
ACCEPTED = {"ok": True, "code": "ACCEPTED", "boot_id": BOOT, "result": {"result_id": ID}}


class Liar(threading.Thread):
    """A station of real sockets that says what it is told to, right or wrong."""

    def __init__(self, reply: bytes, verdict: bytes) -> None:
        super().__init__(daemon=True)
        self._bus = Bus("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
        self.endpoints = self._bus.endpoints
        self._reply, self._verdict = reply, verdict
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.over.is_set():
            self._bus.wait(10)
            for *envelope, _ in self._bus.requests():
                if self._reply:
                    self._bus.reply([*envelope, self._reply])
                self._bus.publish(b"v1/verdict/l/s/", self._verdict)
        self._bus.close()


def _passes(folder: Path, reply: bytes, verdict: bytes, deadline_s: float) -> bool:
    """Whether the page's client passes part 7 on what such a station says."""
    gate_class = runpy.run_path(str(_client(folder)))["Gate"]
    liar = Liar(reply, verdict)
    gate = gate_class(*liar.endpoints)
    try:
        assert gate.bus.poll(10_000)  # the greeting: it hears from here on
        passed = gate.passes(7, deadline_s)
        assert passed is True or passed is False
        return bool(passed)
    finally:
        gate.context.destroy(0)
        liar.over.set()
        liar.join(10)


def test_the_page_s_client_passes_a_part_on_a_matching_ok(tmp_path: Path) -> None:
    assert _passes(tmp_path, json.dumps(ACCEPTED).encode(), json.dumps(OK).encode(), 10)


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "NG", "verdict_code": 2},
        {"verdict": "INVALID", "verdict_code": 3},
        {"verdict": "REVIEW", "verdict_code": 4},
        {"verdict": "PASS"},
        {"verdict": None},
        {"verdict_code": 0},
        {"schema": "verdict/2"},
        {"result_id": "01KAN3Q7W2M6S9F4T1B8X5Z0CE"},
        {"trigger_id": 8},
        {"trigger_id": None},
        {"boot_id": "0" * 16},
        {"late": True},
        {"simulated": True},
        {"simulated": None},
        {"result_id": None},
        {"seq": "1"},
    ],
)
def test_the_page_s_client_rejects_on_any_other_verdict(tmp_path: Path, change: dict[str, Any]) -> None:
    assert not _passes(tmp_path, json.dumps(ACCEPTED).encode(), json.dumps({**OK, **change}).encode(), 0.2)


@pytest.mark.parametrize("key", sorted(OK))
def test_the_page_s_client_rejects_when_a_field_is_missing(tmp_path: Path, key: str) -> None:
    verdict = {name: value for name, value in OK.items() if name != key}
    assert not _passes(tmp_path, json.dumps(ACCEPTED).encode(), json.dumps(verdict).encode(), 0.2)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (b"", json.dumps(OK).encode()),
        (b"no JSON", json.dumps(OK).encode()),
        (b"[]", json.dumps(OK).encode()),
        (json.dumps({**ACCEPTED, "ok": False, "code": "NOT_READY"}).encode(), json.dumps(OK).encode()),
        (json.dumps({**ACCEPTED, "code": "DUPLICATE"}).encode(), json.dumps(OK).encode()),
        (json.dumps(ACCEPTED).encode(), b"no JSON"),
        (json.dumps(ACCEPTED).encode(), b"\xff\xfe"),
        (json.dumps(ACCEPTED).encode(), b"null"),
        (json.dumps(ACCEPTED).encode(), b"[1]"),
    ],
)
def test_the_page_s_client_rejects_on_refusal_silence_and_garbage(
    tmp_path: Path, reply: bytes, verdict: bytes
) -> None:
    assert not _passes(tmp_path, reply, verdict, 0.2)


def test_the_page_s_client_needs_pyzmq_and_the_standard_library_alone(tmp_path: Path) -> None:
    code = _client(tmp_path).read_text("utf-8")
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", code, re.MULTILINE))
    assert imported <= set(sys.stdlib_module_names) | {"zmq"}


@pytest.mark.parametrize("message", [VerdictMessage, Heartbeat, StateMessage, EventMessage])
def test_a_table_lists_every_field_of_its_message(message: type[msgspec.Struct]) -> None:
    name = str(message.__struct_config__.tag)
    (section,) = re.findall(rf"^## [^\n]*`{name}`(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
    rows = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    listed = {field for row in rows for field in re.findall(r"`(\w+)`", row)}
    assert listed == {field.encode_name for field in msgspec.structs.fields(message)} - COMMON


def test_the_table_of_pictures_lists_every_field_of_their_headers() -> None:
    (section,) = re.findall(r"^## Pictures(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
    rows = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    listed = {field for row in rows for field in re.findall(r"`(\w+)`", row)}
    fields = {field.encode_name for header in PICTURES for field in msgspec.structs.fields(header)}
    assert listed == fields - COMMON


def test_the_page_names_every_verb() -> None:
    (section,) = re.findall(r"^## Requests(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
    desk: Any = None
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(Control(desk, BOOT).verbs)


def test_the_page_names_every_flag_of_health_every_verb_s_code_and_every_state_in_use() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert set(FLAGS) <= named
    assert set(get_args(EventName)) <= named
    assert {"ACCEPTED", "DUPLICATE", "NOT_READY", "OVERRUN", "WRONG_STATE", "BAD_REQUEST", "EXPIRED"} <= named
    for state in MOVES:
        assert f"{state.value} {state_name(state)}" in PAGE
