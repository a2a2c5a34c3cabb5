"""TensorRT's backend without TensorRT: a module of the same names that runs ONNX, on a recording device.

The names are those that `test_tensorrt_contract.py` holds against the real bindings.
"""

from __future__ import annotations

import ctypes
import enum
import json
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from kernels.device import Probe
from kernels.providers.recording import RecordingDevice
from runtime.bundle import Bundle, load_bundle
from runtime.errors import DetectorError, EngineError
from runtime.networks.tensorrt.builder import build_engine
from runtime.networks.tensorrt.cache import EngineCache, EngineKey
from runtime.networks.tensorrt.library import open_library, require_release
from runtime.networks.tensorrt.network import TensorRtNetwork
from runtime.opening import open_detector
from runtime.verbs.build import prove

U8 = NDArray[np.uint8]
MARK = b"engine of "
"""What a fake engine begins with; its network follows."""


class Mode(enum.Enum):
    INPUT, OUTPUT = range(2)


class Kind(enum.Enum):
    FLOAT, HALF = range(2)


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class IProgressMonitor:
    """As TensorRT's."""


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine, self._addresses = engine, dict[str, int]()

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return self._engine.fails != "bind"

    def execute_async_v3(self, stream: int) -> bool:
        outputs = self._engine.session.run(None, {"image": self._array("image")})
        for spec, value in zip(self._engine.session.get_outputs(), outputs, strict=True):
            self._array(spec.name)[...] = value
        return self._engine.fails != "run"

    def _array(self, name: str) -> Any:
        """The memory behind an address, which a recording device has on the CPU."""
        shape, dtype = self._engine.get_tensor_shape(name), self._engine.numpy_dtype
        size = int(np.prod(shape)) * dtype.itemsize
        held: Any = (ctypes.c_uint8 * size).from_address(self._addresses[name])
        return np.frombuffer(held, dtype).reshape(shape)


class Engine:
    def __init__(self, data: bytes, fails: str) -> None:
        self.fails = fails
        self.session = onnxruntime.InferenceSession(
            data.removeprefix(MARK), providers=["CPUExecutionProvider"]
        )
        self._specs: dict[str, Any] = {
            s.name: s for s in (*self.session.get_inputs(), *self.session.get_outputs())
        }
        half = self.session.get_inputs()[0].type == "tensor(float16)"
        self.numpy_dtype = np.dtype(np.float16 if half else np.float32)
        self.num_io_tensors = len(self._specs)

    def get_tensor_name(self, index: int) -> str:
        return [*self._specs][index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._specs[name].shape)

    def get_tensor_dtype(self, name: str) -> Kind:
        return Kind.FLOAT if self.fails == "type" or self.numpy_dtype == np.float32 else Kind.HALF

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.INPUT if name == "image" else Mode.OUTPUT

    def create_execution_context(self) -> Context | None:
        return None if self.fails == "context" else Context(self)


class FakeTensorRt:
    """The module; `fails` names the step that does."""

    __name__ = "tensorrt"
    ILogger, IProgressMonitor, DataType, TensorIOMode = ILogger, IProgressMonitor, Kind, Mode
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)

    def __init__(self, fails: str = "", version: str = "10.13.2") -> None:
        self.fails, self.__version__ = fails, version
        self.built = 0
        self.timings: list[bytes] = []
        self.deserialised: list[bytes] = []
        self.hold: threading.Event | None = None
        """What a build waits for."""

    def Builder(self, log: Any) -> Any:  # noqa: N802
        def build(network: Any, config: Any) -> bytes | None:
            config.progress_monitor.phase_start("tactics", None, 7)
            config.progress_monitor.step_complete("tactics", 2)
            assert self.hold is None or self.hold.wait(30)
            self.built += 1
            if self.fails == "build":
                log.log(ILogger.ERROR, "no tactic for conv_9\nmore of it")
                return None
            return MARK + bytes(network.model)

        return SimpleNamespace(
            create_network=lambda flags: SimpleNamespace(flags=flags, model=b""),
            create_builder_config=self._config,
            build_serialized_network=build,
        )

    def OnnxParser(self, network: Any, log: Any) -> Any:  # noqa: N802
        def parse(model: bytes) -> bool:
            network.model = model
            assert network.flags == 1 << 1
            return self.fails != "parse"

        error = SimpleNamespace(desc=lambda: "Conv has two types")
        return SimpleNamespace(parse=parse, num_errors=1, get_error=lambda index: error)

    def Runtime(self, log: Any) -> Any:  # noqa: N802
        def deserialise(data: bytes) -> Engine | None:
            self.deserialised.append(data)
            return None if self.fails == "deserialise" else Engine(data, self.fails)

        return SimpleNamespace(deserialize_cuda_engine=deserialise)

    def _config(self) -> Any:
        def timing_cache(before: bytes) -> Any:
            self.timings.append(before)
            return SimpleNamespace(serialize=lambda: before + b"t")

        return SimpleNamespace(create_timing_cache=timing_cache, set_timing_cache=lambda cache, ignore: True)


class Gpu(RecordingDevice):
    """A GPU of a name."""

    def __init__(self, name: str = "Orin", arch: str = "sm_87") -> None:
        super().__init__()
        self.name, self.arch = name, arch


@pytest.fixture
def bundle(exported: Path) -> Bundle:
    return load_bundle(exported)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def opened(
    bundle: Bundle,
    cache: EngineCache,
    trt: FakeTensorRt,
    device: RecordingDevice | None = None,
    lines: list[str] | None = None,
    precision: str = "fp16",
) -> TensorRtNetwork:
    report = (lines if lines is not None else []).append
    return TensorRtNetwork(bundle, 1, precision, trt, device or Gpu(), cache, report)


def test_the_detector_judges_through_an_engine_as_the_network_does(
    bundle: Bundle, cache: EngineCache, web_image: U8
) -> None:
    for precision in ("fp16", "fp32"):
        network = opened(bundle, cache, FakeTensorRt(), precision=precision)
        seen = open_detector(bundle, network=network).predict(web_image)
        expected = open_detector(bundle, backend=f"onnxruntime:{precision}").predict(web_image)
        assert seen.score == expected.score
        np.testing.assert_array_equal(seen.anomaly_map, expected.anomaly_map)


def test_memory_is_asked_for_once_and_a_run_waits_once(
    bundle: Bundle, cache: EngineCache, web_image: U8
) -> None:
    device = Gpu()
    detector = open_detector(bundle, network=opened(bundle, cache, FakeTensorRt(), device))
    # Device and pinned, for the image and one output.
    assert device.log == ["memory"] * 4
    device.log.clear()
    detector.predict(web_image)
    detector.predict(web_image)
    assert device.log == ["copy", "copy", "wait"] * 2
    detector.close()
    assert device.log[-1] == "close"


def test_the_second_start_takes_the_engine_from_the_cache(bundle: Bundle, cache: EngineCache) -> None:
    trt, lines = FakeTensorRt(), list[str]()
    opened(bundle, cache, trt, lines=lines)
    assert "no engine of this network yet; building for Orin (sm_87) in fp16" in lines[0]
    assert lines[-1].startswith("engine of ")
    lines.clear()
    opened(bundle, cache, trt, lines=lines)
    assert (trt.built, lines) == (1, [])
    assert trt.deserialised[0] == trt.deserialised[1] == MARK + bundle.files["network.fp16.onnx"]


def test_timings_are_kept_for_the_next_build(bundle: Bundle, cache: EngineCache) -> None:
    trt = FakeTensorRt()
    opened(bundle, cache, trt)
    opened(bundle, cache, trt, precision="fp32")
    assert trt.timings == [b"", b"t"]


@pytest.mark.parametrize(
    ("trt", "device", "reason"),
    [
        (FakeTensorRt(version="10.16.0"), Gpu(), "has an engine for 10.13.2, here is 10.16.0"),
        (FakeTensorRt(), Gpu("Orin", "sm_75"), "has an engine for sm_87, here is sm_75"),
        (FakeTensorRt(), Gpu("Thor", "sm_110"), "has an engine for Orin sm_87, here is Thor sm_110"),
    ],
)
def test_a_stale_engine_is_rebuilt_with_the_reason(
    trt: FakeTensorRt, device: Gpu, reason: str, bundle: Bundle, cache: EngineCache
) -> None:
    lines: list[str] = []
    opened(bundle, cache, FakeTensorRt())
    opened(bundle, cache, trt, device, lines)
    assert reason in lines[0]
    assert trt.built == 1


def test_a_changed_engine_is_never_deserialised(bundle: Bundle, cache: EngineCache) -> None:
    opened(bundle, cache, FakeTensorRt())
    (engine,) = cache.folder.glob("*.engine")
    engine.write_bytes(engine.read_bytes() + b"x")
    trt, lines = FakeTensorRt(), list[str]()
    opened(bundle, cache, trt, lines=lines)
    assert "not the bytes that were written here; changed or damaged" in lines[0]
    assert not any(data.endswith(b"x") for data in trt.deserialised)


@pytest.mark.parametrize("entry", [None, "", "{", '{"key": {}, "sha256": "0"}'])
def test_a_foreign_engine_without_its_entry_is_never_deserialised(
    entry: str | None, bundle: Bundle, cache: EngineCache
) -> None:
    opened(bundle, cache, FakeTensorRt())
    (engine,), (index,) = cache.folder.glob("*.engine"), cache.folder.glob("*.json")
    engine.write_bytes(b"foreign")
    index.unlink()
    if entry is not None:
        index.write_text(entry)
    trt = FakeTensorRt()
    opened(bundle, cache, trt)
    assert trt.built == 1
    assert b"foreign" not in trt.deserialised


def test_an_entry_of_another_key_under_this_name_is_not_believed(bundle: Bundle, cache: EngineCache) -> None:
    opened(bundle, cache, FakeTensorRt())
    (index,) = cache.folder.glob("*.json")
    content = json.loads(index.read_text())
    content["key"]["precision"] = "fp32"
    index.write_text(json.dumps(content))
    trt = FakeTensorRt()
    opened(bundle, cache, trt)
    assert trt.built == 1


def test_a_cache_that_cannot_be_written_is_none(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    trt = FakeTensorRt()
    opened(bundle, EngineCache(tmp_path / "file" / "engines"), trt)
    assert trt.built == 1


def test_every_part_of_the_key_changes_its_name() -> None:
    key = EngineKey("a", "tensorrt", "10.3", "Orin", "sm_87", "fp16")
    fields = key.__struct_fields__
    others = {
        EngineKey(*(f"{getattr(key, f)}x" if f == changed else getattr(key, f) for f in fields)).name
        for changed in fields
    }
    assert len(others | {key.name}) == 1 + len(fields)


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        ("parse", r"network\.fp16\.onnx: tensorrt 10\.13\.2 cannot parse it: Conv has two types$"),
        ("build", r"network\.fp16\.onnx: tensorrt 10\.13\.2 cannot build it: no tactic for conv_9$"),
        ("deserialise", r"tensorrt 10\.13\.2 refuses the engine"),
        ("type", r"engine: tensors are .*FLOAT.* the manifest says .*HALF"),
        ("context", r"no memory for the engine"),
    ],
)
def test_what_tensorrt_refuses_is_one_line(
    fails: str, message: str, bundle: Bundle, cache: EngineCache
) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        opened(bundle, cache, FakeTensorRt(fails))
    assert "\n" not in str(caught.value)


def test_memory_that_is_refused_and_a_run_that_fails(
    bundle: Bundle, cache: EngineCache, web_image: U8
) -> None:
    with pytest.raises(EngineError, match="refuses its memory"):
        open_detector(bundle, network=opened(bundle, cache, FakeTensorRt("bind")))
    detector = open_detector(bundle, network=opened(bundle, cache, FakeTensorRt("run")))
    with pytest.raises(DetectorError, match="could not be enqueued"):
        detector.predict(web_image)


def test_a_long_build_says_where_it_is() -> None:
    trt, lines = FakeTensorRt(), list[str]()
    trt.hold = threading.Event()

    def report(line: str) -> None:
        lines.append(line)
        trt.hold.set()  # type: ignore[union-attr]

    build_engine(trt, b"model", "network.onnx", report, every_s=0.01)
    assert lines[0] == "tactics 3 of 7, 0 s"


def test_without_a_gpu_tensorrt_is_not_touched() -> None:
    for module in ("tensorrt", "tensorrt_rtx"):
        with pytest.raises(EngineError, match=rf"^backend {module}: no CUDA driver .* runs on the CPU$"):
            open_library(module, Probe("no CUDA driver (libcuda.so.1)"))


def test_a_package_that_is_missing_or_too_old_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"backend tensorrt: TensorRT >= 10\.3 cannot be imported"):
        open_library("tensorrt", Probe("", 1, (12, 6), "sm_87"))
    with pytest.raises(EngineError, match=r"TensorRT is 8\.6\.1; expected at least 10\.3"):
        require_release("tensorrt", "8.6.1")
    require_release("tensorrt", "10.3.0")
    require_release("tensorrt_rtx", "1.7.1")


def test_a_build_ends_with_the_gate(
    bundle: Bundle, cache: EngineCache, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prove(bundle, opened(bundle, cache, FakeTensorRt())) == 0
    assert "24 gate images: 0 change sides" in capsys.readouterr().out
    assert len(list(cache.folder.glob("*.engine"))) == 1


def test_an_engine_that_decides_otherwise_is_deleted(
    bundle: Bundle, cache: EngineCache, capsys: pytest.CaptureFixture[str]
) -> None:
    class Silent(FakeTensorRt):
        """Its engines give nothing: the outputs keep what the memory held."""

        def Runtime(self, log: Any) -> Any:  # noqa: N802
            runtime = super().Runtime(log)

            def deserialise(data: bytes) -> Engine | None:
                engine = Engine(data, self.fails)
                engine.session = SimpleNamespace(run=lambda names, feeds: [], get_outputs=list)
                return engine

            return SimpleNamespace(deserialize_cuda_engine=deserialise, kept=runtime)

    assert prove(bundle, opened(bundle, cache, Silent())) == 1
    assert "FAIL: " in capsys.readouterr().out
    assert list(cache.folder.glob("*.engine")) == []
