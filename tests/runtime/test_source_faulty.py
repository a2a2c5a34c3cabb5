"""The source that fails on a script."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from runtime.config import parse_yaml
from runtime.errors import SourceError, SourceLost
from runtime.sources import FaultyConfig, FaultySource, SyntheticConfig, SyntheticSource, open_source
from runtime.sources.faulty import ERRORS, Fault


def _faulty(*faults: Fault) -> FaultySource:
    return FaultySource(SyntheticSource(SyntheticConfig(width=64, height=48, rate_hz=None)), faults)


@pytest.mark.parametrize("kind", sorted(set(ERRORS) - {"lost"}))
def test_a_fault_hits_its_read_only_and_the_next_frame_shows_the_gap(kind: str) -> None:
    source = _faulty(Fault(frame=1, kind=kind), Fault(frame=2, kind=kind))  # type: ignore[arg-type]
    assert source.shape == (48, 64)
    assert source.read(0).gap == 0
    for number in (1, 2):
        with pytest.raises(ERRORS[kind], match=f"scripted fault at read {number}: {kind}"):
            source.read(0)
    frame = source.read(0)
    assert (frame.frame_id, frame.gap) == (3, 2)
    assert source.read(0).gap == 0


def test_a_lost_source_stays_lost_until_it_is_opened_again() -> None:
    source = _faulty(Fault(frame=0, kind="lost"))
    for _ in range(3):
        with pytest.raises(SourceLost):
            source.read(0)


def test_a_hang_ends_with_the_frame_when_the_source_is_closed() -> None:
    source = _faulty(Fault(frame=0, kind="hang", seconds=60))
    source.trigger(3000)
    names: list[str] = []
    reader = threading.Thread(target=lambda: names.append(source.read(0).name))
    reader.start()
    source.close()
    reader.join(5)
    assert names == ["section 3"]


def test_a_station_file_can_script_the_faults() -> None:
    text = "source: {kind: synthetic, width: 64, height: 48}\nfaults: [{frame: 0, kind: incomplete}]\n"
    source = open_source(parse_yaml("kind: faulty\n" + text, FaultyConfig, "s.yaml"), Path())
    with pytest.raises(SourceError, match="scripted fault at read 0: incomplete"):
        source.read(100)
