"""The GPU's interface without a GPU: reasons instead of crashes, the order of work, the providers' names."""

from __future__ import annotations

import ast
import ctypes
import ctypes.util
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from kernels.compile import compilers
from kernels.cuda import pattern
from kernels.device import PROVIDERS, DeviceError, Memory, Probe, open_device, probe
from kernels.providers.recording import RecordingDevice

ROOT = Path(__file__).parents[2]
PROVIDER_SOURCES = Path(import_module("kernels.providers").__file__ or "").parent


def driver_answering(folder: Path, init: int, devices: int) -> str:
    """A libcuda that answers as told, compiled."""
    source = (
        f"int cuInit(unsigned f) {{ return {init}; }}\n"
        "int cuDriverGetVersion(int* v) { *v = 12060; return 0; }\n"
        f"int cuDeviceGetCount(int* n) {{ *n = {devices}; return 0; }}\n"
        "int cuDeviceGetAttribute(int* v, int which, int device) { *v = which == 75 ? 8 : 7; return 0; }\n"
    )
    library = folder / "libcuda.so.1"
    command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    try:
        subprocess.run(command, input=source, text=True, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no gcc")
    return str(library)


def test_no_driver_is_a_reason() -> None:
    assert probe("libcuda-nowhere.so.1") == Probe("no CUDA driver (libcuda-nowhere.so.1)")


@pytest.mark.parametrize(
    ("init", "devices", "expected"),
    [
        (100, 0, Probe("the CUDA driver answers 100: no GPU")),
        (
            803,
            0,
            Probe("the CUDA driver answers 803: driver and kernel module are of different releases; reboot"),
        ),
        (7, 0, Probe("the CUDA driver answers 7: see its documentation")),
        (0, 0, Probe("the CUDA driver finds no GPU", cuda=(12, 6))),
        (0, 2, Probe("", 2, (12, 6), "sm_87")),
    ],
)
def test_the_drivers_answer_is_one_line(tmp_path: Path, init: int, devices: int, expected: Probe) -> None:
    assert probe(driver_answering(tmp_path, init, devices)) == expected


def test_another_library_in_the_drivers_place_is_a_reason() -> None:
    assert "is no CUDA driver" in probe(ctypes.util.find_library("m") or "libm.so.6").reason


def test_opening_without_a_gpu_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernels.device.probe", lambda: Probe("no CUDA driver (libcuda.so.1)"))
    with pytest.raises(DeviceError, match=r"no CUDA driver \(libcuda.so.1\); head native runs without a GPU"):
        open_device()


def test_a_provider_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernels.device.probe", lambda: Probe("", 1, (12, 6), "sm_87"))
    for module in ("cuda", "cuda.core", "pycuda"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in PROVIDERS.values():
        monkeypatch.delitem(sys.modules, f"kernels.providers.{name}", raising=False)
    with pytest.raises(DeviceError, match=r"pip install 'gonogo\[cuda12\]'"):
        open_device()
    with pytest.raises(DeviceError, match=r"pip install 'gonogo\[pycuda\]'"):
        open_device("pycuda")
    with pytest.raises(DeviceError, match="no provider 'opencl'; there are cuda-core, pycuda"):
        open_device("opencl")


def test_opening_through_cuda_core_without_a_gpu_is_refused_and_does_not_crash() -> None:
    if not probe().reason:
        pytest.skip("there is a GPU")
    pytest.importorskip("cuda.core")
    code = (
        "from kernels.device import DeviceError, Probe\n"
        "from kernels.providers import cuda_core\n"
        "try: cuda_core.open_device(Probe('', 1, (13, 0), 'sm_87'))\n"
        "except DeviceError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cuda-core cannot open the GPU: ")


def names_in(module: str, root: str) -> set[str]:
    """Dotted names that a provider takes from its package: `core.LaunchConfig`, `core.graph.Graph`."""
    found = set()
    tree = ast.parse((PROVIDER_SOURCES / f"{module}.py").read_text("utf-8"))
    for node in ast.walk(tree):
        name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if name.startswith(f"{root}.") and "(" not in name:
            found.add(name.removeprefix(f"{root}."))
    return found


def reached(module: ModuleType, name: str) -> bool:
    """Whether a dotted name leads somewhere."""
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True


def test_cuda_core_has_every_name_that_its_provider_uses() -> None:
    core = pytest.importorskip("cuda.core")
    names = names_in("cuda_core", "core")
    assert "LaunchConfig" in names
    assert [name for name in sorted(names) if not reached(core, name)] == []
    # What the provider calls on the objects that it gets from there.
    methods = {
        core.Device: "set_current name arch memory_resource create_stream",
        core.Stream: "handle record create_graph_builder sync",
        core.Event: "sync __sub__",
        core.Buffer: "from_handle copy_from fill handle close",
        core.graph.GraphBuilder: "begin_building end_building complete",
        core.graph.Graph: "upload launch",
        core.ObjectCode: "from_cubin get_kernel",
        core.LegacyPinnedMemoryResource: "allocate",
        core.MemoryResource: "allocate",
    }
    missing = [(owner, name) for owner, names in methods.items() for name in names.split()
               if not hasattr(owner, name)]  # fmt: skip
    assert missing == []


def test_cuda_core_takes_our_arguments_in_the_kernels_widths() -> None:
    pytest.importorskip("cuda.core")
    from cuda.core._kernel_arg_handler import ParamHolder

    from kernels.providers.cuda_core import as_argument

    memory = Memory(address=0x1234567890, nbytes=4, owner=None)
    arguments = [as_argument(value) for value in (memory, None, -3, 0.5)]
    holder = ParamHolder(arguments)
    pointers = (ctypes.c_void_p * 4).from_address(holder.ptr)
    kinds: tuple[Any, ...] = (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int32, ctypes.c_float)
    found = [kind.from_address(at or 0).value for kind, at in zip(kinds, pointers, strict=True)]
    assert found == [0x1234567890, 0, -3, 0.5]


LIFE = """
import numpy as np
from kernels.cuda import pattern
from kernels.device import open_device
from kernels.workspace import Workspace

device = open_device("cuda-core")
space = Workspace(device)
pinned, memory = device.pinned(20), space.empty(5, np.float32)
assert pinned.view((5,), np.float32).shape == (5,)
launch = pattern(memory, space.constant(np.arange(5, dtype=np.float32)), 5)
device.load(launch)
space.stream.fill(memory, 3)


def work():
    space.stream.launch(launch)
    space.stream.copy(pinned, memory)


graph = space.stream.capture(work)
before = space.stream.mark(timed=True)
graph.launch()
after = space.stream.mark(timed=True)
after.wait()
assert after.ms_since(before) == 1.5
assert isinstance(space.stream.handle, int)
space.stream.sync()
device.close()
print(device.name, device.arch)
"""


def test_the_real_cuda_core_takes_every_call_of_its_provider(tmp_path: Path) -> None:
    pytest.importorskip("cuda.core")
    if not compilers():
        pytest.skip("no CUDA compiler")
    source, library = Path(__file__).with_name("driver_stub.c"), tmp_path / "libcuda.so.1"
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    command = ["gcc", "-w", "-shared", "-fPIC", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", LIFE]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "stub sm_87\n"
    # The constant goes up, capture in thread-local mode (1) takes two operations, the graph is launched once.
    said = [
        line for line in done.stderr.splitlines() if line.split()[0] in ("launch", "copy", "capture", "graph")
    ]
    assert said == ["copy", "capture 1", "launch", "copy", "graph"]


def test_work_is_recorded_in_order_and_a_graph_replays_it() -> None:
    ran = []
    device = RecordingDevice(lambda launch: ran.append(launch.args[0][:4].view(np.float32)[0]))
    stream, upload, memory = device.stream(), device.pinned(4), device.memory(4)
    launch = pattern(memory, memory, 1)
    device.load(launch)

    def work() -> None:
        stream.copy(memory, upload)
        stream.launch(launch)

    graph = stream.capture(work)
    assert ran == []
    for value in (1.0, 2.0):
        upload.view((1,), np.float32)[0] = value
        graph.launch()
    assert ran == [1.0, 2.0]
    assert device.log == [
        *["memory"] * 2,
        "load",
        "capture",
        "captured copy",
        "captured pattern",
        "graph",
        "graph",
    ]


def test_what_a_gpu_refuses_the_recording_refuses() -> None:
    device = RecordingDevice(graphs=False)
    stream, memory = device.stream(), device.memory(16)
    with pytest.raises(DeviceError, match="kernel pattern was not loaded before the start"):
        stream.launch(pattern(memory, memory, 4))
    with pytest.raises(DeviceError, match="no CUDA graphs"):
        stream.capture(lambda: None)
    capturing = RecordingDevice()

    def work() -> None:
        capturing.memory(1)

    with pytest.raises(DeviceError, match="memory was asked for during a capture"):
        capturing.stream().capture(work)
    with pytest.raises(ValueError, match="is no part of"):
        memory.view((4,), np.float32)
    assert device.pinned(16).view((2, 2), np.float32).shape == (2, 2)
