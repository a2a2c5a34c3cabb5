"""At the end of a run: how many of the mutations were noticed."""

from __future__ import annotations

import pytest

KILLED = pytest.StashKey[dict[str, tuple[int, int]]]()


@pytest.fixture
def killed(pytestconfig: pytest.Config) -> dict[str, tuple[int, int]]:
    """By kernel: mutations killed, mutations in all; shown at the end of the run."""
    return pytestconfig.stash.setdefault(KILLED, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts = config.stash.get(KILLED, {})
    if counts:
        per_kernel = ", ".join(f"{name} {killed}/{total}" for name, (killed, total) in sorted(counts.items()))
        killed, total = (sum(count) for count in zip(*counts.values(), strict=True))
        terminalreporter.write_line(f"mutations of CUDA kernels killed: {killed} / {total} ({per_kernel})")
