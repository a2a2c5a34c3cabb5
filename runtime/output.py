"""Result files: checked before the long work that fills them, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from .errors import ConfigError


def require_writable(path: Path) -> None:
    """Finds out early that a file cannot be written where it is wanted.

    Raises:
        ConfigError: its folder is missing or may not be written to, or `path` is a folder.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"{path}: no folder {folder}; expected a place to write, make it first")
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; expected the name of a file to write")
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"{path}: permission denied; expected a folder that can be written to")


def make_folder(path: Path) -> None:
    """Makes a folder for results where there is none.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be made: {_reason(error)}; expected a folder to write to"
        ) from None


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text under another name first, so that a reader never meets half a file.

    Raises:
        ConfigError: no such folder, no right to write, disk full.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    except OSError as error:
        raise ConfigError(f"{path}: {_reason(error)}; expected a place to write") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        # mkstemp keeps the file to its owner; a result is readable as any other file.
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise ConfigError(f"{path}: {_reason(error)}; expected a place to write") from None


def write_json(path: Path, value: object) -> None:
    """Writes a struct, or anything else that msgspec encodes, as JSON for people to read too.

    Raises:
        ConfigError: as `write_text`.
    """
    write_text(path, msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
