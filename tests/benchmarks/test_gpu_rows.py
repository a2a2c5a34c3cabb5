"""The GPU's benchmark without a GPU: its rows are made, its report adds up, and without a GPU it says so."""

from __future__ import annotations

import pytest

from benchmarks import bench_kernels
from benchmarks.gpu import report, rows
from kernels.device import Probe
from kernels.providers.recording import RecordingDevice
from kernels.workspace import Workspace


def test_without_a_gpu_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kernels.device.probe", lambda: Probe("no CUDA driver (libcuda.so.1)"))
    monkeypatch.setattr("sys.argv", ["bench_kernels", "--gpu"])
    assert bench_kernels.main() == 2
    said = capsys.readouterr().err.splitlines()
    assert said == ["bench_kernels --gpu: no CUDA driver (libcuda.so.1); head native runs without a GPU"]


def test_every_row_is_made_of_launches_that_a_device_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.gpu.timing.FLUSH_BYTES", 64)
    device = RecordingDevice()
    space = Workspace(device)
    made = [
        rows.knn(space, 300, 500, 40, 5),
        *(rows.grnr(device, name, part) for name, part in rows.PRESETS.items()),
        rows.distances(space, 8, 16),
        rows.resized(space, (50, 60), 20),
    ]
    assert [len(work.launches) for work in made] == [1, 5, 5, 1, 1]
    assert all(work.nbytes > 0 for work in made)
    assert made[0].operations == 2 * 300 * 500 * 40
    for work in made:
        line = report.measured(device, work, 1e12)
        assert line.times[0].by == "gonogo"
        assert line.times[0].p50 == 0.0, "no time passes on a recording device"
        assert all(time.missing or time.p50 for time in line.times[1:])


def test_the_table_names_machine_floors_and_missing_peers() -> None:
    line = report.Line(
        "work",
        1,
        1e6,
        2e9,
        1.5,
        None,
        [report.Time("gonogo", 3.0, 4.0), report.Time("torch", missing="none")],
    )
    found = report.to_table(
        report.GpuReport({"name": "a GPU"}, "13.0", "abc", "today", "how", 3000.0, [line])
    )
    assert found.splitlines()[0] == "a GPU, CUDA 13.0, commit abc, today"
    assert "work: 1 launches; floors: bytes 1.5 us" in found
    assert "gonogo: p50 3.0 us, p95 4.0 us" in found
    assert "torch: none" in found
