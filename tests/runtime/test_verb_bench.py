"""The open loop: latency counts from when a frame was due, and no figure says more than its samples."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import gonogo
from runtime.errors import SourceEnd, SourceTimeout
from runtime.measure.cadence import WARM_FRAMES, Cadence, Times, summarise
from runtime.measure.latency import needed_samples, quantiles
from runtime.measure.metronome import Metronome, camera_images

STAGES = ["wait", "preprocess", "network", "head", "publish", "total"]


def test_every_frame_is_accounted_for_and_every_stage_timed(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "bench.json"
    how = ["--fps", "50,25", "--seconds", "0.4", "--idle", "0.05", "--frame", "320x256x3"]
    assert gonogo.main(["bench", str(exported), *how, "--json", str(written)]) == 0
    assert "frames missed the deadline" in capsys.readouterr().out
    bench = json.loads(written.read_text("utf-8"))
    assert bench["frame"] == [256, 320, 3]
    assert bench["machine"]["versions"]["onnxruntime"]
    assert [(run["fps"], run["frames"], run["deadline_ms"]) for run in bench["runs"]] == [
        (50, 20, 20),
        (25, 10, 40),
    ]
    for figures in bench["runs"]:
        stages = figures["stages"]
        assert list(stages) == STAGES
        assert stages["head"]["samples"] + figures["dropped"] + figures["failed"] == figures["frames"]
        assert stages["total"]["p99_9"] is None
        assert all(stages[name]["max"] > 0 for name in ("preprocess", "network", "head"))
        assert figures["dropped"] or stages["total"]["max"] >= stages["network"]["max"]
        assert any(note.startswith("p99.9 takes 2995 frames") for note in figures["notes"])


def test_a_late_reader_gets_frames_stamped_with_the_moment_they_were_due() -> None:
    source = Metronome([np.zeros((2, 2), np.uint8)], [0, 10, 30])
    with pytest.raises(SourceTimeout):
        source.read(0)
    frames = [source.read(1000) for _ in range(3)]
    first = frames[0].t_mono_us
    assert [frame.t_mono_us - first for frame in frames] == [0, 10, 30]
    assert [frame.frame_id for frame in frames] == [0, 1, 2]
    with pytest.raises(SourceEnd):
        source.read(1000)


def _times(cadence: Cadence, total_us: list[int]) -> Times:
    """A run of which every frame was judged, each in 1 + 2 + 3 ms, the rest of its total in the queue."""
    times = Times(len(cadence.due_us()))
    steady = slice(WARM_FRAMES, WARM_FRAMES + cadence.frames)
    times.us[steady, 1:4] = 1000, 2000, 3000
    times.us[steady, 5] = total_us
    times.us[steady, 0] = times.us[steady, 5] - 6000
    times.judged[:] = True
    times.end_us[:] = np.array(cadence.due_us()) + times.us[:, 5]
    return times


def test_a_stall_delays_the_frames_behind_it_in_the_figures() -> None:
    cadence = Cadence(fps=100, seconds=1, deadline_ms=10)
    stall = [max(6000, 56_000 - 4000 * i) for i in range(20)]  # 50 ms lost, made up by 4 ms a frame
    figures = summarise(cadence, _times(cadence, [6000] * 80 + stall))
    assert figures.misses == 12  # those above 10 ms: 56 - 4 i, i < 11.5
    assert figures.stages["total"].p95 == pytest.approx(36)
    assert figures.stages["total"].max == pytest.approx(56)
    assert figures.stages["network"].p95 == pytest.approx(2)
    assert figures.capacity_fps == pytest.approx(1000 / 6)
    assert figures.headroom == pytest.approx(10 / 6)
    assert figures.sustained_fps == pytest.approx(100)


def test_a_dropped_frame_is_a_miss_and_infinitely_late() -> None:
    cadence = Cadence(fps=100, seconds=3, deadline_ms=10)
    times = _times(cadence, [6000] * 300)
    lost = slice(WARM_FRAMES, WARM_FRAMES + 10)
    times.judged[lost], times.dropped[lost] = False, True
    figures = summarise(cadence, times)
    assert (figures.dropped, figures.misses, figures.failed) == (10, 10, 0)
    assert figures.stages["total"].p95 == pytest.approx(6)
    assert figures.stages["total"].p99 == math.inf
    assert figures.stages["network"].samples == 290
    assert any("dropped" in note for note in figures.notes)


def test_a_quantile_is_given_only_where_the_samples_can_give_it() -> None:
    assert [needed_samples(share) for share in (0.5, 0.95, 0.99, 0.999)] == [5, 59, 299, 2995]
    few = quantiles([1000.0 * i for i in range(1, 101)])
    assert (few.p50, few.p95, few.p99, few.p99_9, few.max) == (50, 95, None, None, 100)
    many = quantiles(range(1000, 10_001_000, 1000))
    assert (many.p99, many.p99_9) == (9900, 9990)
    assert quantiles([]).max is None


def test_the_cameras_images_differ_and_cannot_be_written_to() -> None:
    images = camera_images(64, 48)
    assert images[0].shape == (48, 64)
    assert (images[0] != images[1]).any()
    with pytest.raises(ValueError, match="read-only"):
        images[0][0, 0] = 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--fps", "0"], "--fps: '0'"),
        (["--fps", "30,x"], "--fps: 'x'"),
        (["--fps", "nan"], "--fps: 'nan'"),
        (["--seconds", "-1"], "--seconds is -1"),
        (["--seconds", "0.1"], "3 frames; expected at least 5"),
        (["--deadline-ms", "0"], "--deadline-ms is 0"),
        (["--idle", "0"], "--idle is 0"),
        (["--frame", "1280"], "--frame is '1280'"),
        (["--frame", "64x64x2"], "expected 1 channel or 3"),
        (["--json", "absent/bench.json"], "no folder"),
    ],
)
def test_misuse_is_one_line(
    arguments: list[str], complaint: str, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gonogo.main(["bench", str(exported), *arguments]) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.err.count("\n") == 1


def test_a_recipes_region_must_lie_within_the_frames(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    region = "{x: 0, y: 0, width: 400, height: 100}"
    recipe.write_text(f"bundle: {exported}\nthreshold: 1.0\nregion: {region}\n")
    frame = ["--frame", "320x256", "--recipe", str(recipe)]
    assert gonogo.main(["bench", str(exported), *frame]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("gonogo bench: ")
    assert "400" in last


@pytest.mark.parametrize("verb", ["bench", "predict", "selftest"])
@pytest.mark.parametrize("threads", ["0", "-1", "65"])
def test_threads_out_of_range_are_one_line(
    verb: str, threads: str, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = [str(exported / "golden" / "ok.png")] if verb == "predict" else []
    assert gonogo.main([verb, str(exported), *image, "--threads", threads]) == 2
    assert capsys.readouterr().err == f"gonogo {verb}: threads is {threads}; expected 1..64\n"
