"""A bundle that is not exactly what export wrote is refused, in one line that names the file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from runtime.bundle import Bundle, load_arrays, load_bundle, write_bundle
from runtime.errors import BundleError


def _flip_a_byte(path: Path) -> None:
    data = bytearray((path / "network.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (path / "network.onnx").write_bytes(bytes(data))


def _truncate(path: Path) -> None:
    data = (path / "head.npz").read_bytes()
    (path / "head.npz").write_bytes(data[:-1])


def _empty(path: Path) -> None:
    (path / "network.onnx").write_bytes(b"")


def _remove(path: Path) -> None:
    (path / "golden" / "ok.png").unlink()


def _add(path: Path) -> None:
    (path / "golden" / "more.png").write_bytes(b"x")


def _link(path: Path) -> None:
    real = path.parent / "elsewhere.onnx"
    (path / "network.onnx").rename(real)
    (path / "network.onnx").symlink_to(real)


def _link_folder(path: Path) -> None:
    real = path.parent / "elsewhere"
    (path / "golden").rename(real)
    (path / "golden").symlink_to(real)


def _fifo(path: Path) -> None:
    (path / "network.onnx").unlink()
    os.mkfifo(path / "network.onnx")


def _no_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


def _edit(path: Path, key: str, value: object) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    manifest[key] = value
    (path / "manifest.json").write_text(json.dumps(manifest))


def _other_schema(path: Path) -> None:
    _edit(path, "schema", "bundle/9")


def _unknown_key(path: Path) -> None:
    _edit(path, "surprise", 1)


def _not_json(path: Path) -> None:
    (path / "manifest.json").write_text("{")


def _escaping_name(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    _edit(path, "files", {**manifest["files"], "../secret": "0" * 64})


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (_flip_a_byte, r"network\.onnx: SHA-256 is .* changed or damaged"),
        (_truncate, r"head\.npz: SHA-256 is"),
        (_empty, r"network\.onnx: is empty"),
        (_remove, r"golden/ok\.png: missing, the manifest lists it"),
        (_add, r"golden/more\.png: not in the manifest"),
        (_link, r"network\.onnx: is a link"),
        (_link_folder, r"golden: is a link"),
        (_fifo, r"network\.onnx: not a plain file"),
        (_no_manifest, r"manifest\.json: no such file or directory"),
        (_other_schema, r'schema is "bundle/9"; this release reads bundle/1'),
        (_unknown_key, r"manifest\.json: Object contains unknown field `surprise`"),
        (_not_json, r"manifest\.json: .*export the bundle again"),
        (_escaping_name, r"secret: missing, the manifest lists it"),
    ],
)
def test_a_damaged_bundle_is_refused(
    bundle_path: Path, damage: Callable[[Path], None], complaint: str
) -> None:
    damage(bundle_path)
    with pytest.raises(BundleError, match=complaint) as caught:
        load_bundle(bundle_path)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such folder; expected a bundle written by 'gonogo export'"):
        load_bundle(tmp_path / "absent")


def test_a_bundle_comes_back_as_it_was_written(exported: Path, tmp_path: Path) -> None:
    first = load_bundle(exported)
    write_bundle(tmp_path / "again", first.manifest, first.files)
    second = load_bundle(tmp_path / "again")
    assert second.manifest == first.manifest
    assert second.files == first.files
    assert second.sha256 == first.sha256


def test_a_bundle_is_never_written_over(exported: Path, bundle_path: Path) -> None:
    bundle = load_bundle(exported)
    with pytest.raises(BundleError, match="a bundle is never written twice"):
        write_bundle(bundle_path, bundle.manifest, bundle.files)


def test_a_manifest_without_network_is_refused(exported: Path, tmp_path: Path) -> None:
    bundle = load_bundle(exported)
    files = {name: data for name, data in bundle.files.items() if name != "network.onnx"}
    write_bundle(tmp_path / "part", bundle.manifest, files)
    with pytest.raises(BundleError, match=r"lists no network\.onnx"):
        load_bundle(tmp_path / "part")


def test_damaged_and_pickled_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"head\.npz: not an array archive"):
        load_arrays(b"PK\x03\x04 broken", "head.npz")
    np.savez(tmp_path / "pickled.npz", rows_0=np.array([{"code": 1}], dtype=object))
    with pytest.raises(BundleError, match="not an array archive"):
        load_arrays((tmp_path / "pickled.npz").read_bytes(), "pickled.npz")


def test_the_bundle_keeps_the_bytes_it_hashed(bundle_path: Path) -> None:
    bundle: Bundle = load_bundle(bundle_path)
    _flip_a_byte(bundle_path)
    assert bundle.files["network.onnx"] != (bundle_path / "network.onnx").read_bytes()
    assert msgspec.json.encode(bundle.manifest)
