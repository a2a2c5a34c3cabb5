"""A bundle in memory while it is made: it can already judge images, before anything is written."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.bundle import SCHEMA, Bundle, GoldenPart, Manifest
from runtime.errors import ConfigError
from runtime.opening import open_detector

from .method import Arrays, Laid, Method

U8 = NDArray[np.uint8]

TOLERANCE = 0.02
"""Relative; backends in FP32 differ by some 1e-5 in features, which products of maps multiply."""


@dataclass(frozen=True)
class Draft:
    """Settings, network and head together."""

    method: Method
    bundle: Bundle
    frozen: Laid
    """The network before anything was trained."""

    def with_manifest(self, **changes: object) -> Draft:
        """The draft with fields of its manifest changed."""
        manifest = msgspec.structs.replace(self.bundle.manifest, **changes)
        return replace(self, bundle=replace(self.bundle, manifest=manifest))

    def with_files(self, files: dict[str, bytes]) -> Draft:
        """The draft with files added or changed."""
        return replace(self, bundle=replace(self.bundle, files={**self.bundle.files, **files}))

    def with_memory(self, memory: Arrays) -> Draft:
        """The draft with what its method kept of good images."""
        laid = self.method.finish(self.frozen, memory)
        head, arrays = self.method.head(laid.part, memory)
        drawn = self.with_manifest(network=laid.part, preprocessing=laid.preprocessing, head=head)
        return drawn.with_files(_files(laid, arrays))

    def scores(self, images: Iterable[U8]) -> list[float]:
        """Scores of images through the real path.

        Raises:
            ConfigError: one is not a finite number.
        """
        detector = open_detector(self.bundle)
        scores = [detector.predict(image).score for image in images]
        detector.close()
        if not np.isfinite(scores).all():
            raise ConfigError(f"scores are {scores}; expected finite numbers from these images")
        return scores


def draft_bundle(method: Method, base: Path, out: Path) -> Draft:
    """A draft without memory and golden images.

    Args:
        base: folder that paths in the method's settings are relative to.
        out: where the bundle will lie; nothing is written.

    Raises:
        ConfigError: settings do not fit.
    """
    laid = method.network(base)
    head, arrays = method.head(laid.part, {})
    manifest = Manifest(
        schema=SCHEMA,
        id=method.id,
        method=str(type(method).__struct_config__.tag),  # type: ignore[attr-defined]
        preset=method.preset,
        network=laid.part,
        preprocessing=laid.preprocessing,
        head=head,
        golden=GoldenPart(images=(), threshold=0.0, tolerance=TOLERANCE, margin=0.0),
        versions=versions(),
        created=now(),
        files={},
    )
    return Draft(method, Bundle(out, manifest, "", _files(laid, arrays)), laid)


def versions() -> dict[str, str]:
    """What writes the file."""
    return {name: version(name) for name in ("gonogo", "numpy", "onnx", "onnxruntime")}


def now() -> str:
    """UTC date and time, ISO 8601."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def npz(arrays: Arrays) -> bytes:
    """The arrays as the bytes of an .npz; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _files(laid: Laid, arrays: Arrays) -> dict[str, bytes]:
    return {"network.onnx": laid.model, "head.npz": npz(arrays)}
