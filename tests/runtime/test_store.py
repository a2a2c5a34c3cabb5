"""Records: no acknowledged row is ever lost, and a disk that fails delays no verdict."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bus.witness import Witness
from runtime.config import parse_yaml
from runtime.errors import ConfigError
from runtime.frame import U8
from runtime.images.files import load_image
from runtime.pipeline import Pipeline
from runtime.scripted import ScriptedDetector
from runtime.sources import FaultySource, SyntheticConfig, SyntheticSource
from runtime.sources.faulty import Fault
from runtime.store.config import StoreConfig
from runtime.store.database import VerdictRow, database_path, day_of, list_databases
from runtime.store.image_ring import Ring, image_path, write_whole
from runtime.store.journal import WAITING, Journal
from runtime.store.lot import Selection, parse_time, read_lot
from runtime.store.recorder import Recorder

ROOT = Path(__file__).parents[2]
WAIT_US = 10_000_000
NOW_US = time.time_ns() // 1000
WEB = SyntheticConfig(width=64, height=48, rate_hz=None, buffers=16)
Launch = Callable[..., tuple[Pipeline, Witness]]


def row(n: int, t_us: int = NOW_US) -> VerdictRow:
    return VerdictRow(f"id-{n:06d}", "b" * 16, n, t_us, n, f"P{n}", "OK", "", 0.5, b'{"n":%d}' % n)


def names(folder: Path) -> list[str]:
    """Result ids on the disk, of every day, each file sound."""
    found = []
    for path in list_databases(folder):
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found += [name for (name,) in connection.execute("SELECT result_id FROM verdict ORDER BY seq")]
        connection.close()
    return found


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path)
    yield journal
    journal.close()


# The database.


def test_an_acknowledged_row_is_there_for_others_at_once(journal: Journal, tmp_path: Path) -> None:
    assert [journal.save(row(n), WAIT_US) for n in range(3)] == ["yes"] * 3
    assert names(tmp_path) == ["id-000000", "id-000001", "id-000002"]
    assert (journal.failed, journal.lost, journal.waiting) == (False, 0, 0)


def test_kill_9_a_hundred_times_under_load_loses_no_acknowledged_row(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("store_writer.py")), str(tmp_path), "100"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    acknowledged = done.stdout.split()
    assert len({name[:3] for name in acknowledged}) == 100
    assert set(acknowledged) <= set(names(tmp_path))


def test_a_row_that_takes_too_long_is_queued_and_written_all_the_same(
    journal: Journal, tmp_path: Path
) -> None:
    assert journal.save(row(0), WAIT_US) == "yes"
    blocker = sqlite3.connect(list_databases(tmp_path)[0], isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    assert journal.save(row(1), 0) == "queued"
    blocker.execute("ROLLBACK")
    blocker.close()
    journal.save(row(2), WAIT_US)
    journal.close()
    assert names(tmp_path) == ["id-000000", "id-000001", "id-000002"]


def test_a_disk_that_refuses_costs_no_row_and_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "away"
    folder.mkdir()
    journal = Journal(folder)
    folder.rmdir()
    assert journal.save(row(1), WAIT_US) == "queued"
    assert (journal.failed, journal.lost, journal.waiting) == (True, 0, 1)
    folder.mkdir()
    journal.save(row(2), WAIT_US)
    journal.close()
    assert (journal.lost, journal.waiting) == (0, 0)
    assert names(folder) == ["id-000001", "id-000002"]


def test_what_the_disk_refuses_to_the_end_is_counted_as_lost(tmp_path: Path) -> None:
    folder = tmp_path / "away"
    folder.mkdir()
    journal = Journal(folder)
    folder.rmdir()
    assert journal.save(row(1), WAIT_US) == "queued"
    journal.close()
    assert (journal.failed, journal.lost) == (True, 1)
    assert journal.save(row(2), WAIT_US) == "no"
    assert journal.lost == 2


def test_a_full_queue_refuses_and_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.save(row(0), WAIT_US) == "yes"
    blocker = sqlite3.connect(list_databases(tmp_path)[0], isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    told = {journal.save(row(n), 0) for n in range(1, 2 * WAITING + 2)}
    assert told == {"queued", "no"}
    assert journal.lost > 0
    assert journal.failed
    blocker.close()
    journal.close()


@pytest.mark.parametrize(
    "damage", [b"no database at all" * 100, None], ids=["overwritten", "one page zeroed"]
)
def test_a_damaged_file_is_put_aside_and_records_go_on(tmp_path: Path, damage: bytes | None) -> None:
    first = Journal(tmp_path)
    for n in range(200):
        assert first.save(row(n), WAIT_US) == "yes"
    first.close()
    path = database_path(tmp_path, day_of(NOW_US))
    data = path.read_bytes()
    path.write_bytes(data[:4096] + bytes(4096) + data[8192:] if damage is None else damage)
    second = Journal(tmp_path)
    assert second.save(row(999), WAIT_US) == "yes"
    second.close()
    assert names(tmp_path) == ["id-000999"]
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1


DAY_US = 86_400_000_000


def test_each_day_has_its_file_and_old_days_are_deleted(tmp_path: Path) -> None:
    days = [NOW_US + i * DAY_US for i in range(3)]
    write_whole(tmp_path / image_path(day_of(days[0]), "id-000000", "NG"), b"x")
    journal = Journal(tmp_path, keep_days=2)
    for i, day in enumerate(days):
        assert journal.save(row(i, day), WAIT_US) == "yes"
    journal.close()
    assert [path.name for path in list_databases(tmp_path)] == [f"verdicts-{day_of(d)}.db" for d in days[1:]]
    assert list((tmp_path / "images").iterdir()) == []


def test_a_clock_that_steps_takes_no_records_with_it(tmp_path: Path) -> None:
    """Ten years ahead and back, and a machine that has not been told the time yet."""
    journal = Journal(tmp_path, keep_days=4)
    for i, day in enumerate((NOW_US, NOW_US + 3650 * DAY_US, NOW_US, 0)):
        assert journal.save(row(i, day), WAIT_US) == "yes"
    journal.close()
    assert names(tmp_path) == [f"id-{i:06}" for i in (3, 0, 2, 1)]


# The images.


def test_the_ring_keeps_its_quota_and_good_images_leave_first(tmp_path: Path) -> None:
    for name in ("A_NG", "B_OK", "C_INVALID", "D_OK"):
        write_whole(tmp_path / "images" / "20261125" / f"{name}.png", bytes(100))
    (tmp_path / "images" / "20261125" / "E_NG.tmp").write_bytes(b"cut off by a crash")
    ring = Ring(tmp_path, 400)
    left = []
    for _ in range(4):
        assert ring.make_room(100)
        left.append("".join(sorted(path.name[0] for path in tmp_path.rglob("*.*"))))
        ring.add(tmp_path / "images" / f"{len(left)}_NG.png", 100)
    assert left == ["ACD", "AC", "C", ""]
    assert not ring.make_room(401)


# A station with records.


@pytest.fixture
def recorded(launch: Launch, tmp_path: Path) -> Callable[..., tuple[Pipeline, Witness]]:
    """Starts a pipeline that keeps records in `lot`; its fourth picture is dark."""

    def start(**settings: Any) -> tuple[Pipeline, Witness]:
        recorder = Recorder(StoreConfig(folder="lot", **{"wait_ms": 1000, **settings}), tmp_path)
        source = FaultySource(SyntheticSource(WEB), [Fault(frame=3, kind="incomplete")])
        pipeline, witness = launch(
            lambda: source, lambda: ScriptedDetector([0.5, 2.0, 0.25]), recorder=recorder
        )
        assert pipeline.wait_ready(30)
        for n in range(1, 5):
            assert witness.trigger(n)["ok"]
            assert len(witness.hear_verdicts(n)) == n
        pipeline.stop()
        assert pipeline.join(30)
        return pipeline, witness

    return start


def test_every_verdict_is_on_the_disk_as_it_went_out(recorded: Callable[..., Any], tmp_path: Path) -> None:
    _, witness = recorded()
    parts = list(read_lot(tmp_path / "lot", Selection()))
    assert [part.message for part in parts] == witness.verdicts
    assert [v["stored"] for v in witness.verdicts] == ["yes"] * 4
    assert [part.image is not None for part in parts] == [False, True, False, False]


def test_the_image_is_what_was_judged_pixel_by_pixel(recorded: Callable[..., Any], tmp_path: Path) -> None:
    recorded(ok_every=1)
    parts = list(read_lot(tmp_path / "lot", Selection()))
    images = [None if part.image is None else load_image(part.image) for part in parts]
    again = SyntheticSource(WEB)
    for section, image in enumerate(images[:3]):
        expected: U8 = np.zeros(again.shape, np.uint8)
        again.render(section, section, expected)
        assert image is not None
        np.testing.assert_array_equal(image, expected)
    assert images[3] is None  # an incomplete frame has none


def test_no_images_where_the_quota_is_nothing(recorded: Callable[..., Any], tmp_path: Path) -> None:
    recorded(image_quota_mb=0, ok_every=1)
    assert [part.image for part in read_lot(tmp_path / "lot", Selection())] == [None] * 4


def test_a_store_that_fails_is_degraded_health_and_no_verdict_is_missing(
    launch: Launch, tmp_path: Path
) -> None:
    recorder = Recorder(StoreConfig(folder="lot", wait_ms=1000), tmp_path)
    (tmp_path / "lot").rmdir()
    pipeline, witness = launch(
        lambda: SyntheticSource(WEB), lambda: ScriptedDetector([0.5]), recorder=recorder
    )
    assert pipeline.wait_ready(30)
    for n in range(1, 3):
        assert witness.trigger(n)["ok"]
        assert len(witness.hear_verdicts(n)) == n
    assert [(v["verdict"], v["stored"]) for v in witness.verdicts] == [("OK", "queued")] * 2
    assert witness.hear(lambda: "STORAGE" in witness.status()["health"]["flags"])


def test_the_timer_s_verdict_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    recorder = Recorder(StoreConfig(folder="lot", wait_ms=1000, image_quota_mb=0), tmp_path)
    assert recorder.journal.save(row(0), WAIT_US) == "yes"
    blocker = sqlite3.connect(list_databases(tmp_path / "lot")[0], isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    done = threading.Event()
    told = []

    def save() -> None:
        told.append(recorder.journal.save(row(1), max(0, min(1_000_000, -5))))
        done.set()

    threading.Thread(target=save).start()
    assert done.wait(10)
    assert told == ["queued"]
    blocker.execute("ROLLBACK")
    blocker.close()
    recorder.close()


# The lot.


def test_a_lot_is_chosen_by_time_and_part(journal: Journal, tmp_path: Path) -> None:
    for n in range(4):
        assert journal.save(row(n, NOW_US + n), WAIT_US) == "yes"

    def chosen(*selection: Any) -> list[int]:
        return [part.message["n"] for part in read_lot(tmp_path, Selection(*selection))]

    assert chosen() == [0, 1, 2, 3]
    assert chosen(NOW_US + 1, NOW_US + 3) == [1, 2]
    assert chosen(0, 2**53, "P[13]") == [1, 3]


@pytest.mark.parametrize(
    ("text", "expected_us"),
    [
        ("1970-01-02", 86_400_000_000),
        ("1970-01-01T00:00:01", 1_000_000),
        ("1970-01-01T01:00+01:00", 0),
        ("1970-01-01T00:00Z", 0),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, expected_us: int) -> None:
    assert parse_time("--since", text, -1) == expected_us


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="--since is 'yesterday'; expected a time such as"):
        parse_time("--since", "yesterday", 0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("wait_ms: -1", "wait_ms is -1; expected 0..1000"),
        ("keep_days: 0", "keep_days is 0"),
        ("image_quota_mb: -5", "image_quota_mb is -5"),
        ("durability: best", "durability: invalid enum value"),
    ],
)
def test_a_store_that_is_none_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_yaml(f"folder: x\n{text}\n", StoreConfig, "s.yaml")
