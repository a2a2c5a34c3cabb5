"""Every name of TensorRT that our code touches exists in the real bindings of 10.3, 10.13, 10.16 and 11.4.

The bindings come from the package index, 1 MB each; what they link to is a stub compiled here, so that no
library of NVIDIA's and no GPU is needed. What only TensorRT-RTX has stands behind a condition.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.networks import tensorrt

CODE = Path(tensorrt.__file__).parent
ROOT = CODE.parents[2]
RELEASES = {
    "10.3": "tensorrt-cu12-bindings==10.3.0",
    "10.13": "tensorrt-cu12-bindings==10.13.2.6",
    "10.16": "tensorrt-cu12-bindings==10.16.0.72",
    "11.4": "tensorrt-cu13-bindings==11.4.0.106",
}
OBJECTS = {
    "trt": "module",
    "builder": "Builder",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "parser.get_error(0)": "ParserError",
    "cache": "ITimingCache",
    "engine": "ICudaEngine",
    "self._engine": "ICudaEngine",
    "self._runtime": "Runtime",
    "self._context": "IExecutionContext",
}
"""What an object of TensorRT is called in our code -> its class."""
FILES = ("builder.py", "session.py", "library.py")
"""Where TensorRT is called."""
FUNCTIONS = [
    "getBuilderPluginRegistry",
    "getPluginRegistry",
    "getNvOnnxParserVersion",
    "initLibNvInferPlugins",
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
]
"""What the bindings take from the libraries."""
DUMP = """
import inspect, json, tensorrt_bindings as trt
from runtime.networks.tensorrt import builder, library
log = library.open_log(trt)
log.log(trt.ILogger.ERROR, "first line\\nsecond")
assert log.error == "first line", log.error
class Config: pass
with builder._Progress(trt, Config(), print, 2.0) as progress:
    monitor = progress._monitor
    monitor.phase_start("a", None, 3)
    assert monitor.step_complete("a", 0) is True
    monitor.phase_finish("a")
library.require_release("tensorrt", trt.__version__)
names = {"module": dir(trt)}
names |= {name: dir(value) for name, value in vars(trt).items() if inspect.isclass(value)}
print(json.dumps(names))
"""


@pytest.fixture(scope="module", params=RELEASES)
def names(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Class of a release's bindings -> its names, asked of the bindings themselves."""
    if shutil.which("g++") is None or sys.platform != "linux":
        pytest.skip("the stub libraries are compiled with g++ on Linux")
    folder = tmp_path_factory.mktemp(f"tensorrt-{request.param}")
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    kept = folder if cache is None else cache.mkdir(f"tensorrt-{request.param}")
    with zipfile.ZipFile(_wheel(RELEASES[request.param], kept)) as wheel:
        wheel.extractall(folder)
    _compile_stubs(folder, request.param.partition(".")[0])
    done = subprocess.run(
        [sys.executable, "-c", DUMP],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def _wheel(package: str, kept: Path) -> Path:
    """The wheel, downloaded once and kept in pytest's own cache, if it has one."""
    if not list(kept.glob("*.whl")):
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
        done = subprocess.run(
            [*pip, "--only-binary=:all:", "--timeout=10", "--retries=0", "-d", str(kept), package],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"{package}: no package index, or no wheel for this Python")
    return next(kept.glob("*.whl"))


def _compile_stubs(folder: Path, major: str) -> None:
    source = folder / "stub.cpp"
    source.write_text("".join(f'extern "C" void *{name}() {{ return nullptr; }}\n' for name in FUNCTIONS))
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        name = f"lib{library}.so.{major}"
        words = ["g++", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)]
        subprocess.run(words, check=True)


def touched() -> Iterator[tuple[str, str, bool]]:
    """Class, name, and whether it stands behind `if capability`, of all that our code takes from TensorRT."""
    for file in FILES:
        tree = ast.parse((CODE / file).read_text("utf-8"))
        guarded = {
            id(inner)
            for outer in ast.walk(tree)
            if isinstance(outer, ast.If) and "capability" in ast.unparse(outer.test)
            for inner in ast.walk(outer)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and not node.attr.startswith("__"):
                owner = ast.unparse(node.value)
                behind = id(node) in guarded
                if owner in OBJECTS:
                    yield OBJECTS[owner], node.attr, behind
                elif owner.startswith("trt."):
                    # A member of a class or enum: trt.DataType.HALF.
                    yield owner.removeprefix("trt."), node.attr, behind


def test_every_name_is_there_and_what_is_not_stands_behind_a_condition(names: dict[str, list[str]]) -> None:
    missing = {
        f"{owner}.{name}"
        for owner, name, behind in touched()
        if not behind and name not in names.get(owner, [])
    }
    assert missing == set()


def test_what_stands_behind_the_condition_is_only_tensorrt_rtx_s(names: dict[str, list[str]]) -> None:
    guarded = {(owner, name) for owner, name, behind in touched() if behind}
    assert guarded == {
        ("IBuilderConfig", "num_compute_capabilities"),
        ("IBuilderConfig", "set_compute_capability"),
        ("module", "ComputeCapability"),
    }
    assert all(
        name not in names.get(owner, []) for owner, name in guarded if name == "num_compute_capabilities"
    )


def test_the_search_for_names_finds_those_that_a_build_needs() -> None:
    found: set[Any] = {(owner, name) for owner, name, _ in touched()}
    assert {
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("Builder", "build_serialized_network"),
        ("OnnxParser", "parse"),
        ("IExecutionContext", "execute_async_v3"),
        ("Runtime", "deserialize_cuda_engine"),
        ("DataType", "HALF"),
    } <= found
    # What weak typing needs was removed in 11.0.
    assert not {name for _, name in found} & {"FP16", "BF16", "EXPLICIT_BATCH", "platform_has_fast_fp16"}
