"""`gonogo build`: a bundle's engine for this machine, which must then decide as the bundle does in FP32."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..bundle import Bundle, load_bundle
from ..errors import EngineError
from ..measure.gate import gate_set
from ..measure.parity import compare, judge_all
from ..networks import precision_of
from ..networks.tensorrt.network import ENGINES, TensorRtNetwork
from ..opening import open_detector


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument("--backend", default="tensorrt", metavar="NAME[:PRECISION]", help=", ".join(ENGINES))
    parser.add_argument("--anew", action="store_true", help="build, also where the cache has the engine")


def run(arguments: argparse.Namespace) -> int:
    """Builds, with a line of progress every few seconds; 0 when the engine decides alike, else 1."""
    bundle, name = load_bundle(arguments.bundle), arguments.backend.partition(":")[0]
    if name not in ENGINES:
        raise EngineError(f"backend {name} builds no engine; expected one of {', '.join(ENGINES)}")
    precision = precision_of(arguments.backend, bundle)
    engine = ENGINES[name]
    network = engine(bundle, 1, precision, report=_say, anew=arguments.anew)
    return prove(bundle, network)


def prove(bundle: Bundle, network: TensorRtNetwork) -> int:
    """Judges the gate set with the engine and in FP32 on the CPU; an engine that fails is forgotten.

    Returns:
        0 where both decide alike, else 1.
    """
    images = gate_set(bundle)
    exact = open_detector(bundle, backend="onnxruntime:fp32")
    detector = open_detector(bundle, network=network)
    try:
        parity = compare(images, judge_all(exact, images), judge_all(detector, images))
    finally:
        exact.close()
        detector.close()
    part = bundle.manifest.precisions.get(network.precision)
    fault = parity.fault(0 if part is None else part.flips_allowed)
    if fault:
        network.forget()
        print(f"FAIL: {fault}; the engine was deleted")
        return 1
    print(f"{parity.good + parity.planted} gate images: {parity.flips} change sides against FP32 on the CPU;")
    print(f"score shift {parity.shift:.2g} spreads, map correlation {parity.correlation:.5f}: pass")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)
