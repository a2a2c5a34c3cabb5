"""From a network in ONNX to an engine: parsed as it is typed, no precision is asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from ...errors import EngineError
from .library import open_log

Report = Callable[[str], None]
EVERY_S = 2.0
"""A line of progress at least so often."""


def build_engine(
    trt: Any,
    model: bytes,
    where: str,
    report: Report,
    timing: bytes = b"",
    capability: str | None = None,
    every_s: float = EVERY_S,
) -> tuple[bytes, bytes]:
    """The serialized engine of a network, and the timings that make the next build faster.

    Args:
        trt: the module, TensorRT or TensorRT-RTX.
        model: ONNX with a type for every tensor.
        where: its file, for messages.
        report: told about the progress, in lines.
        timing: what the build before gave; empty for none.
        every_s: how often `report` is told, at least.
        capability: a GPU that TensorRT-RTX builds for without having it, such as "SM86"; None: this one.

    Raises:
        EngineError: it does not parse or build; with TensorRT's own words.
    """
    log = open_log(trt)
    builder = trt.Builder(log)
    # Accepted and always on from 11.0; with it the types in the graph are what is computed in.
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(model):
        first = parser.get_error(0).desc() if parser.num_errors else log.error
        raise EngineError(f"{where}: {trt.__name__} {trt.__version__} cannot parse it: {first}")
    config = builder.create_builder_config()
    # Helper streams would run beside the one that the kernels around the network are enqueued on.
    config.max_aux_streams = 0
    if capability is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    # TensorRT-RTX measures no kernels while it builds.
    cache = config.create_timing_cache(timing) if trt.__name__ == "tensorrt" else None
    if cache is not None:
        config.set_timing_cache(cache, False)
    with _Progress(trt, config, report, every_s):
        engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise EngineError(f"{where}: {trt.__name__} {trt.__version__} cannot build it: {log.error}")
    return bytes(engine), b"" if cache is None else bytes(cache.serialize())


class _Progress(AbstractContextManager["_Progress"]):
    """Says every `every_s` how far the build is, also while TensorRT itself says nothing."""

    def __init__(self, trt: Any, config: Any, report: Report, every_s: float) -> None:
        self._report, self._every_s, self._start = report, every_s, time.monotonic()
        self._phase, self._done, self._ended = "starts", "", threading.Event()
        progress = self

        class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.IProgressMonitor.__init__(self)
                self.steps: dict[str, int] = {}

            def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
                self.steps[phase_name] = num_steps
                progress.at(phase_name, 0, num_steps)

            def step_complete(self, phase_name: str, step: int) -> bool:
                progress.at(phase_name, step + 1, self.steps.get(phase_name, 0))
                return True

            def phase_finish(self, phase_name: str) -> None:
                self.steps.pop(phase_name, None)

        # Held here too: the config keeps a bare pointer.
        self._monitor = config.progress_monitor = Monitor()
        self._thread = threading.Thread(target=self._tick, name="build", daemon=True)

    def at(self, phase: str, done: int, steps: int) -> None:
        """Notes where the build is."""
        self._phase, self._done = phase, f" {done} of {steps}"

    def __enter__(self) -> _Progress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _tick(self) -> None:
        while not self._ended.wait(self._every_s):
            seconds = time.monotonic() - self._start
            self._report(f"{self._phase}{self._done}, {seconds:.0f} s")
