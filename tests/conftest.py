"""What many tests stand on: a real bundle, exported once, and where real images lie, if they do."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from export.bundling import export_bundle
from export.methods import METHODS
from runtime.sources.synthetic import SyntheticConfig, SyntheticSource

U8 = NDArray[np.uint8]

# A busy machine is no failure; times are the benchmarks' business.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of GRNR on the filter bank; read only: take `bundle_path` to damage one."""
    out = tmp_path_factory.mktemp("bundle") / "web"
    export_bundle(METHODS["grnr"](id="web", margin=0.0), Path(), [], out, ("fp32", "fp16"))
    return out


@pytest.fixture
def bundle_path(exported: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def web_image() -> U8:
    """A good section of the synthetic web, (256, 320) grey uint8."""
    config = SyntheticConfig(width=320, height=256, texture="granular", seed=3, defect_rate=0.0)
    source = SyntheticSource(config)
    pixels = np.zeros(source.shape, np.uint8)
    source.render(0, 0, pixels)
    return pixels


SKIPS = Path(__file__).parent / "skips.txt"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Nothing is skipped unnoticed: a skip that is not in skips.txt fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    allowed = {line for line in SKIPS.read_text("utf-8").splitlines() if line and not line.startswith("#")}
    skipped = {report.nodeid.split("[")[0] for report in reporter.stats.get("skipped", [])}
    surplus = sorted(name for name in skipped if not {name, name.split("::")[0]} & allowed)
    if surplus:
        reporter.write_line(f"skipped, but not in {SKIPS.name}: {', '.join(surplus)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
