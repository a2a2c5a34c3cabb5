"""The parity gate: a precision in which the bundle does not decide as in FP32 is not written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from kernels import preprocess
from runtime.errors import ConfigError, EngineError
from runtime.measure.gate import GateImage, gate_set
from runtime.measure.parity import Judged, compare, judge_all
from runtime.opening import open_detector
from runtime.precision import NETWORK_FILES, PrecisionPart
from runtime.selftest import require_golden

from .draft import Draft
from .precision.half import emulate_half, to_half
from .precision.islands import find_islands, worst_layer
from .precision.work import half_share

F32 = NDArray[np.float32]

LEAST_WORK = 0.95
"""Share of the convolutions' work that FP16 must do."""
COMPARED = 3
"""Images of the gate set whose every tensor is compared."""


def prove_precisions(draft: Draft, precisions: Sequence[str], flips_allowed: int = 0) -> Draft:
    """The draft with every precision that was asked for, each with what was measured.

    Args:
        precisions: of "fp32", "fp16", "bf16"; fp32 is always there.
        flips_allowed: images that may change sides; more than 0 is written down and goes into every verdict.

    Raises:
        ConfigError: an unknown precision, or one in which the bundle decides otherwise.
        EngineError: bf16 without OpenVINO, or on a CPU that has none.
    """
    unknown = set(precisions) - set(NETWORK_FILES)
    if unknown or flips_allowed < 0:
        raise ConfigError(
            f"precisions: {', '.join(precisions)} with {flips_allowed} flips allowed; expected some of "
            f"{', '.join(NETWORK_FILES)}, and 0 or more flips"
        )
    images = gate_set(draft.bundle)
    exact: list[Judged] = []
    for precision, prove in PROOFS.items():
        if precision in precisions:
            exact = exact or _judge(draft, images)
            draft = prove(draft, images, exact, flips_allowed)
    return draft


def _prove_fp16(draft: Draft, images: Sequence[GateImage], exact: Sequence[Judged], allowed: int) -> Draft:
    model = onnx.load_from_string(draft.bundle.files["network.onnx"])
    layers = find_islands(model, [_input(draft, image) for image in images[:COMPARED]])
    names = [island.node for island in layers.islands]
    work = half_share(model, names)
    if work < LEAST_WORK:
        raise ConfigError(
            f"fp16: only {work:.1%} of the convolutions' work is in FP16, expected at least "
            f"{LEAST_WORK:.0%}; {names[0]} and {len(names) - 1} more layers are in FP32, as "
            f"{layers.islands[0].reason}; export without fp16 (--precisions)"
        )
    rounded = draft.with_files({"network.onnx": emulate_half(model, names).SerializeToString()})
    _require_golden(rounded, "fp16")
    parity = compare(images, exact, _judge(rounded, images))
    part = PrecisionPart(parity=parity, flips_allowed=allowed, work=work, islands=layers.islands)
    half = to_half(model, names).SerializeToString()
    worst = next(image for image in images if image.name == parity.worst)
    proved = _allow(draft, "fp16", part, lambda: worst_layer(model, names, _input(draft, worst)))
    return proved.with_files({NETWORK_FILES["fp16"]: half})


def _prove_bf16(draft: Draft, images: Sequence[GateImage], exact: Sequence[Judged], allowed: int) -> Draft:
    trial = draft.with_manifest(allowed_precisions=("bf16",))
    _require_golden(trial, "bf16", "openvino:bf16")
    parity = compare(images, exact, _judge(trial, images, "openvino:bf16"))
    return _allow(draft, "bf16", PrecisionPart(parity=parity, flips_allowed=allowed))


PROOFS: dict[str, Callable[[Draft, Sequence[GateImage], Sequence[Judged], int], Draft]] = {
    "fp16": _prove_fp16,
    "bf16": _prove_bf16,
}
"""Precision -> what measures it and adds it to a draft."""


def _require_golden(draft: Draft, precision: str, backend: str = "onnxruntime:fp32") -> None:
    """Raises ConfigError when a golden image would fail the selftest of every start in this precision."""
    try:
        require_golden(draft.bundle, backend, 1)
    except EngineError as error:
        raise ConfigError(f"{precision}: {error}; export without {precision} (--precisions)") from None


def _allow(
    draft: Draft, precision: str, part: PrecisionPart, layer: Callable[[], str] | None = None
) -> Draft:
    fault = part.parity.fault(part.flips_allowed)
    if fault:
        where = "" if layer is None else f", there layer {layer()} is furthest off"
        raise ConfigError(f"{precision}: {fault}{where}; export without {precision} (--precisions)")
    manifest = draft.bundle.manifest
    return draft.with_manifest(
        allowed_precisions=(*manifest.allowed_precisions, precision),
        precisions={**manifest.precisions, precision: part},
    )


def _judge(draft: Draft, images: Sequence[GateImage], backend: str = "onnxruntime:fp32") -> list[Judged]:
    detector = open_detector(draft.bundle, backend=backend)
    judged = judge_all(detector, images)
    detector.close()
    return judged


def _input(draft: Draft, image: GateImage) -> F32:
    """(1, 3, H, W) float32 as the network takes it."""
    manifest = draft.bundle.manifest
    how, tensor = manifest.preprocessing, np.zeros(manifest.network.input.shape, np.float32)
    preprocess(image.pixels, how.size, how.mean, how.std, None, tensor[0])
    return tensor
