"""DINOv2 vision transformers with registers as a graph, with the names of the authors' weights or of timm's.

Source: Oquab et al., DINOv2, 2023 (arXiv 2304.07193); Darcet et al., Vision Transformers Need Registers, ICLR
2024. No such weights are at hand here: the graph is held to torch with random ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .graph import F32, Graph, Shape

PATCH = 14
REGISTERS = 4
STORED = 37
"""Positions are stored for 37 x 37 patches: 518 px."""
OFFSET = 0.1
"""Added to the number of patches where positions are interpolated, as the original code does; the version of
the hub for registers does not, and averages instead of sampling. INP-Former is of the first kind."""
NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class Vit:
    """Sizes of one encoder."""

    channels: int
    heads: int
    depth: int = 12

    def shapes(self) -> dict[str, Shape]:
        """Every tensor of a state dict by the authors' name."""
        c = self.channels
        shapes: dict[str, Shape] = {
            "cls_token": (1, 1, c),
            "pos_embed": (1, 1 + STORED**2, c),
            "register_tokens": (1, REGISTERS, c),
            "mask_token": (1, c),
            "patch_embed.proj.weight": (c, 3, PATCH, PATCH),
            "patch_embed.proj.bias": (c,),
            "norm.weight": (c,),
            "norm.bias": (c,),
        }
        for i in range(self.depth):
            for name, rows, columns in (
                ("attn.qkv", 3 * c, c),
                ("attn.proj", c, c),
                ("mlp.fc1", 4 * c, c),
                ("mlp.fc2", c, 4 * c),
            ):
                shapes[f"blocks.{i}.{name}.weight"] = (rows, columns)
                shapes[f"blocks.{i}.{name}.bias"] = (rows,)
            for name in (
                "norm1.weight",
                "norm1.bias",
                "norm2.weight",
                "norm2.bias",
                "ls1.gamma",
                "ls2.gamma",
            ):
                shapes[f"blocks.{i}.{name}"] = (c,)
        return shapes


VITS = {"small": Vit(384, 6), "base": Vit(768, 12)}


def from_timm(state: Mapping[str, F32]) -> dict[str, F32]:
    """A state dict of timm's (`reg_token`; the class token holds its position) under the authors' names.

    timm stores no mask token, which nothing uses: it becomes zero.
    """
    renamed = {name: array for name, array in state.items() if name != "reg_token"}
    if not {"cls_token", "pos_embed"} <= state.keys():
        return renamed
    renamed["register_tokens"] = state["reg_token"]
    # The class token's position is in the token already.
    renamed["pos_embed"] = np.concatenate([np.zeros_like(state["cls_token"]), state["pos_embed"]], axis=1)
    renamed["mask_token"] = np.zeros_like(state["cls_token"][0])
    return renamed


def lay_vit(
    graph: Graph, image: str, side: int, vit: Vit, weights: Mapping[str, F32], last: int
) -> list[str]:
    """Patch tokens (1, N, C) after each block up to `last`, without class token, registers and final norm."""
    cells, c = side // PATCH, vit.channels
    tokens = 1 + REGISTERS + cells**2
    kernel, bias = (
        graph.constant(f"vit.patch.{k}", weights[f"patch_embed.proj.{k}"]) for k in ("weight", "bias")
    )
    patches = graph.node("Conv", image, kernel, bias, kernel_shape=[PATCH, PATCH], strides=[PATCH, PATCH])
    rows = graph.transpose(graph.reshape(patches, 1, c, cells**2), 0, 2, 1)
    first, positions = _positions(weights["pos_embed"], cells)
    rows = graph.add(rows, graph.constant("vit.positions", positions))
    head = np.concatenate([weights["cls_token"] + first, weights["register_tokens"]], axis=1)
    x = graph.node("Concat", graph.constant("vit.head", head), rows, axis=1)
    taps = []
    for i in range(last + 1):
        x = _block(graph, x, tokens, vit, weights, f"blocks.{i}")
        taps.append(graph.node("Slice", x, graph.ints(1 + REGISTERS), graph.ints(tokens), graph.ints(1)))
    return taps


def _block(graph: Graph, x: str, tokens: int, vit: Vit, weights: Mapping[str, F32], name: str) -> str:
    c, size = vit.channels, vit.channels // vit.heads
    prefixed = {f"vit.{key}": value for key, value in weights.items() if key.startswith(f"{name}.")}
    name = f"vit.{name}"
    normed = graph.layer_norm(x, prefixed, f"{name}.norm1", NORM_EPSILON)
    q, k, v = graph.split(graph.linear(normed, prefixed, f"{name}.attn.qkv"), c, c, c)
    q, v = (graph.transpose(graph.reshape(t, 1, tokens, vit.heads, size), 0, 2, 1, 3) for t in (q, v))
    k = graph.transpose(graph.reshape(k, 1, tokens, vit.heads, size), 0, 2, 3, 1)
    logits = graph.node("MatMul", graph.mul(q, graph.scalar(size**-0.5)), k)
    mixed = graph.node("MatMul", graph.node("Softmax", logits, axis=-1), v)
    mixed = graph.reshape(graph.transpose(mixed, 0, 2, 1, 3), 1, tokens, c)
    x = _add_scaled(
        graph, x, graph.linear(mixed, prefixed, f"{name}.attn.proj"), prefixed, f"{name}.ls1.gamma"
    )
    inner = graph.layer_norm(x, prefixed, f"{name}.norm2", NORM_EPSILON)
    inner = graph.linear(
        graph.gelu(graph.linear(inner, prefixed, f"{name}.mlp.fc1")), prefixed, f"{name}.mlp.fc2"
    )
    return _add_scaled(graph, x, inner, prefixed, f"{name}.ls2.gamma")


def _add_scaled(graph: Graph, x: str, change: str, weights: Mapping[str, F32], name: str) -> str:
    return graph.add(x, graph.mul(change, graph.constant(name, weights[name])))


def _positions(stored: F32, cells: int) -> tuple[F32, F32]:
    """Position of the class token (1, 1, C), and of cells x cells patches (1, cells^2, C)."""
    first, grid = stored[:, :1], stored[0, 1:].reshape(STORED, STORED, -1)
    if cells == STORED:
        return first, stored[:, 1:]
    matrix = bicubic_matrix(STORED, cells, (cells + OFFSET) / STORED)
    resized = np.einsum("ab,cd,bdk->ack", matrix, matrix, grid.astype(np.float64))
    return first, resized.reshape(1, cells**2, -1).astype(np.float32)


def bicubic_matrix(n_in: int, n_out: int, scale: float) -> NDArray[np.float64]:
    """(n_out, n_in): torch's bicubic interpolation of one axis for a given scale factor, without antialias.

    Source position (i + 0.5) / scale - 0.5, Keys' kernel with a = -0.75, the edge repeated.
    """
    matrix = np.zeros((n_out, n_in))
    for i in range(n_out):
        at = (i + 0.5) / scale - 0.5
        for j in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            matrix[i, min(max(j, 0), n_in - 1)] += _keys(abs(at - j))
    return matrix


def _keys(x: float, a: float = -0.75) -> float:
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return ((x - 5) * x + 8) * x * a - 4 * a if x < 2 else 0.0
