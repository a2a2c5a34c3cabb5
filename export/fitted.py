"""A fitted method on disk: the folder between `gonogo fit` and `gonogo export`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Suggestion
from runtime.errors import ConfigError
from runtime.images.files import decode_image

from .golden import encode_png
from .method import Arrays
from .methods import MethodConfig
from .tensors import from_safetensors, to_safetensors

U8 = NDArray[np.uint8]

SCHEMA = "fitted/2"
FACTS, MEMORY, GOOD = "fitted.json", "memory.safetensors", "good.png"
GATE = "gate_{}.png"


class FittedFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a fitted method comes from."""

    schema: str
    settings: MethodConfig
    """The config it was fitted with."""
    network_sha256: str
    """Of the `network.onnx` that gave the features."""
    good_images: int
    good_sha256: str
    """Over the pixels of the good images, in order."""
    good_score: float
    """Score of the kept good image, judged without itself in the memory."""
    suggestion: Suggestion
    versions: dict[str, str]
    created: str
    """UTC, ISO 8601."""
    files: dict[str, str]
    """File beside this one -> SHA-256, hex."""


@dataclass(frozen=True)
class Fitted:
    """A method and what it keeps of good images."""

    facts: FittedFacts
    arrays: Arrays
    """The memory, as it goes into `head.npz`."""
    good: U8
    """The good image of median score, from which golden images are made."""
    gate: tuple[U8, ...]
    """Good images, evenly spread and shrunk, on which every precision must decide alike."""


def require_new_folder(path: Path) -> None:
    """Raises ConfigError where a folder is not empty, before the long work that would fill it."""
    try:
        if path.exists() and any(path.iterdir()):
            raise ConfigError(f"{path}: is not empty; a fitted method is never written twice")
    except OSError as error:
        raise ConfigError(f"{path}: {_reason(error)}; expected a new folder") from None


def save_fitted(path: Path, fitted: Fitted) -> None:
    """Writes a new folder; `fitted.json` with the hashes of the others comes last.

    Raises:
        ConfigError: the folder is not empty or cannot be written.
    """
    require_new_folder(path)
    images = {GOOD: fitted.good, **{GATE.format(n): image for n, image in enumerate(fitted.gate)}}
    encoded = {name: encode_png(image) for name, image in images.items()}
    files = {MEMORY: to_safetensors(fitted.arrays), **encoded}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    facts = msgspec.json.encode(msgspec.structs.replace(fitted.facts, files=hashes))
    try:
        path.mkdir(parents=True, exist_ok=True)
        for name, data in {**files, FACTS: msgspec.json.format(facts, indent=1) + b"\n"}.items():
            (path / name).write_bytes(data)
    except OSError as error:
        raise ConfigError(f"{path}: {_reason(error)}; expected a place to write") from None


def load_fitted(path: Path) -> Fitted:
    """Reads what `save_fitted` wrote.

    Raises:
        ConfigError: a file is missing, damaged or changed.
    """
    try:
        facts = msgspec.json.decode(_read(path / FACTS), type=FittedFacts)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path / FACTS}: {error}; fit again") from None
    gate = [GATE.format(n) for n in range(len(facts.files) - 2)]
    if facts.schema != SCHEMA or facts.files.keys() != {MEMORY, GOOD, *gate}:
        raise ConfigError(
            f"{path / FACTS}: schema is {facts.schema!r}; this release reads {SCHEMA}; fit again"
        )
    files = {name: _read(path / name) for name in facts.files}
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != facts.files[name]:
            raise ConfigError(
                f"{path / name}: SHA-256 is not the one in {FACTS}; changed or damaged, fit again"
            )
    arrays, _ = from_safetensors(files[MEMORY], str(path / MEMORY))
    good, *others = (decode_image(files[name], path / name) for name in (GOOD, *gate))
    return Fitted(facts, arrays, good, tuple(others))


def require_same(fitted: Fitted, settings: object, network: bytes) -> None:
    """Raises ConfigError unless a config is the one the method was fitted with, but for its id."""
    was, now = msgspec.to_builtins(fitted.facts.settings), msgspec.to_builtins(settings)
    for key in sorted((was.keys() | now.keys()) - {"id", "weights"}):
        if was.get(key) != now.get(key):
            raise ConfigError(
                f"{key}: the config says {now.get(key)}, the method was fitted with {was.get(key)}; fit again"
            )
    if hashlib.sha256(network).hexdigest() != fitted.facts.network_sha256:
        raise ConfigError("weights: not those the method was fitted with; fit again")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {_reason(error)}; expected a folder written by 'gonogo fit'") from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
