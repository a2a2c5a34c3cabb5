"""Weights from .npz files: names and shapes checked, batch norm folded into the convolutions."""

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.errors import ConfigError

from .graph import F32, Shape

Weights = Mapping[str, F32]

NORM_EPSILON = 1e-5
NORM_KEYS = ("weight", "bias", "running_mean", "running_var")
NAMES_SHOWN = 6
"""How many names of each kind an error lists before it only counts."""


@dataclass(frozen=True)
class Convolution:
    """A convolution without bias, followed by a batch norm that can be folded into it."""

    name: str
    shape: Shape
    """OIHW."""
    norm: str | None
    """The batch norm on its output; None: there is none that could be folded."""


@dataclass(frozen=True)
class Norm:
    """A batch norm that stands alone (pre-activation networks)."""

    name: str
    channels: int


@dataclass(frozen=True)
class Layout:
    """All that a backbone reads from its file."""

    convolutions: tuple[Convolution, ...]
    norms: tuple[Norm, ...] = ()
    ignored: tuple[str, ...] = ()
    """Prefixes of tensors that a full state dict holds and no tap needs."""

    def expected(self, folded: bool) -> dict[str, Shape]:
        """Name and shape of every tensor in a file; folded: biases in place of batch norms."""
        shapes: dict[str, Shape] = {}
        for conv in self.convolutions:
            shapes[f"{conv.name}.weight"] = conv.shape
            if conv.norm is not None and folded:
                shapes[f"{conv.name}.bias"] = conv.shape[:1]
            elif conv.norm is not None:
                shapes.update({f"{conv.norm}.{key}": conv.shape[:1] for key in NORM_KEYS})
        for norm in self.norms:
            shapes.update({f"{norm.name}.{key}": (norm.channels,) for key in NORM_KEYS})
        return shapes


def load_weights(path: Path, layout: Layout) -> Weights:
    """The convolutions of `layout` with their norms folded in, and its lone norms as scale and shift.

    Takes a file with separate batch norms (a torchvision or timm state dict saved with numpy.savez) or
    one whose norms were folded before (a `.bias` beside each `.weight`).

    Returns:
        float32 tensors: `<conv>.weight` OIHW, `<conv>.bias` where there is a norm to fold, and
        `<norm>.scale`, `<norm>.shift` (C, 1, 1) for the lone norms.

    Raises:
        ConfigError: no such file, no .npz, pickled, or names, shapes or values that do not fit.
    """
    stored = _read(path, layout)
    folded = not any(f"{conv.norm}.running_var" in stored for conv in layout.convolutions)
    check_tensors(path, stored, layout.expected(folded), "the backbone")
    weights: dict[str, F32] = {}
    for conv in layout.convolutions:
        weight = stored[f"{conv.name}.weight"]
        if conv.norm is not None and folded:
            weights[f"{conv.name}.bias"] = stored[f"{conv.name}.bias"]
        elif conv.norm is not None:
            scale, shift = _scale_shift(stored, conv.norm)
            weight = weight * scale[:, None, None, None]
            weights[f"{conv.name}.bias"] = shift
        weights[f"{conv.name}.weight"] = weight
    for norm in layout.norms:
        scale, shift = _scale_shift(stored, norm.name)
        weights[f"{norm.name}.scale"] = scale[:, None, None]
        weights[f"{norm.name}.shift"] = shift[:, None, None]
    return weights


def _read(path: Path, layout: Layout) -> Weights:
    # Opened here: where the archive is damaged, np.load would leave a file open that it opened itself.
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ConfigError(f"{path}: holds a single array; expected an .npz of named tensors")
            kept = [name for name in archive.files if not _is_ignored(name, layout.ignored)]
            return {name: archive[name].astype(np.float32) for name in kept}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: not readable as .npz without pickle: {error}") from error


def _is_ignored(name: str, prefixes: tuple[str, ...]) -> bool:
    return name.startswith(prefixes) or name.endswith(".num_batches_tracked")


def check_tensors(path: Path, stored: Weights, expected: Mapping[str, Shape], what: str) -> None:
    """Raises ConfigError unless names, shapes and values are those of `what`; what is not is listed."""
    misshapen = [
        f"{name} is {stored[name].shape}, expected {shape}"
        for name, shape in expected.items()
        if name in stored and stored[name].shape != shape
    ]
    faults = (
        _listed("missing", (name for name in expected if name not in stored)),
        _listed("surplus", (name for name in stored if name not in expected)),
        _listed("wrong shape", misshapen),
        _listed("not finite", (name for name, value in stored.items() if not np.isfinite(value).all())),
    )
    if any(faults):
        found = "; ".join(fault for fault in faults if fault)
        raise ConfigError(f"{path}: weights do not fit {what} ({len(expected)} tensors): {found}")


def _listed(what: str, names: Iterable[str]) -> str:
    names = list(names)
    if not names:
        return ""
    more = f", and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{what}: {', '.join(names[:NAMES_SHOWN])}{more}"


def _scale_shift(stored: Weights, norm: str) -> tuple[F32, F32]:
    gain, bias, mean, variance = (stored[f"{norm}.{key}"].astype(np.float64) for key in NORM_KEYS)
    scale = gain / np.sqrt(variance + NORM_EPSILON)
    return scale.astype(np.float32), (bias - mean * scale).astype(np.float32)
