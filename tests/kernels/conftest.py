"""Native kernels are tested with every library that this CPU runs, not with the best one alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kernels.native import Library, libraries, using

LOADED = [lib for lib in libraries() if lib.functions is not None]


@pytest.fixture(params=LOADED, ids=str)
def native_library(request: pytest.FixtureRequest) -> Iterator[Library]:
    """Every native call of the test goes to this library; skipped where none was compiled."""
    with using(request.param):
        yield request.param
