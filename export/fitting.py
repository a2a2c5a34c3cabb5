"""From good images to a fitted method: its memory, the threshold it suggests, and a good image to keep."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from kernels import preprocess
from runtime.bundle import Bundle, Suggestion
from runtime.errors import ConfigError
from runtime.images.files import load_image
from runtime.measure.gate import spread
from runtime.networks import open_network

from .checkpoint import Checkpoint
from .draft import Draft, draft_bundle, now, versions
from .fitted import SCHEMA, Fitted, FittedFacts
from .golden import shrunk
from .method import Memory, Method, Report

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

MIN_GOOD = 3
MAX_JUDGED = 30
"""At most this many good images, evenly spread, are judged for the suggested threshold."""


def fit_method(
    method: Method,
    base: Path,
    images: Sequence[U8],
    report: Report | None = None,
    checkpoint: Checkpoint | None = None,
) -> Fitted:
    """Fits a method to images of good parts.

    Args:
        base: folder that paths in the method's settings are relative to.
        images: good images; asked for one by one and several times, so that they need not fit into memory.
        report: told how far each step is.
        checkpoint: where a training keeps its state, to go on after it was killed; None: nowhere.

    Raises:
        ConfigError: settings do not fit, or too few images.
        InspectionError: an image cannot be read.
    """
    if len(images) < MIN_GOOD:
        raise ConfigError(f"good images: {len(images)} given; expected at least {MIN_GOOD}")
    report = report or _silent
    draft = draft_bundle(method, base, Path("fitted"))
    features = NetworkFeatures(draft.bundle, images)
    memory = method.fit(features, report, checkpoint or Checkpoint(None))
    features.close()
    scores = _left_out(draft, memory, images, report)
    typical = sorted(scores, key=lambda i: scores[i])[len(scores) // 2]
    facts = FittedFacts(
        schema=SCHEMA,
        settings=method,  # type: ignore[arg-type]
        network_sha256=hashlib.sha256(draft.bundle.files["network.onnx"]).hexdigest(),
        good_images=len(images),
        good_sha256=features.digest(),
        good_score=scores[typical],
        suggestion=_suggestion(list(scores.values())),
        versions=versions(),
        created=now(),
        files={},
    )
    judges = _judges(memory, len(images))
    gate = tuple(shrunk(images[judges[i]]) for i in spread(len(judges)))
    return Fitted(facts, memory.arrays(), images[typical], gate)


class ImageFiles(Sequence[U8]):
    """Images read from their files each time they are asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> U8: ...
    @overload
    def __getitem__(self, index: slice) -> ImageFiles: ...
    def __getitem__(self, index: int | slice) -> U8 | ImageFiles:
        if isinstance(index, slice):
            return ImageFiles(self._paths[index])
        return load_image(self._paths[index])


class NetworkFeatures(Sequence[Sequence[F32]]):
    """A bundle's features of images, through the same preprocessing and network as in use."""

    def __init__(self, bundle: Bundle, images: Sequence[U8]) -> None:
        self._images, self._how = images, bundle.manifest.preprocessing
        self._network = open_network("onnxruntime", bundle)
        self._buffers = {spec.name: np.zeros(spec.shape, np.float32) for spec in self._network.specs}
        self._network.bind(self._buffers)
        self._digests: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> Sequence[F32]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sequence[F32]]: ...
    def __getitem__(self, index: int | slice) -> Sequence[F32] | Sequence[Sequence[F32]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        image = self._images[index]
        self._digests[index] = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
        how, specs = self._how, self._network.specs
        preprocess(image, how.size, how.mean, how.std, None, self._buffers[specs[0].name][0])
        self._network.run()
        features = [self._buffers[spec.name][0].copy() for spec in specs[1:]]
        if not all(np.isfinite(feature).all() for feature in features):
            raise ConfigError(f"good image {index + 1}: its features are not finite; the weights are damaged")
        return features

    def digest(self) -> str:
        """SHA-256, hex, over the pixels of every image that was looked at, in order."""
        return hashlib.sha256(b"".join(self._digests[i] for i in sorted(self._digests))).hexdigest()

    def close(self) -> None:
        """Frees the network."""
        self._network.close()


def _left_out(draft: Draft, memory: Memory, images: Sequence[U8], report: Report) -> dict[int, float]:
    """Index of a good image -> its score without itself in the memory, where it would find itself."""
    judges = _judges(memory, len(images))
    judged = [judges[i] for i in spread(len(judges), MAX_JUDGED)]
    scores: dict[int, float] = {}
    for i in judged:
        (scores[i],) = draft.with_memory(memory.arrays(without=i)).scores([images[i]])
        report("threshold", len(scores), len(judged))
    return scores


def _judges(memory: Memory, count: int) -> Sequence[int]:
    """Indices of the good images that the memory does not know, or can leave out."""
    return range(count) if memory.held_out is None else memory.held_out


def _suggestion(scores: list[float]) -> Suggestion:
    """The threshold just above the greatest score."""
    return Suggestion(
        threshold=float(np.nextafter(np.float32(max(scores)), np.float32(np.inf))),
        good_images=len(scores),
        false_reject=1 / (len(scores) + 1),
    )


def _silent(step: str, done: int, total: int, note: str = "") -> None:
    """Nobody watches."""
