"""The accuracy benchmark: which rows share a network, that sharing changes nothing, what the page says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.accuracy_cases import VARIANTS, Case, grouped
from benchmarks.accuracy_measure import Heads
from benchmarks.accuracy_page import to_page
from benchmarks.accuracy_report import Report, Row, Run
from export.bundling import export_bundle
from export.methods.grnr import GrnrExport
from runtime.bundle import Bundle, GrnrHead, load_bundle
from runtime.detector import HostDetector
from runtime.heads import host_kernels, open_head
from runtime.measure.figures import Estimate, Summary
from runtime.networks import open_network
from runtime.opening import open_detector
from runtime.sources.synthetic import SyntheticConfig, SyntheticSource


def summary(image: float, pixel: float | None) -> Summary:
    def estimate(value: float | None) -> Estimate | None:
        return None if value is None else Estimate(value, value - 0.1, value + 0.1)

    return Summary(
        images={"good": 3, "hole": 2},
        image_auroc=estimate(image),
        f1_max=estimate(0.9),
        f1_threshold=1.0,
        pixel_auroc=estimate(pixel),
        pixel_auroc_error=None,
        pixel_auroc_per_image=None,
        aupro=None,
        regions=2,
        regions_outside=0,
        excluded_share=0.0,
        kinds=[],
        good_scores=None,
        at_threshold=None,
        ms_per_image={},
        notes=["no masks"] if pixel is None else [],
    )


def row(case: Case, result: Summary | None, error: str | None = None) -> Row:
    return Row(
        key=case.key,
        set=case.set,
        backbone=case.backbone,
        preset=case.preset,
        shots=case.shots,
        draw=case.draw,
        limit=case.limit,
        variant=case.variant,
        commit="c0ffee",
        code="code",
        data="data",
        summary=result,
        error=error,
    )


@pytest.fixture
def run() -> Run:
    kinds = {"cloth": "texture", "steel": "texture", "nut": "object"}
    return Run("c0ffee", "code", "data", "a machine", {"numpy": "2"}, "python -m bench", kinds)


def test_rows_share_a_network_unless_it_is_what_changes() -> None:
    names = ["", "score: maximum of the map", "input 256 px", "layers 2 and 3"]
    cases = [Case("cloth", "resnet18", "default", variant=name) for name in names]
    cases.append(Case("cloth", "resnet18", "default", shots=5))
    groups = [[case.variant for case in group] for group in grouped(cases)]
    assert groups == [["", "score: maximum of the map", ""], ["input 256 px"], ["layers 2 and 3"]]


def test_every_variant_differs_from_the_default() -> None:
    config = Case("cloth", "filter_bank", "default").method(None)
    laid = config.network(Path())
    head, _ = config.head(laid.part, {})
    for name, change in VARIANTS.items():
        if "filter_bank" in change.backbones:
            case = Case("cloth", "filter_bank", "default", variant=name)
            assert (case.method(None), case.changed(head)) != (config, head), name


def test_a_head_among_several_gives_what_it_gives_alone(tmp_path: Path) -> None:
    export_bundle(GrnrExport(id="a", size=160), tmp_path, [], tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    changed = Case("cloth", "filter_bank", "default", variant="ring 3 cells").changed(_head(bundle))
    manifest = msgspec.structs.replace(bundle.manifest, head=changed)
    bundles = [bundle, replace(bundle, manifest=manifest)]
    source = SyntheticSource(SyntheticConfig(width=200, height=160, seed=3, defect_rate=1.0))
    image = np.zeros(source.shape, np.uint8)
    source.render(0, 0, image)
    alone = [(p.score, p.anomaly_map.copy()) for p in (open_detector(b).predict(image) for b in bundles)]
    kernels = host_kernels()
    heads = Heads([open_head(b, kernels) for b in bundles])
    network = open_network("onnxruntime", bundle)
    HostDetector(bundle.manifest.preprocessing, network, heads, kernels).predict(image)
    assert alone[0][0] != alone[1][0]
    for (score, anomaly_map), (shared_map, shared_score) in zip(alone, heads.results, strict=True):
        assert float(shared_score[0]) == score
        np.testing.assert_array_equal(shared_map, anomaly_map)


def test_the_page_means_over_textures_only_and_orders_changes_by_what_they_gain(run: Run) -> None:
    rows = [
        row(Case("cloth", "filter_bank", "default"), summary(0.8, 0.9)),
        row(Case("steel", "filter_bank", "default"), summary(0.6, None)),
        row(Case("nut", "filter_bank", "default"), summary(0.1, 0.1)),
    ]
    for name, gain in (("a = 0.5", -0.1), ("ring 1 cell", 0.2)):
        case = Case("cloth", "filter_bank", "default", variant=name)
        rows.append(row(case, summary(0.8 + gain, 0.9 + gain / 4)))
    lines = to_page(Report(run, rows)).splitlines()
    assert "| filter_bank | default | 0.700 | 0.900 | - | - |" in lines
    tried = [line for line in lines if line.startswith(("| ring 1", "| a = 0.5"))]
    assert tried == [
        "| ring 1 cell | 1.000 / 0.950 | - / - | - / - | +0.200 | +0.050 |",
        "| a = 0.5 | 0.700 / 0.875 | - / - | - / - | -0.100 | -0.025 |",
    ]


def test_the_page_says_what_failed_and_which_rows_are_old(run: Run) -> None:
    good, bad = Case("cloth", "filter_bank", "default"), Case("nut", "filter_bank", "default", 5)
    old = row(good, summary(0.8, 0.9))
    page = to_page(Report(msgspec.structs.replace(run, code="new"), [old, row(bad, None, "no such image")]))
    assert "- 2 of 2 rows are from other code or data than the last run" in page
    assert f"- {bad.key}: no such image" in page


def _head(bundle: Bundle) -> GrnrHead:
    head = bundle.manifest.head
    assert isinstance(head, GrnrHead)
    return head
