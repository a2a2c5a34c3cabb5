"""From a method's settings to a bundle on disk: parts, good images, golden images, manifest."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from kernels import preprocess
from runtime.bundle import (
    SCHEMA,
    Bundle,
    Golden,
    GoldenPart,
    Manifest,
    Suggestion,
    write_bundle,
)
from runtime.errors import ConfigError
from runtime.networks import open_network
from runtime.opening import open_detector

from .golden import golden_images
from .methods import MethodConfig
from .methods.grnr import good_banks, with_bank

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

TOLERANCE = 0.02
"""Relative; backends in FP32 differ by some 1e-5 in features, which products of maps multiply."""
LEAST_MARGIN = 1.1
"""NG golden score over OK golden score below which a bundle is not worth writing."""
MIN_GOOD = 3


@dataclass(frozen=True)
class Draft:
    """A bundle in memory while it is made."""

    bundle: Bundle
    arrays: dict[str, F32]

    def with_manifest(self, **changes: object) -> Draft:
        """The draft with fields of its manifest changed."""
        manifest = msgspec.structs.replace(self.bundle.manifest, **changes)
        return Draft(replace(self.bundle, manifest=manifest), self.arrays)

    def with_arrays(self, arrays: dict[str, F32]) -> Draft:
        """The draft with arrays of `head.npz` added or changed."""
        merged = {**self.arrays, **arrays}
        files = {**self.bundle.files, "head.npz": _npz(merged)}
        return Draft(replace(self.bundle, files=files), merged)


def export_bundle(config: MethodConfig, base: Path, good: list[U8], out: Path) -> Bundle:
    """Exports a method to a new bundle and returns it.

    Args:
        base: folder that paths in the config are relative to.
        good: images of good parts, none or at least 3; they become the memory of the global vectors, give
            a suggested threshold and the golden images.

    Raises:
        ConfigError: settings do not fit, too few good images, or a planted defect is not seen.
        BundleError: `out` exists and is not empty, or cannot be written.
    """
    if 0 < len(good) < MIN_GOOD:
        raise ConfigError(f"good images: {len(good)} given; expected none or at least {MIN_GOOD}")
    draft = _draft(config, base, out)
    if good:
        draft = _with_good(draft, good)
    draft = _with_golden(draft, good)
    write_bundle(out, draft.bundle.manifest, draft.bundle.files)
    return draft.bundle


def _draft(config: MethodConfig, base: Path, out: Path) -> Draft:
    network, part, preprocessing, head, arrays = config.parts(base)
    manifest = Manifest(
        schema=SCHEMA,
        id=config.id,
        method=str(type(config).__struct_config__.tag),
        preset=config.preset,
        network=part,
        preprocessing=preprocessing,
        head=head,
        golden=GoldenPart(images=(), threshold=0.0, tolerance=TOLERANCE, margin=0.0),
        versions={name: version(name) for name in ("gonogo", "numpy", "onnx", "onnxruntime")},
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        files={},
    )
    files = {"network.onnx": network, "head.npz": _npz(arrays)}
    return Draft(Bundle(out, manifest, "", files), arrays)


def _with_good(draft: Draft, good: list[U8]) -> Draft:
    """Adds the memory of good embeddings and the threshold they suggest."""
    head = with_bank(draft.bundle.manifest.head)
    features = _features(draft.bundle, good)
    draft = draft.with_manifest(head=head)
    left_out = []
    for i, image in enumerate(good):
        # Judged with itself in the bank, an image finds itself and scores too low.
        others = good_banks(features[:i] + features[i + 1 :], head)
        left_out.append(_scores(draft.with_arrays(others).bundle, [image])[0])
    suggestion = Suggestion(
        threshold=float(np.nextafter(np.float32(max(left_out)), np.float32(np.inf))),
        good_images=len(good),
        false_reject=1 / (len(good) + 1),
    )
    return draft.with_arrays(good_banks(features, head)).with_manifest(suggestion=suggestion)


def _with_golden(draft: Draft, good: list[U8]) -> Draft:
    """Adds one OK and one NG image per texture and the scores they must keep."""
    images = golden_images(good)
    scores = _scores(draft.bundle, [image.pixels for image in images])
    ok = max(s for s, image in zip(scores, images, strict=True) if image.label == "OK")
    if draft.bundle.manifest.suggestion is not None:
        # The golden image is in the memory and scores too low: what good parts reach counts.
        ok = max(ok, draft.bundle.manifest.suggestion.threshold)
    ng = min(s for s, image in zip(scores, images, strict=True) if image.label == "NG")
    if not ng > LEAST_MARGIN * ok:
        raise ConfigError(
            f"golden images: the planted defect scores {ng:.6g}, good ones up to {ok:.6g}; expected at least "
            f"{LEAST_MARGIN} x as much; this backbone and preset do not see it on such images"
        )
    golden = tuple(
        Golden(file=image.file, label=image.label, score=score)
        for image, score in zip(images, scores, strict=True)
    )
    part = GoldenPart(images=golden, threshold=float(np.sqrt(ok * ng)), tolerance=TOLERANCE, margin=ng / ok)
    files = {**draft.bundle.files, **{image.file: image.encoded for image in images}}
    return Draft(replace(draft.bundle, files=files), draft.arrays).with_manifest(golden=part)


def _features(bundle: Bundle, images: list[U8]) -> list[list[F32]]:
    """Per image, per output, the network's features (h, w, C)."""
    network = open_network("onnxruntime", bundle)
    buffers = {spec.name: np.zeros(spec.shape, np.float32) for spec in network.specs}
    network.bind(buffers)
    how = bundle.manifest.preprocessing
    features = []
    for image in images:
        preprocess(image, how.size, how.mean, how.std, None, buffers["image"][0])
        network.run()
        features.append([buffers[name][0].copy() for name in bundle.manifest.head.outputs])
    network.close()
    return features


def _scores(bundle: Bundle, images: list[U8]) -> list[float]:
    detector = open_detector(bundle)
    scores = [detector.predict(image).score for image in images]
    detector.close()
    if not np.isfinite(scores).all():
        raise ConfigError(f"scores are {scores}; expected finite numbers from these images")
    return scores


def _npz(arrays: dict[str, F32]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
