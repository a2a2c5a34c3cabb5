"""Every CUDA kernel compiles for every supported GPU, with either CUDA release, and spills nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels.compile import CompileError, Compiler, choose, compile_kernel, compilers, user_cache
from kernels.cuda import SOURCES

CACHE = Path(__file__).parents[2] / ".pytest_cache" / "cuda_code"
TARGETS = {
    "NVRTC 12.6": ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90"),
    "NVRTC 13.0": (
        *("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_110", "sm_120"),
        "compute_75",
    ),
}
"""Each release and what it must compile for; the kernels are one source for all of them."""
MOST_REGISTERS = 255
SOURCES_OF = sorted(path.stem for path in SOURCES.glob("*.cu"))


def installed(name: str) -> Compiler:
    """That compiler, or a skip."""
    found = {str(one): one for one in compilers()}
    if name not in found:
        pytest.skip(f"{name} is not installed")
    return found[name]


@pytest.mark.parametrize("kernel", SOURCES_OF)
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_kernel_compiles_without_spills(name: str, kernel: str) -> None:
    compiler = installed(name)
    for arch in TARGETS[name]:
        compiled = compile_kernel(SOURCES / f"{kernel}.cu", arch, compiler, CACHE)
        resources = compiled.resources()
        assert bool(resources) == arch.startswith("sm_")
        assert {entry: found.spills for entry, found in resources.items() if found.spills} == {}, arch
        assert all(0 < found.registers <= MOST_REGISTERS for found in resources.values()), arch
        assert "warning" not in compiled.log, compiled.log


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_refused_source_is_one_line_and_the_compilers_words(name: str, tmp_path: Path) -> None:
    source = tmp_path / "broken.cu"
    source.write_text('extern "C" __global__ void broken(int* a) { *a = nowhere; }\n')
    with pytest.raises(CompileError) as caught:
        compile_kernel(source, "sm_87", installed(name), tmp_path)
    first, *log = str(caught.value).splitlines()
    assert first.startswith(f"broken.cu: {name} for sm_87 refuses it: broken.cu(1)")
    assert "nowhere" in first
    assert log


def test_a_spill_is_seen(tmp_path: Path) -> None:
    source = tmp_path / "spills.cu"
    source.write_text(
        'extern "C" __global__ void __launch_bounds__(1024) spills(float* a) {\n'
        "    float v[128];\n"
        "    for (int i = 0; i < 128; ++i) v[i] = a[i * 1024 + threadIdx.x];\n"
        "    for (int r = 0; r < 9; ++r)\n"
        "        for (int i = 0; i < 128; ++i) v[i] = v[(i + 1) % 128] * v[i] + r;\n"
        "    for (int i = 0; i < 128; ++i) a[i * 1024 + threadIdx.x] = v[i];\n"
        "}\n"
    )
    found = compile_kernel(source, "sm_87", installed("NVRTC 12.6"), tmp_path).resources()
    assert found["spills"].spills > 0
    assert found["spills"].registers == 64


def test_code_comes_from_the_cache_until_the_source_changes(tmp_path: Path) -> None:
    class Counting:
        version, architectures, calls = (12, 6), (87,), 0

        def __str__(self) -> str:
            return "counting 12.6"

        def compile(self, *_: object) -> tuple[bytes, str]:
            self.calls += 1
            return b"code", "said"

    source, compiler, cache = tmp_path / "a.cu", Counting(), tmp_path / "cache"
    source.write_text("first")
    for _ in range(2):
        compiled = compile_kernel(source, "sm_87", compiler, cache)
        assert (compiled.image, compiled.log) == (b"code", "said")
    assert compiler.calls == 1
    source.write_text("second")
    compile_kernel(source, "sm_87", compiler, cache)
    compile_kernel(source, "sm_80", compiler, cache)
    assert compiler.calls == 3
    assert not list(cache.glob("*.tmp"))


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    compiled = compile_kernel(SOURCES / "pattern.cu", "sm_87", installed("NVRTC 12.6"), file / "cache")
    assert compiled.image.startswith(b"\x7fELF")


def test_the_compiler_fits_architecture_and_driver() -> None:
    names = {str(one) for one in compilers()}
    if not {"NVRTC 12.6", "NVRTC 13.0"} <= names:
        pytest.skip("the two NVRTC are not installed")
    assert str(choose("sm_87")) == "NVRTC 13.0"
    # A driver of CUDA 12 (JetPack 6) cannot load code of CUDA 13.
    assert str(choose("sm_87", (12, 6))) == "NVRTC 12.6"
    assert str(choose("sm_110", (13, 0))) == "NVRTC 13.0"
    with pytest.raises(CompileError, match=r"no CUDA compiler for sm_110 and a driver of CUDA 12\.6"):
        choose("sm_110", (12, 6))


def test_without_a_compiler_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernels.compile.compilers", lambda: ())
    with pytest.raises(CompileError, match=r"none is installed; pip install 'gonogo\[cuda12\]'"):
        choose("sm_87", (12, 6))


def test_the_cache_lies_where_the_user_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "gonogo" / "kernels"
