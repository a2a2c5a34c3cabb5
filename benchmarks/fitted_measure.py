"""The real path of a benchmark that fits: fit, export, load, evaluate; what is known is measured once."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from benchmarks.accuracy_common import code_digest, command, cpu_ms, data_digest, files_of, in_short
from benchmarks.fitted_report import FittedReport, FittedRun, R, Section
from export.bundling import export_fitted
from export.draft import draft_bundle
from export.fitted import Fitted
from export.fitting import ImageFiles, fit_method
from export.methods import MethodConfig
from runtime.bundle import Bundle, load_bundle
from runtime.detector import Detector
from runtime.errors import ConfigError, InspectionError
from runtime.images.dataset import Sample, load_dataset, train_good
from runtime.measure.evaluation import evaluate
from runtime.measure.machine import this_machine
from runtime.opening import open_detector
from runtime.terms import Thresholds


def sets_with_good(arguments: argparse.Namespace) -> dict[str, int]:
    """Wanted set -> its images in train/good, small sets first.

    Raises:
        ConfigError: a set that is not there.
    """
    found = {p.name: len(train_good(p)) for p in arguments.data.iterdir() if (p / "train" / "good").is_dir()}
    for name in set(arguments.sets or found) - set(found):
        raise ConfigError(f"{arguments.data}: no set {name!r} with train/good; expected {', '.join(found)}")
    return {name: found[name] for name in sorted(arguments.sets or found, key=lambda n: found[n])}


def measure_missing(
    section: Section[R],
    arguments: argparse.Namespace,
    decides: tuple[str, ...],
    wanted: Iterable[R],
    method_of: Callable[[R], MethodConfig],
    measured: Callable[[R, MethodConfig], R],
) -> None:
    """Measures every row that is missing, failed, or stale by data or code, and writes the report.

    Args:
        decides: glob patterns of the source files whose change makes a row stale.
        measured: the row with its figures; an InspectionError becomes the row's error; one of
            `method_of` ends the run.
    """
    said = command(section.script, arguments)
    run = FittedRun(this_machine(), said, code_digest(files_of(decides)), data_digest(arguments.data))
    facts = {"commit": run.machine.commit or "unknown", "code": run.code, "data": run.data}
    rows = {row.key: row for row in section.load(arguments.output).rows}
    for plain in wanted:
        row = msgspec.structs.replace(plain, **facts)
        known = rows.get(row.key)
        if known is None or (known.code, known.data) != (row.code, row.data) or known.error:
            rows[row.key] = done = _tried(row, method_of(row), measured)
            print(f"{row.key}: {done.error or _short(done)}", flush=True)
            section.save(FittedReport(run, list(rows.values())), arguments.output)
    section.save(FittedReport(run, list(rows.values())), arguments.output)


def _tried(row: R, method: MethodConfig, measured: Callable[[R, MethodConfig], R]) -> R:
    try:
        return measured(row, method)
    except InspectionError as error:
        return msgspec.structs.replace(row, error=str(error))


def fitted_to(method: MethodConfig, path: Path) -> tuple[Fitted, float]:
    """The method fitted to the good images of a set, and the processor seconds that took."""
    start = time.process_time()
    fitted = fit_method(method, Path(), ImageFiles(train_good(path)))
    return fitted, time.process_time() - start


def exported(method: MethodConfig, fitted: Fitted) -> tuple[Bundle, str | None]:
    """The bundle; where export refuses it, the one it would have been, and why."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "bundle"
        try:
            export_fitted(method, Path(), fitted, out)
            return load_bundle(out), None
        except ConfigError as error:
            draft = draft_bundle(method, Path(), out).with_memory(fitted.arrays)
            return draft.with_manifest(suggestion=fitted.facts.suggestion).bundle, str(error)


def evaluated(
    row: R, bundle: Bundle, path: Path, look: Callable[[Detector, Sequence[Sample]], None] | None = None
) -> R:
    """The row with what the bundle reaches on all test images of a set, at its suggested threshold.

    Args:
        look: is given the open detector and the images at the end.
    """
    suggestion = bundle.manifest.suggestion
    assert suggestion is not None
    detector, samples = open_detector(bundle), load_dataset(path).samples
    summary = evaluate(detector, samples, Thresholds(suggestion.threshold)).summary()
    spent = cpu_ms(detector, [sample.path for sample in samples])
    if look is not None:
        look(detector, samples)
    detector.close()
    size = sum(map(len, bundle.files.values())) / 1e6
    return msgspec.structs.replace(row, summary=summary, cpu_ms=spent, bundle_mb=size)


def _short(row: R) -> str:
    assert row.summary is not None
    return f"{in_short(row.summary)}; fit {row.fit_cpu_s:.0f} s, {row.cpu_ms:.0f} ms an image"
