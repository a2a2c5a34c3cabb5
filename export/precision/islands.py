"""Which nodes have to stay in FP32: found by running the network both ways and comparing every tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from runtime.errors import ConfigError
from runtime.precision import Island

from .half import emulate_half

F32 = NDArray[np.float32]
Tensors = Mapping[str, F32]

NODE_LIMIT, OUTPUT_LIMIT = 0.01, 0.02
"""Largest relative error of a node that cancels, and of an output (by which golden images may differ)."""
UNIT = 2.0**-11
"""FP16 rounds a value by at most this share of it."""
CANCELS = 4.0
"""A node whose error is so many times that of its inputs loses what it has to keep. What a deep network
gathers layer by layer is no island's to mend: there no node stands out."""


@dataclass(frozen=True)
class Layers:
    """What the per-tensor pass found."""

    islands: tuple[Island, ...]
    errors: Mapping[str, float]
    """Per node, in the graph's order: rms of FP16 less FP32 over the rms of FP32, the greatest of all images;
    infinite where FP16 is not finite."""

    def worst(self) -> str:
        """The node that is furthest off, for a message; the first of several."""
        return max(self.errors, key=lambda name: self.errors[name])


def find_islands(model: onnx.ModelProto, images: Sequence[F32]) -> Layers:
    """The nodes that must compute in FP32 on these images.

    A node that multiplies its inputs' error becomes an island; where it is one already, what comes into it
    does, as it was rounded on the way.

    Args:
        model: FP32 throughout.
        images: (1, 3, H, W) float32, as preprocess gives them.

    Raises:
        ConfigError: an output is off by more than `OUTPUT_LIMIT` all the same.
    """
    search = _Search(model, images)
    errors = search.errors()
    while search.widen(errors):
        errors = search.errors()
    islands = tuple(Island(node=name, reason=why) for name, why in search.islands.items())
    found = Layers(islands, errors)
    for output in model.graph.output:
        if not errors[output.name] <= OUTPUT_LIMIT:
            raise ConfigError(
                f"FP16: output {output.name} is off by {errors[output.name]:.2g} of itself, expected at most "
                f"{OUTPUT_LIMIT:g}; the worst layer is {found.worst()}; export without fp16 (--precisions)"
            )
    return found


def worst_layer(model: onnx.ModelProto, islands: Sequence[str], image: F32) -> str:
    """The layer that is furthest off in an image, the first where several are not finite."""
    search = _Search(model, [image])
    search.islands = dict.fromkeys(islands, "")
    return Layers((), search.errors()).worst()


class _Search:
    """The islands so far, and the exact tensors to compare with."""

    def __init__(self, model: onnx.ModelProto, images: Sequence[F32]) -> None:
        self._model, self._images = model, images
        self._nodes = {node.output[0]: node for node in model.graph.node}
        self._exact = _tensors(model, list(self._nodes), images)
        self.islands: dict[str, str] = {}

    def errors(self) -> dict[str, float]:
        """Per node, see `Layers.errors`."""
        half = _tensors(emulate_half(self._model, self.islands), list(self._nodes), self._images)
        return {
            name: max(_error(a[name], b[name]) for a, b in zip(self._exact, half, strict=True))
            for name in self._nodes
        }

    def widen(self, errors: Mapping[str, float]) -> bool:
        """Takes more nodes into FP32; False when none stands out any more, or all is taken."""
        before = len(self.islands)
        for name, node in self._nodes.items():
            growth = _growth(errors[name], [errors.get(above, UNIT) for above in node.input])
            if errors[name] > NODE_LIMIT and growth >= CANCELS:
                self._take(name, errors[name], growth)
        return len(self.islands) > before

    def _take(self, name: str, error: float, growth: float) -> None:
        if name not in self.islands:
            self.islands[name] = f"off by {error:.2g} of itself, {growth:.3g} times its inputs' error"
            return
        for feeder in self._feeders(name):
            self.islands[feeder] = f"its rounding costs {name} {growth:.3g} times as much"

    def _feeders(self, name: str) -> list[str]:
        """The nearest nodes above that are still in FP16."""
        found: list[str] = []
        for above in self._nodes[name].input:
            if above in self.islands:
                found += self._feeders(above)
            elif above in self._nodes:
                found.append(above)
        return found


def _growth(error: float, above: Sequence[float]) -> float:
    """By how much a node multiplies the error that comes in, which is at least one rounding."""
    most = max(UNIT, *above)
    return 0.0 if np.isinf(most) else error / most


def _error(exact: F32, half: F32) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        rms = float(np.sqrt(np.mean(np.square(half - exact, dtype=np.float64))))
    size = float(np.sqrt(np.mean(np.square(exact, dtype=np.float64))))
    if rms == 0:
        return 0.0
    return rms / size if np.isfinite(rms) and size > 0 else np.inf


def _tensors(model: onnx.ModelProto, names: Sequence[str], images: Sequence[F32]) -> list[Tensors]:
    """Per image, every named tensor."""
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    del open_model.graph.output[:]
    open_model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(
        open_model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [dict(zip(names, session.run(names, {"image": image}), strict=True)) for image in images]
