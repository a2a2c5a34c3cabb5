"""A checkpoint with exactly the authors' names and shapes becomes the network that torch computes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from export.methods.inp_former_authors import TAPS, TOP, InpFormerAuthors, _authors_matrix
from export.networks.inp_former import Form
from export.networks.vit import STORED, VITS, Vit, _positions, bicubic_matrix, from_timm, lay_vit
from gonogo import main

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from export.training.inp_former import InpFormer  # noqa: E402

F32 = NDArray[np.float32]

SMALL = Form(384, 6, 6, 8, 1536, "mean")
SIDE = 56


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Random tensors that keep activations near 1."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        state[name] = 0.04 * torch.randn(shape, generator=generator)
        if name.endswith(("norm1.weight", "norm2.weight", "gamma", "learn_scale")):
            state[name] += 1
    return state


def names() -> dict[str, tuple[int, ...]]:
    """Every tensor of a checkpoint on the small encoder."""
    return {**{f"encoder.{name}": shape for name, shape in VITS["small"].shapes().items()}, **SMALL.shapes()}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights; read only."""
    path = tmp_path_factory.mktemp("authors") / "model.pth"
    torch.save(drawn(names()), path)
    return path


def encoded(state: dict[str, Any], image: Any, vit: Vit) -> list[Any]:
    """Patch tokens after every block, written out in torch as DINOv2 with registers computes them."""
    x = functional.conv2d(image, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14)
    cells, c = x.shape[2], vit.channels
    grid = state["pos_embed"][:, 1:].view(1, STORED, STORED, c).permute(0, 3, 1, 2)
    scale = (cells + 0.1) / STORED
    grid = functional.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    x = x.flatten(2).transpose(1, 2) + grid.permute(0, 2, 3, 1).reshape(1, -1, c)
    first = state["cls_token"] + state["pos_embed"][:, :1]
    x, out = torch.cat([first, state["register_tokens"], x], dim=1), []
    for i in range(vit.depth):
        own = {k.removeprefix(f"blocks.{i}."): v for k, v in state.items() if k.startswith(f"blocks.{i}.")}
        y = functional.layer_norm(x, (c,), own["norm1.weight"], own["norm1.bias"], 1e-6)
        qkv = functional.linear(y, own["attn.qkv.weight"], own["attn.qkv.bias"])
        q, k, v = qkv.view(1, -1, 3, vit.heads, 64).permute(2, 0, 3, 1, 4)
        y = ((q @ k.transpose(2, 3) / 8).softmax(3) @ v).transpose(1, 2).reshape(1, -1, c)
        x = x + own["ls1.gamma"] * functional.linear(y, own["attn.proj.weight"], own["attn.proj.bias"])
        y = functional.layer_norm(x, (c,), own["norm2.weight"], own["norm2.bias"], 1e-6)
        y = functional.gelu(functional.linear(y, own["mlp.fc1.weight"], own["mlp.fc1.bias"]))
        x = x + own["ls2.gamma"] * functional.linear(y, own["mlp.fc2.weight"], own["mlp.fc2.bias"])
        out.append(x[:, 5:])
    return out


def test_the_exported_network_is_torchs(checkpoint: Path) -> None:
    import onnxruntime

    laid = InpFormerAuthors(checkpoint=str(checkpoint), size=SIDE).network(Path())
    image = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(laid.model, providers=["CPUExecutionProvider"])
    outputs = [spec.name for spec in laid.part.outputs]
    found = dict(zip(outputs, session.run(outputs, {"image": image.numpy()}), strict=True))
    state = torch.load(checkpoint, weights_only=True)
    model = InpFormer(SMALL, 0)
    model.load_state_dict({name: t for name, t in state.items() if not name.startswith("encoder.")})
    encoder = {name.removeprefix("encoder."): t for name, t in state.items() if name.startswith("encoder.")}
    with torch.no_grad():
        taps = [encoded(encoder, image, VITS["small"])[i] for i in TAPS]
        groups = [torch.stack(own).mean(0) for own in (taps[:4], taps[4:])]
        _, rebuilt = model(groups)
    for i in range(2):
        for name, wanted in ((f"e_{i + 1}", groups[i].numpy()), (f"d_{i + 1}", rebuilt[i].numpy())):
            got = found[name].reshape(wanted.shape)
            assert abs(got - wanted).max() <= 1e-4 * abs(wanted).max(), name


def test_parameters_are_counted_as_the_papers_are() -> None:
    sizes = {name: sum(int(np.prod(s)) for s in vit.shapes().values()) for name, vit in VITS.items()}
    # 86.58 M and, with the trained part, 39.2 M; the mask token, which nothing uses, is below a thousandth.
    assert sizes["base"] == pytest.approx(86.58e6, rel=1e-3)
    assert sum(int(np.prod(shape)) for shape in names().values()) == pytest.approx(39.2e6, rel=2e-3)


def test_positions_are_interpolated_as_torch_does() -> None:
    grid = torch.randn(1, 5, STORED, STORED, generator=torch.Generator().manual_seed(0))
    matrix = bicubic_matrix(STORED, 28, 28.1 / STORED)
    wanted = functional.interpolate(grid, scale_factor=(28.1 / STORED, 28.1 / STORED), mode="bicubic")
    np.testing.assert_allclose(matrix @ grid.numpy() @ matrix.T, wanted.numpy(), atol=2e-5)


def test_positions_stored_for_the_size_are_left_as_they_are() -> None:
    stored = np.random.default_rng(0).normal(0, 1, (1, 1 + STORED**2, 3)).astype(np.float32)
    first, grid = _positions(stored, STORED)
    np.testing.assert_array_equal(np.concatenate([first, grid], axis=1), stored)


def test_timms_names_give_the_same_network() -> None:
    vit = Vit(128, 2, depth=1)
    ours = {name: tensor.numpy() for name, tensor in drawn(vit.shapes()).items()}
    timm = {name: array for name, array in ours.items() if name not in ("register_tokens", "mask_token")}
    timm["reg_token"] = ours["register_tokens"]
    timm["cls_token"] = ours["cls_token"] + ours["pos_embed"][:, :1]
    timm["pos_embed"] = ours["pos_embed"][:, 1:]
    renamed = from_timm(timm)
    assert {name: array.shape for name, array in renamed.items()} == vit.shapes()
    image = np.random.default_rng(0).normal(0, 1, (1, 3, SIDE, SIDE)).astype(np.float32)
    np.testing.assert_allclose(run_vit(vit, renamed, image), run_vit(vit, ours, image), atol=1e-5)


def run_vit(vit: Vit, weights: dict[str, F32], image: F32) -> F32:
    """Patch tokens after the first block, by ONNX Runtime."""
    import onnxruntime

    from export.networks.graph import Graph

    graph = Graph()
    (tap,) = lay_vit(graph, "image", SIDE, vit, weights, 0)
    graph.node("Identity", tap, name="out")
    cells = (SIDE // 14) ** 2
    data = graph.model("v", {"image": image.shape}, {"out": (1, cells, vit.channels)}).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    out: F32 = session.run(["out"], {"image": image})[0]
    return out


def test_the_maps_matrix_is_the_authors_resampling() -> None:
    cells = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    up = functional.interpolate(cells, (392, 392), mode="bilinear", align_corners=True)
    small = functional.interpolate(up, (256, 256), mode="bilinear", align_corners=False)
    line = torch.exp(-(torch.arange(-2, 3.0, dtype=torch.float64) ** 2) / 32)
    window = torch.outer(line, line) / line.sum() ** 2
    wanted = functional.conv2d(small, window[None, None], padding=2)[0, 0].numpy()
    matrix = _authors_matrix(28, 392).astype(np.float64)
    np.testing.assert_allclose(matrix @ cells[0, 0].numpy() @ matrix.T, wanted, atol=1e-6)
    assert TOP * 256**2 == 655


def test_missing_and_surplus_names_are_listed_and_nothing_is_written(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(checkpoint, weights_only=True)
    state["decoder.7.attn.scale"] = state.pop("decoder.7.attn.learn_scale")
    state["bottleneck.0.fc1.bias"] = torch.zeros(7)
    torch.save(state, tmp_path / "m.pth")
    words = [
        "export",
        "--method",
        "inp_former",
        "--checkpoint",
        str(tmp_path / "m.pth"),
        "-o",
        str(tmp_path / "out"),
    ]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "missing: decoder.7.attn.learn_scale" in said
    assert "surplus: decoder.7.attn.scale" in said
    assert "wrong shape: bottleneck.0.fc1.bias is (7,), expected (1536,)" in said
    assert not (tmp_path / "out").exists()


class _Harmful:
    """What a pickle could run."""

    def __reduce__(self) -> Any:
        return (print, ("run",))


@pytest.mark.parametrize("content", ["harmful", "list", "text", "none"])
def test_anything_but_plain_tensors_is_refused_in_one_line(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.pth"
    if content == "harmful":
        torch.save({"a": _Harmful()}, path)
    elif content == "list":
        torch.save([torch.zeros(1)], path)
    elif content == "text":
        path.write_bytes(pickle.dumps("x") + b"garbage")
    words = ["export", "--method", "inp_former", "--checkpoint", str(path), "-o", str(tmp_path / "out")]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "run" not in out.split()


@pytest.mark.parametrize(
    "words",
    [
        ["--method", "inp_former"],
        ["--checkpoint", "m.pth"],
        ["--method", "other", "--checkpoint", "m.pth"],
        ["web.yaml", "--method", "inp_former", "--checkpoint", "m.pth"],
        [],
    ],
)
def test_half_of_what_is_needed_is_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *words, "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
