"""The trained part of INP-Former as a graph behind frozen features: extractor, bottleneck, decoder.

Source: arXiv 2503.02424, section 3; names of the weights are those of the authors' checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .graph import F32, Graph, Shape

NORM_EPSILON = 1e-8
LEAST_NORM = 1e-12
"""What a query's or key's length is at least when it is divided by."""


@dataclass(frozen=True)
class Form:
    """Sizes of the trained part."""

    channels: int
    """Of a token, a multiple of `heads`."""
    heads: int
    prototypes: int
    blocks: int
    hidden: int
    """Channels inside each MLP."""
    joined: Literal["mean", "aside"]
    """How groups of features become tokens. `mean`, as published: all have `channels`, and each is rebuilt by
    its own half of the decoder's blocks, the last ones the shallowest. `aside`, derived: side by side, and
    all are rebuilt by the mean of all blocks."""

    def shapes(self) -> dict[str, Shape]:
        """Every weight by the authors' name."""
        shapes: dict[str, Shape] = {"prototype_token": (self.prototypes, self.channels)}
        shapes.update(self._mlp("bottleneck.0"))
        shapes.update(self._block("aggregation.0"))
        for i in range(self.blocks):
            shapes[f"decoder.{i}.attn.learn_scale"] = (self.heads, 1, 1)
            shapes.update(self._block(f"decoder.{i}"))
        return shapes

    def _block(self, name: str) -> dict[str, Shape]:
        c = self.channels
        norms = {f"{name}.{norm}.{key}": (c,) for norm in ("norm1", "norm2") for key in ("weight", "bias")}
        attention = {**_linear(f"{name}.attn.q", c, c), **_linear(f"{name}.attn.kv", c, 2 * c)}
        return {**norms, **attention, **_linear(f"{name}.attn.proj", c, c), **self._mlp(f"{name}.mlp")}

    def _mlp(self, name: str) -> dict[str, Shape]:
        c, h = self.channels, self.hidden
        return {**_linear(f"{name}.fc1", c, h), **_linear(f"{name}.fc2", h, c)}


def _linear(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def lay_inp_former(
    graph: Graph, groups: Sequence[tuple[str, Shape]], form: Form, weights: Mapping[str, F32]
) -> dict[str, Shape]:
    """Lays the trained part behind groups of features; nothing in it depends on chance.

    Args:
        groups: name and shape (1, h, w, C) of each, the shallowest first, on one grid.

    Returns:
        Outputs `e_i`, the features of group i, and `d_i`, what was made of them; (1, h, w, C) each.
    """
    _, height, width, _ = groups[0][1]
    tokens, channels = height * width, [shape[3] for _, shape in groups]
    flat = [graph.reshape(name, 1, tokens, shape[3]) for name, shape in groups]
    joined = graph.node("Concat", *flat, axis=2) if form.joined == "aside" else graph.mean(*flat)
    prototypes = _extract(graph, joined, tokens, form, weights)
    z, decoded = _mlp(graph, joined, weights, "bottleneck.0"), []
    for i in range(form.blocks):
        z = _decode(graph, z, prototypes, tokens, form, weights, f"decoder.{i}")
        decoded.append(z)
    outputs: dict[str, Shape] = {}
    for i, (e, d) in enumerate(zip(flat, _rebuilt(graph, decoded, channels, form), strict=True), 1):
        for name, x in ((f"e_{i}", e), (f"d_{i}", d)):
            shape = (1, height, width, channels[i - 1])
            graph.node("Reshape", x, graph.ints(*shape), name=name)
            outputs[name] = shape
    return outputs


def rebuilt_by(blocks: int, groups: int) -> list[range]:
    """Blocks whose mean rebuilds each group in form `mean`: the last ones the shallowest."""
    each = blocks // groups
    return [range(blocks - (i + 1) * each, blocks - i * each) for i in range(groups)]


def _rebuilt(graph: Graph, decoded: Sequence[str], channels: Sequence[int], form: Form) -> list[str]:
    if form.joined == "aside":
        return graph.split(graph.mean(*decoded), *channels)
    return [graph.mean(*(decoded[i] for i in blocks)) for blocks in rebuilt_by(len(decoded), len(channels))]


def _extract(graph: Graph, features: str, tokens: int, form: Form, weights: Mapping[str, F32]) -> str:
    """Section 3.2: the image's prototypes, (1, M, C), from its own tokens by cross attention."""
    m, c, h, name = form.prototypes, form.channels, form.heads, "aggregation.0"
    learned = graph.reshape(graph.constant("prototype_token", weights["prototype_token"]), 1, m, c)
    query = graph.linear(_norm(graph, learned, weights, f"{name}.norm1"), weights, f"{name}.attn.q")
    both = graph.linear(_norm(graph, features, weights, f"{name}.norm1"), weights, f"{name}.attn.kv")
    key, value = graph.split(both, c, c)
    logits = graph.mul(
        graph.node("MatMul", _heads(graph, query, m, form), _heads(graph, key, tokens, form, "key")),
        graph.scalar((c // h) ** -0.5),
    )
    shares = graph.node("Softmax", logits, axis=-1)
    mixed = _joined(graph, graph.node("MatMul", shares, _heads(graph, value, tokens, form)), m, form)
    x = graph.add(learned, graph.linear(mixed, weights, f"{name}.attn.proj"))
    inner = _mlp(graph, _norm(graph, x, weights, f"{name}.norm2"), weights, f"{name}.mlp")
    return graph.add(x, inner)


def _decode(
    graph: Graph, z: str, prototypes: str, tokens: int, form: Form, weights: Mapping[str, F32], name: str
) -> str:
    """Section 3.3: no residual around the attention, so that a token leaves only through the prototypes."""
    m, c = form.prototypes, form.channels
    query = graph.linear(_norm(graph, z, weights, f"{name}.norm1"), weights, f"{name}.attn.q")
    both = graph.linear(_norm(graph, prototypes, weights, f"{name}.norm1"), weights, f"{name}.attn.kv")
    key, value = graph.split(both, c, c)
    query = _unit(graph, _heads(graph, query, tokens, form), -1)
    key = _unit(graph, _heads(graph, key, m, form, "key"), -2)
    scale = graph.constant(f"{name}.attn.learn_scale", weights[f"{name}.attn.learn_scale"][None])
    shares = graph.relu(graph.mul(graph.node("MatMul", query, key), scale))
    mixed = _joined(graph, graph.node("MatMul", shares, _heads(graph, value, m, form)), tokens, form)
    out = graph.linear(mixed, weights, f"{name}.attn.proj")
    inner = _mlp(graph, _norm(graph, out, weights, f"{name}.norm2"), weights, f"{name}.mlp")
    return graph.add(out, inner)


def _heads(graph: Graph, x: str, rows: int, form: Form, role: Literal["row", "key"] = "row") -> str:
    """(1, rows, C) as (1, heads, rows, C / heads), or transposed where it is multiplied from the right."""
    split = graph.reshape(x, 1, rows, form.heads, form.channels // form.heads)
    return graph.transpose(split, *((0, 2, 3, 1) if role == "key" else (0, 2, 1, 3)))


def _joined(graph: Graph, x: str, rows: int, form: Form) -> str:
    return graph.reshape(graph.transpose(x, 0, 2, 1, 3), 1, rows, form.channels)


def _unit(graph: Graph, x: str, axis: int) -> str:
    length = graph.node("ReduceL2", x, graph.ints(axis), keepdims=1)
    return graph.div(x, graph.node("Max", length, graph.scalar(LEAST_NORM)))


def _norm(graph: Graph, x: str, weights: Mapping[str, F32], name: str) -> str:
    return graph.layer_norm(x, weights, name, NORM_EPSILON)


def _mlp(graph: Graph, x: str, weights: Mapping[str, F32], name: str) -> str:
    inner = graph.gelu(graph.linear(x, weights, f"{name}.fc1"))
    return graph.linear(inner, weights, f"{name}.fc2")
