"""Measures rows that share a network: it runs once per image, and every row's head on its features."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy_cases import Case
from benchmarks.accuracy_common import cpu_ms
from benchmarks.accuracy_report import Row, Run
from export.bundling import export_bundle
from runtime.bundle import Bundle, GrnrHead, load_bundle
from runtime.detector import HostDetector
from runtime.errors import InspectionError
from runtime.head import Head
from runtime.heads import host_kernels, open_head
from runtime.images.dataset import load_dataset
from runtime.images.files import load_image
from runtime.measure.evaluation import Evaluation, judge_file
from runtime.network import Buffers
from runtime.networks import open_network
from runtime.opening import open_detector
from runtime.terms import Thresholds

F32 = NDArray[np.float32]


class Heads:
    """Several heads on the same features, seen from the detector as one: the first."""

    def __init__(self, heads: Sequence[Head]) -> None:
        self._heads = heads
        self.map_shape = heads[0].map_shape
        self.results: list[tuple[F32, F32]] = []
        """Map and score of each."""

    def bind(self, features: Buffers, anomaly_map: F32, score: F32, mask: F32 | None) -> None:
        """As in `Head`; the others get memory of their own."""
        self.results = [(anomaly_map, score)]
        for head in self._heads[1:]:
            self.results.append((np.zeros(head.map_shape, np.float32), np.zeros(1, np.float32)))
        for head, (own_map, own_score) in zip(self._heads, self.results, strict=True):
            head.bind(features, own_map, own_score, mask)

    def run(self, stream: object | None = None) -> None:
        """As in `Head`."""
        for head in self._heads:
            head.run(stream)

    def close(self) -> None:
        """As in `Head`."""
        for head in self._heads:
            head.close()


def measure(cases: Sequence[Case], data: Path, weights: Path | None, run: Run) -> list[Row]:
    """One row per case, all of one network; an export or image that fails is a row that says so."""
    rows, ready = [], []
    with tempfile.TemporaryDirectory() as folder:
        for i, case in enumerate(cases):
            try:
                ready.append((case, _bundle(case, data, weights, Path(folder) / str(i))))
            except InspectionError as error:
                rows.append(_row(case, run, error=str(error)))
        try:
            return rows + (_judge(ready, data, run) if ready else [])
        except InspectionError as error:
            return rows + [_row(case, run, error=str(error)) for case, _ in ready]


def _bundle(case: Case, data: Path, weights: Path | None, out: Path) -> Bundle:
    good = [load_image(path) for path in case.good(data)]
    export_bundle(case.method(weights), Path(), good, out)
    bundle = load_bundle(out)
    head = bundle.manifest.head
    assert isinstance(head, GrnrHead)
    manifest = msgspec.structs.replace(bundle.manifest, head=case.changed(head))
    return replace(bundle, manifest=manifest)


def _judge(ready: Sequence[tuple[Case, Bundle]], data: Path, run: Run) -> list[Row]:
    first, bundle = ready[0]
    dataset = load_dataset(data / first.set, first.limit)
    kernels = host_kernels()
    heads = Heads([open_head(b, kernels) for _, b in ready])
    network = open_network("onnxruntime", bundle)
    detector = HostDetector(bundle.manifest.preprocessing, network, heads, kernels)
    evaluations = [Evaluation(_thresholds(b)) for _, b in ready]
    for sample in dataset.samples:
        image, prediction, _ = judge_file(detector, sample.path)
        for evaluation, (own_map, score) in zip(evaluations, heads.results, strict=True):
            own = replace(prediction, anomaly_map=own_map, score=float(score[0]))
            evaluation.add(sample, (image.shape[0], image.shape[1]), own)
    detector.close()
    paths = [sample.path for sample in dataset.samples]
    return [
        _row(case, run, summary=evaluation.summary(), cpu_ms=_cpu_ms(case, b, paths))
        for (case, b), evaluation in zip(ready, evaluations, strict=True)
    ]


def _row(case: Case, run: Run, **results: object) -> Row:
    fields = ("key", "set", "backbone", "preset", "shots", "draw", "variant", "limit")
    facts = {name: getattr(case, name) for name in fields}
    return msgspec.convert(
        {**facts, "commit": run.commit, "code": run.code, "data": run.data, **results},
        Row,
        from_attributes=True,
    )


def _thresholds(bundle: Bundle) -> Thresholds | None:
    suggestion = bundle.manifest.suggestion
    return None if suggestion is None else Thresholds(suggestion.threshold)


def _cpu_ms(case: Case, bundle: Bundle, paths: Sequence[Path]) -> float | None:
    """Median processor time of the detector on TIMED images, evenly picked, ms; zero-shot rows only."""
    if case.shots or case.variant:
        return None
    detector = open_detector(bundle)
    spent = cpu_ms(detector, paths)
    detector.close()
    return spent
