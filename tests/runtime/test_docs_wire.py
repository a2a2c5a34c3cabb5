"""docs/wire.md says what the station does: its tables name every field, and its client runs as printed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runtime.assembly import assemble
from runtime.bus.wire import EventMessage, Heartbeat, StateMessage, VerdictMessage
from runtime.health import FLAGS
from runtime.state import MOVES, state_name

PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text("utf-8")
PARTS = 12
COMMON = {"line", "station", "boot_id", "t_pub_us"}


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
    assert told["passed"] <= counters.ok
    return told


def test_the_page_s_client_gets_one_verdict_per_trigger_and_passes_good_parts(tmp_path: Path) -> None:
    assert _run_client(tmp_path, "--accept-simulated")["passed"] >= PARTS // 2


def test_the_page_s_client_passes_nothing_that_was_simulated(tmp_path: Path) -> None:
    assert _run_client(tmp_path)["passed"] == 0


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


def test_the_page_names_every_flag_of_health_every_verb_s_code_and_every_state_in_use() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert set(FLAGS) <= named
    assert {"ACCEPTED", "DUPLICATE", "NOT_READY", "OVERRUN", "WRONG_STATE", "BAD_REQUEST", "EXPIRED"} <= named
    for state in MOVES:
        assert f"{state.value} {state_name(state)}" in PAGE
