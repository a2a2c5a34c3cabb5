"""Imports run one way: kernels <- runtime <- export <- gonogo; torch and onnx stay in export."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "kernels": {"kernels"},
    "runtime": {"kernels", "runtime"},
    "export": {"kernels", "runtime", "export"},
}
HEAVY = {"torch", "onnx"}


def _imported(path: Path) -> set[str]:
    """Top-level names of every absolute import in a file, those inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("layer", sorted(MAY_IMPORT))
def test_no_file_imports_upwards(layer: str) -> None:
    ours = {"kernels", "runtime", "export", "gonogo", "benchmarks", "tests"}
    files = sorted((ROOT / layer).rglob("*.py"))
    assert files
    upward = {str(f): _imported(f) & ours - MAY_IMPORT[layer] for f in files}
    assert {name: found for name, found in upward.items() if found} == {}


@pytest.mark.parametrize("layer", ["kernels", "runtime"])
def test_torch_and_onnx_stay_out_of_what_runs_on_the_line(layer: str) -> None:
    found = {str(f): _imported(f) & HEAVY for f in (ROOT / layer).rglob("*.py")}
    assert {name: names for name, names in found.items() if names} == {}


def test_kernels_need_numpy_alone() -> None:
    known = set(sys.stdlib_module_names) | {"numpy", "kernels"}
    # A provider is imported when a GPU is opened through its package, and not before.
    providers = ROOT / "kernels" / "providers"
    files = [f for f in (ROOT / "kernels").rglob("*.py") if f.parent != providers]
    found = {str(f): _imported(f) - known for f in files}
    assert {name: names for name, names in found.items() if names} == {}


def test_judging_an_image_loads_neither_torch_nor_onnx(exported: Path) -> None:
    code = (
        "import sys, gonogo; code = gonogo.main(['selftest', sys.argv[1]]); "
        "sys.exit(code or 10 * bool({'torch', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(exported)], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
