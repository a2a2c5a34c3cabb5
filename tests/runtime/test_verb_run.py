"""`gonogo run` as it is used: a process, a station file, sockets and signals."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import gonogo
from runtime.bus.witness import Witness
from runtime.images.files import list_images, save_image
from runtime.ledger import Counters

U8 = NDArray[np.uint8]
StationFile = Callable[..., Path]
Pixels = NDArray[Any]

WAIT_S = 60.0
SYNTHETIC = "{kind: synthetic, width: 320, height: 256, defect_rate: 0.0}"


class Station:
    """`gonogo run` in a process of its own."""

    def __init__(self, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-m", "gonogo", "run", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._witness: Witness | None = None

    def ready(self) -> Witness:
        """A witness, once parts are accepted; the station says where."""
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.fullmatch(
            r"ready: verdicts on (\S+), control on (\S+), a part per trigger request on control\n", line
        )
        assert found, line + self.process.stderr.read()
        self._witness = Witness(found[1], found[2])
        assert self._witness.wait_subscribed()
        return self._witness

    def ended(self) -> tuple[int, str, str]:
        """Exit code, and what is left of stdout and stderr."""
        out, err = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, out, err

    def close(self) -> None:
        """Leaves nothing behind."""
        self.process.kill()
        self.process.communicate()
        if self._witness is not None:
            self._witness.close()


@pytest.fixture
def run() -> Iterator[Callable[..., Station]]:
    """Starts stations, and leaves none behind."""
    started: list[Station] = []

    def start(*arguments: object) -> Station:
        started.append(Station([str(argument) for argument in arguments]))
        return started[-1]

    yield start
    for station in started:
        station.close()


def fill(folder: Path, image: U8, count: int) -> None:
    for n in range(count):
        save_image(folder / f"{n:02d}.png", image)


def settled(witness: Witness, out: str) -> Counters:
    """The printed counters, after the witness found the books in order."""
    counters = Counters(**json.loads(out))
    assert witness.hear_end()
    assert witness.account(counters) == []
    return counters


def test_a_folder_is_judged_to_its_end(
    run: Callable[..., Station], station_file: StationFile, web_image: U8, tmp_path: Path
) -> None:
    fill(tmp_path / "images", web_image, 5)
    path = station_file(trigger="free_run", policy="wait")
    code, out, err = run(path, "--json").ended()
    assert (code, err.count("\n")) == (0, 1)
    assert re.fullmatch(r"ready: verdicts on \S+, control on \S+, free run: every frame is a part\n", err)
    assert json.loads(out) == {"triggers": 5, "ok": 5, "ng": 0, "invalid": 0, "review": 0, "overrun": 0}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_with_every_part_answered(
    run: Callable[..., Station], station_file: StationFile, number: signal.Signals
) -> None:
    station = run(station_file(SYNTHETIC, queue=2), "--json")
    witness = station.ready()
    accepted = sum(witness.trigger(n)["code"] == "ACCEPTED" for n in range(1, 7))
    station.process.send_signal(number)
    code, out, err = station.ended()
    assert (code, err) == (0, "")
    assert settled(witness, out).triggers == accepted
    assert [state["cause"] for state in witness.states[-2:]] == ["STOPPING", "STOPPED"]


def test_a_stop_request_and_a_time_end_it_too(run: Callable[..., Station], station_file: StationFile) -> None:
    path = station_file(SYNTHETIC)
    asked = run(path)
    witness = asked.ready()
    witness.ask("shutdown")
    assert asked.ended()[:2] == (0, "triggers 0  ok 0  ng 0  invalid 0  review 0  overrun 0\n")
    assert run(path, "--seconds", "0.1").ended()[0] == 0


def test_a_hung_network_is_left_behind_with_every_part_answered(
    run: Callable[..., Station], station_file: StationFile
) -> None:
    stalls = [{"run": 3, "kind": "sleep", "seconds": 3600}]
    station = run(station_file(SYNTHETIC, stalls=stalls), "--json")
    witness = station.ready()
    assert witness.trigger(1)["ok"]
    station.process.send_signal(signal.SIGTERM)
    code, out, err = station.ended()
    assert (code, err) == (2, "gonogo run: thread detect did not end in time and was left behind\n")
    assert settled(witness, out).invalid == 1


def test_one_bad_image_among_good_ones_costs_one_part(
    run: Callable[..., Station], station_file: StationFile, web_image: U8, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    fill(folder, web_image, 6)
    (folder / "01.png").write_bytes((folder / "01.png").read_bytes()[:2000])
    (folder / "02.png").write_bytes(b"")
    save_image(folder / "03.png", np.ascontiguousarray(web_image[:-8]))
    save_image(folder / "04.png", np.repeat(web_image[:, :, None], 3, axis=2))
    station = run(station_file(), "--json")
    witness = station.ready()
    for n in range(1, 7):
        assert witness.trigger(n)["ok"]
        assert len(witness.hear_verdicts(n)) == n
    told = [" ".join(v["reasons"]) for v in witness.verdicts]
    assert told == ["", "DECODE_ERROR", "DECODE_ERROR", "WRONG_FORMAT", "WRONG_FORMAT", ""]
    witness.trigger(7)  # behind the last image: it ends there
    code, out, _ = station.ended()
    assert code == 0
    counters = settled(witness, out)
    assert (counters.ok, counters.invalid) == (2, 5)
    assert witness.verdicts[-1]["reasons"] == ["NO_FRAME"]


def as_16_bit(image: U8) -> Pixels:
    return np.multiply(image, 257, dtype=np.uint16)


def with_alpha(image: U8, alpha: int) -> Pixels:
    return np.dstack([image, image, image, np.full_like(image, alpha)])


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (as_16_bit, "OK"),
        (lambda image: with_alpha(image, 255), "OK"),
        (lambda image: with_alpha(image, 254), "DECODE_ERROR"),
        (lambda image: image.astype(np.float32), "DECODE_ERROR"),
    ],
    ids=["16 bit", "opaque", "transparent", "float"],
)
def test_what_an_image_may_hold(
    station_file: StationFile,
    web_image: U8,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stored: Callable[[U8], Pixels],
    expected: str,
) -> None:
    """One rule: 8 or 16 bits, grey or colour, an alpha channel only where it hides nothing."""
    folder = tmp_path / "images"
    suffix = ".tif" if stored(web_image).dtype == np.float32 else ".png"
    save_image(folder / "a.png", web_image)
    assert cv2.imwrite(str(folder / f"b{suffix}"), stored(web_image))
    source = "{kind: folder, path: images, channels: 1}"
    path = station_file(source, trigger="free_run", policy="wait")
    assert gonogo.main(["run", str(path), "--json"]) == 0
    counters = json.loads(capsys.readouterr().out)
    assert (counters["ok"], counters["invalid"]) == ((2, 0) if expected == "OK" else (1, 1))


def test_overlays_are_written_where_they_are_asked_for(
    station_file: StationFile, web_image: U8, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "images", web_image, 2)
    path = station_file(trigger="free_run", policy="wait")
    assert gonogo.main(["run", str(path), "--save", str(tmp_path / "out")]) == 0
    assert [p.name for p in list_images(tmp_path / "out")] == ["OK_000001.png", "contact_sheet.png"]
    assert f"{tmp_path / 'out'}: 1 overlays and contact_sheet.png\n" in capsys.readouterr().err


# Misuse.


def refused(run: Callable[..., Station], *arguments: object) -> str:
    """The one line that a station which cannot run leaves on stderr."""
    code, out, err = run(*arguments).ended()
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("gonogo run: ")
    return err


@pytest.mark.parametrize("what", ["bus", "control"])
def test_a_port_in_use_is_one_line(run: Callable[..., Station], station_file: StationFile, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        line = refused(run, station_file(SYNTHETIC, **{what: endpoint}))
    assert f"{what}: {endpoint} is in use" in line


def test_a_second_station_does_not_take_a_running_ones_sockets(
    run: Callable[..., Station], station_file: StationFile, tmp_path: Path
) -> None:
    path = station_file(SYNTHETIC, bus=f"ipc://{tmp_path}/bus", control=f"ipc://{tmp_path}/control")
    first = run(path)
    witness = first.ready()
    assert "is in use" in refused(run, path)
    assert witness.trigger(1)["ok"]
    assert len(witness.hear_verdicts(1)) == 1


def test_a_folder_that_is_not_there_is_one_line(
    run: Callable[..., Station], station_file: StationFile, tmp_path: Path
) -> None:
    assert str(tmp_path / "absent") in refused(run, station_file("{kind: folder, path: absent}"))


def test_a_region_outside_the_frames_is_one_line(
    run: Callable[..., Station], station_file: StationFile, tmp_path: Path
) -> None:
    path = station_file(SYNTHETIC)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "region: {x: 100, y: 0, width: 300, height: 200}\n")
    line = refused(run, path)
    assert str(recipe) in line
    assert "region ends at x, y = 400, 200" in line


def broken_nothing(folder: Path) -> Path:
    return folder / "absent.yaml"


def broken_folder(folder: Path) -> Path:
    return folder / "images"


def broken_recipe(folder: Path) -> Path:
    (folder / "recipe.yaml").unlink()
    return folder / "station.yaml"


def broken_bundle(folder: Path) -> Path:
    (folder / "recipe.yaml").write_text("bundle: images\nthreshold: 1.0\n")
    return folder / "station.yaml"


def broken_key(folder: Path) -> Path:
    with (folder / "station.yaml").open("a") as file:
        file.write("polcy: wait\n")
    return folder / "station.yaml"


def empty_folder(folder: Path) -> Path:
    return folder / "station.yaml"


def no_good_image(folder: Path) -> Path:
    (folder / "images" / "a.png").write_bytes(b"no image")
    return folder / "station.yaml"


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (broken_nothing, "absent.yaml"),
        (broken_folder, "images"),
        (broken_recipe, "recipe.yaml"),
        (broken_bundle, "images"),
        (broken_key, "station.yaml"),
        (empty_folder, "images"),
        (no_good_image, "images/a.png"),
    ],
)
def test_what_cannot_run_is_one_line_that_names_it(
    station_file: StationFile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], Path],
    named: str,
) -> None:
    station_file()
    assert gonogo.main(["run", str(damage(tmp_path))]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert str(tmp_path / named) in captured.err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_time_that_is_none_is_refused(
    station_file: StationFile, capsys: pytest.CaptureFixture[str], seconds: str
) -> None:
    assert gonogo.main(["run", str(station_file(SYNTHETIC)), "--seconds", seconds]) == 2
    assert "expected a number above 0" in capsys.readouterr().err
