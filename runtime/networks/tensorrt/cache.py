"""Engines of this machine: kept under what they were built for, used only as they were written."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec


class EngineKey(msgspec.Struct, frozen=True):
    """What an engine is built for; another one of any of these needs another engine."""

    network_sha256: str
    """Of the ONNX file in the bundle, hex."""
    library: str
    """`tensorrt` or `tensorrt_rtx`."""
    version: str
    gpu: str
    """Name, as the driver gives it."""
    arch: str
    """Compute capability, such as "sm_87"."""
    precision: str

    @property
    def name(self) -> str:
        """Name of its files."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:24]


class _Entry(msgspec.Struct, frozen=True):
    """Beside each engine: what it is for, and the hash of the bytes that were written."""

    key: EngineKey
    sha256: str


@dataclass(frozen=True)
class Found:
    """What the cache has."""

    engine: bytes | None
    reason: str
    """Why there is none that may be used; empty where there is."""


class EngineCache:
    """A folder of engines; it may be deleted at any time."""

    def __init__(self, folder: Path | None = None) -> None:
        """None: the user's own cache."""
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self.folder = folder or Path(base) / "gonogo" / "engines"

    def find(self, key: EngineKey) -> Found:
        """The engine, when its bytes are those that were written here for exactly this key."""
        path = self.folder / f"{key.name}.engine"
        entry = self._entry(path.with_suffix(".json"))
        if entry is None or entry.key != key:
            return Found(None, self._other(key) or f"{path.parent}: no engine of this network yet")
        try:
            engine = path.read_bytes()
        except OSError as error:
            return Found(None, f"{path}: {(error.strerror or str(error)).lower()}")
        if hashlib.sha256(engine).hexdigest() != entry.sha256:
            return Found(None, f"{path}: not the bytes that were written here; changed or damaged")
        return Found(engine, "")

    def store(self, key: EngineKey, engine: bytes) -> None:
        """Keeps an engine; a cache that cannot be written is none. Its entry comes last."""
        path = self.folder / f"{key.name}.engine"
        entry = _Entry(key, hashlib.sha256(engine).hexdigest())
        with suppress(OSError):
            _write(path, engine)
            _write(path.with_suffix(".json"), msgspec.json.encode(entry))

    def remove(self, key: EngineKey) -> None:
        """Forgets an engine that does not judge as it should."""
        for suffix in (".json", ".engine"):
            (self.folder / f"{key.name}{suffix}").unlink(missing_ok=True)

    def timing(self, key: EngineKey) -> Path:
        """Where TensorRT's timings for this release and GPU are kept."""
        words = msgspec.structs.replace(key, network_sha256="", precision="")
        return self.folder / f"timing-{words.name}"

    def keep_timing(self, key: EngineKey, timing: bytes) -> None:
        """Replaces them; empty: there are none to keep."""
        with suppress(OSError):
            if timing:
                _write(self.timing(key), timing)

    def read_timing(self, key: EngineKey) -> bytes:
        """As they were kept last; empty where there are none."""
        with suppress(OSError):
            return self.timing(key).read_bytes()
        return b""

    def _entry(self, path: Path) -> _Entry | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Entry)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _other(self, key: EngineKey) -> str:
        """In what an engine of the same network and precision differs from what is wanted."""
        for path in sorted(self.folder.glob("*.json")):
            entry = self._entry(path)
            if entry is None:
                continue
            other = entry.key
            same = (other.network_sha256, other.precision) == (key.network_sha256, key.precision)
            if not same or other == key:
                continue
            fields = ("library", "version", "gpu", "arch")
            pairs = [(getattr(other, f), getattr(key, f)) for f in fields]
            had, have = (" ".join(side) for side in zip(*(p for p in pairs if p[0] != p[1]), strict=True))
            return f"{self.folder}: has an engine for {had}, here is {have}"
        return ""


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and for this user alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    partial.write_bytes(content)
    partial.replace(path)
