"""The engine of a bundle on this machine: from the cache, or built now, with the reason."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from ...bundle import Bundle
from ...precision import NETWORK_FILES
from .builder import Report, build_engine
from .cache import EngineCache, EngineKey


def engine_key(trt: Any, bundle: Bundle, precision: str, gpu: str, arch: str) -> EngineKey:
    """What the engine of a bundle is for; the network's hash is that of the bytes that were verified."""
    digest = hashlib.sha256(bundle.files[NETWORK_FILES[precision]]).hexdigest()
    return EngineKey(digest, trt.__name__, trt.__version__, gpu, arch, precision)


def ready_engine(
    trt: Any, bundle: Bundle, key: EngineKey, cache: EngineCache, report: Report, anew: bool = False
) -> bytes:
    """The engine for `key`; built and kept where the cache has none that may be used.

    Args:
        report: told why it is built, how far it is and how long it took.
        anew: build in any case.

    Raises:
        EngineError: it cannot be built.
    """
    found = cache.find(key)
    if found.engine is not None and not anew:
        return found.engine
    report(f"{found.reason or 'asked for anew'}; building for {key.gpu} ({key.arch}) in {key.precision}")
    file, started = NETWORK_FILES[key.precision], time.monotonic()
    timing = cache.read_timing(key)
    engine, timing = build_engine(trt, bundle.files[file], str(bundle.path / file), report, timing)
    cache.keep_timing(key, timing)
    cache.store(key, engine)
    report(f"engine of {len(engine) / 1e6:.1f} MB in {time.monotonic() - started:.0f} s")
    return engine
