"""The bundle: the folder that export writes once and the runtime reads, verifies and never changes."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import BundleError
from .network import TensorSpec
from .precision import NETWORK_FILES, PrecisionPart

F32 = NDArray[np.float32]

MANIFEST = "manifest.json"
SCHEMA = "bundle/1"
MAX_FILE_BYTES = 2 << 30


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the manifest's parts."""


class Preprocessing(_Part, frozen=True):
    """From source pixels to the network's input."""

    size: tuple[int, int]
    """(height, width) of the network's input, px."""
    mean: tuple[float, float, float]
    """RGB, for values in 0..1."""
    std: tuple[float, float, float]
    map_extent: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """(left, top, right, bottom) of the anomaly map as fractions of the inspected region."""


class NetworkPart(_Part, frozen=True):
    """What `network.onnx` takes and gives."""

    backbone: str
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]


class GrnrHead(_Part, frozen=True, tag_field="kind", tag="grnr"):
    """Parameters of global-regularised neighbourhood regression (arXiv 2406.07333).

    Per scale i, `head.npz` holds `rows_i` (H, h_i) and `columns_i` (W, w_i), the matrices of `finish_map`;
    `bank_i` (M, C_i), embeddings of good images, where export was given some; and once `mask` (H, W).
    """

    outputs: tuple[str, ...]
    """Network outputs, one scale each."""
    rings: tuple[int, ...]
    """Cells at the border of each grid that are neither judged nor used in statistics."""
    target: Literal["selected", "raster", "nearest"]
    """Global vector: mean of the `count` most typical cells; of the first `count` raster cells (the
    published demo's defect); or per cell the mean of its nearest in-image and good-image cells."""
    blend: float = 200 / 201
    """a = lambda N / (1 + lambda N), 0..1: weight of the global vector in the regression's target."""
    count: int = 40
    """N: cells averaged into the global vector (selected, raster)."""
    neighbours: int = 20
    """Cells averaged into each cell's own global vector (nearest)."""
    anchors: int = 200
    """At most this many evenly strided cells of the image serve as its own bank (nearest)."""
    ridge: float = 1e-5
    """Relative to the mean of the Gram matrix's diagonal."""
    fill: Literal["min", "edge"] = "edge"
    """What the ring gets: the least error, or that of the nearest judged cell."""
    fusion: Literal["product", "sum", "mean"] = "product"
    score: Literal["max", "mean_top", "std"] = "max"
    top: float = 0.01
    """Fraction of the map averaged by `mean_top`."""
    profile: bool = False
    """Damps rows and columns near the frame whose median stands out, in the score only."""


class KnnHead(_Part, frozen=True, tag_field="kind", tag="knn"):
    """Parameters of the distance to a memory bank of good patches (PatchCore, Roth et al., CVPR 2022).

    `head.npz` holds `bank` (M, C), C the sum of the outputs' channels, and the matrices of `finish_map` for
    the finest grid h x w: `rows` (H, h) and `columns` (W, w).
    """

    outputs: tuple[str, ...]
    """Network outputs that make up an embedding, the finest grid first."""
    neighbours: int = 1
    """k: bank rows whose mean distance is a cell's patch score; 1 as published."""
    support: int = 9
    """b: bank rows around the nearest one that re-weight the image score; 1 leaves it as it is. The paper
    gives no number; 9 as in anomalib."""


class DistanceMapHead(_Part, frozen=True, tag_field="kind", tag="distance_map"):
    """Parameters of the distance between feature maps and what a network makes of them: reconstruction,
    student and teacher.

    For pair i, `head.npz` holds `rows_i` (H, h_i) and `columns_i` (W, w_i), the matrices of `finish_map`.
    """

    pairs: tuple[tuple[str, str], ...]
    """Network outputs of the same shape (1, h, w, C), compared cell by cell; one scale each."""
    distance: Literal["cosine", "l2"] = "cosine"
    fusion: Literal["product", "sum", "mean"] = "mean"
    score: Literal["max", "mean_top", "std"] = "mean_top"
    top: float = 0.01
    """Fraction of the map averaged by `mean_top`."""


HeadPart: TypeAlias = GrnrHead | KnnHead | DistanceMapHead


class Golden(_Part, frozen=True):
    """One image with the prediction it must give on every machine and backend."""

    file: str
    label: Literal["OK", "NG"]
    score: float
    """Score on the machine that exported, FP32."""


class GoldenPart(_Part, frozen=True):
    """Known images that gate Ready: the OK ones lie below `threshold`, the NG ones above."""

    images: tuple[Golden, ...]
    threshold: float
    """Between the two groups; has nothing to do with a recipe's threshold."""
    tolerance: float
    """Largest deviation of a score from the recorded one, as a share of the greater of it and `threshold`."""
    margin: float
    """Least score of the NG images over the greatest of the OK ones, > 1."""


class Suggestion(_Part, frozen=True):
    """A threshold from the good images given at export, each judged with itself left out of the bank."""

    threshold: float
    good_images: int
    false_reject: float
    """Expected share of good parts at or above the threshold, 1 / (good_images + 1)."""


class Manifest(_Part, frozen=True):
    """Everything about a bundle that is not an array or a graph."""

    schema: str
    id: str
    """Name of the bundle, [A-Za-z0-9._-]{1,64}."""
    method: str
    preset: str
    network: NetworkPart
    preprocessing: Preprocessing
    head: HeadPart
    golden: GoldenPart
    versions: dict[str, str]
    """What wrote it: gonogo, onnx, numpy."""
    created: str
    """UTC date of the export, ISO 8601."""
    files: dict[str, str]
    """Path inside the bundle -> SHA-256, hex."""
    allowed_precisions: tuple[str, ...] = ("fp32",)
    """Precisions whose parity with FP32 was shown at export; a backend takes no other."""
    precisions: dict[str, PrecisionPart] = {}
    """Precision -> what was shown."""
    suggestion: Suggestion | None = None


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: manifest and the bytes that were hashed; nothing is read twice."""

    path: Path
    manifest: Manifest
    sha256: str
    """Of manifest.json, which holds the hash of every other file."""
    files: dict[str, bytes]

    def arrays(self) -> dict[str, F32]:
        """The arrays of head.npz."""
        return load_arrays(self.files["head.npz"], str(self.path / "head.npz"))


def load_arrays(data: bytes, where: str) -> dict[str, F32]:
    """Arrays of an .npz, without pickle, as float32.

    Raises:
        BundleError: not an .npz of plain arrays.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: np.ascontiguousarray(archive[name], np.float32) for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise BundleError(f"{where}: not an array archive ({error}); export the bundle again") from None


def load_bundle(path: Path) -> Bundle:
    """Reads a bundle and compares every file with the manifest.

    Raises:
        BundleError: missing, empty, truncated, changed, linked or foreign file, or an unknown schema.
    """
    if not path.is_dir():
        raise BundleError(f"{path}: no such folder; expected a bundle written by 'gonogo export'")
    data = _read(path, MANIFEST)
    manifest = _decode(data, path)
    present = _walk(path)
    _compare_names(path, set(present) - {MANIFEST}, set(manifest.files))
    files = {name: _verified(path, name, digest) for name, digest in manifest.files.items()}
    return Bundle(path, manifest, hashlib.sha256(data).hexdigest(), files)


def write_bundle(path: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
    """Writes a new bundle, the hashes of `files` into the manifest; manifest.json comes last.

    Raises:
        BundleError: the folder exists and is not empty, or cannot be written.
    """
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    whole = msgspec.structs.replace(manifest, files=hashes)
    encoded = msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"
    try:
        if path.exists() and any(path.iterdir()):
            raise BundleError(f"{path}: is not empty; a bundle is never written twice, choose a new folder")
        for name, data in {**files, MANIFEST: encoded}.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    except OSError as error:
        raise BundleError(f"{path}: cannot write: {error.strerror}") from None


def _decode(data: bytes, path: Path) -> Manifest:
    where = path / MANIFEST
    try:
        schema = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("schema", msgspec.Raw(b'""'))
        if msgspec.json.decode(schema) != SCHEMA:
            raise BundleError(f"{where}: schema is {bytes(schema).decode()}; this release reads {SCHEMA}")
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{where}: {error}; export the bundle again") from None
    needed = {"head.npz", *(NETWORK_FILES.get(name, name) for name in manifest.allowed_precisions)}
    missing = needed - set(manifest.files)
    if missing:
        raise BundleError(f"{where}: lists no {', '.join(sorted(missing))}; export the bundle again")
    return manifest


def _walk(path: Path) -> list[str]:
    """Every file below `path`, relative, POSIX; a link anywhere is refused."""
    names = []
    for folder, folders, files in os.walk(path):
        for name in [*folders, *files]:
            if (Path(folder) / name).is_symlink():
                raise BundleError(f"{Path(folder) / name}: is a link; a bundle holds plain files only")
        names += [(Path(folder) / name).relative_to(path).as_posix() for name in files]
    return names


def _compare_names(path: Path, present: set[str], listed: set[str]) -> None:
    for name in sorted(listed - present):
        raise BundleError(f"{path / name}: missing, the manifest lists it; export the bundle again")
    for name in sorted(present - listed):
        raise BundleError(f"{path / name}: not in the manifest; a bundle holds nothing else, remove it")


def _verified(path: Path, name: str, digest: str) -> bytes:
    data = _read(path, name)
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise BundleError(
            f"{path / name}: SHA-256 is {found[:12]}.., the manifest says {digest[:12]}..; "
            "changed or damaged, export or copy the bundle again"
        )
    return data


def _read(path: Path, name: str) -> bytes:
    """Bytes of one plain file, opened without following a link at its end."""
    where = path / name
    try:
        handle = os.open(where, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_FILE_BYTES:
                raise BundleError(f"{where}: not a plain file below 2 GiB")
            data = file.read()
    except OSError as error:
        raise BundleError(
            f"{where}: {(error.strerror or str(error)).lower()}; expected a bundle file"
        ) from None
    if not data:
        raise BundleError(f"{where}: is empty; export or copy the bundle again")
    return data
