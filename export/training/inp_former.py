"""INP-Former's trained part and its losses in torch.

Source: arXiv 2503.02424; module names are those of the authors' checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ..checkpoint import Checkpoint
from ..method import Report
from ..networks.inp_former import LEAST_NORM, NORM_EPSILON, Form, rebuilt_by
from .loop import Plan, train


@dataclass(frozen=True)
class Losses:
    """What is trained for."""

    queries: int
    """Tokens of an image that are rebuilt in a step, drawn anew each time."""
    coherence: float
    """Weight of the coherence loss."""
    mining: float
    """Exponent of soft mining."""


class InpFormer(nn.Module):
    """Extractor, bottleneck and INP-guided decoder."""

    def __init__(self, form: Form, seed: int) -> None:
        super().__init__()
        self.form = form
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.prototype_token = nn.Parameter(torch.randn(form.prototypes, form.channels))
            self.bottleneck = nn.ModuleList([_Mlp(form)])
            self.aggregation = nn.ModuleList([_Block(form, guided=False)])
            self.decoder = nn.ModuleList(_Block(form, guided=True) for _ in range(form.blocks))
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.trunc_normal_(layer.weight, std=0.01, a=-0.03, b=0.03)
                    nn.init.zeros_(layer.bias)

    def forward(self, groups: Sequence[Any], queries: Any | None = None) -> tuple[Any, list[Any]]:
        """Prototypes (B, M, C) of the images, and each group (B, N, C_i) rebuilt from them.

        Args:
            queries: tokens that are rebuilt, (n,) int64; None: all. The prototypes see all in any case.
        """
        tokens = joined(groups, self.form)
        prototypes = self.aggregation[0](self.prototype_token.expand(len(tokens), -1, -1), tokens)
        z, decoded = self.bottleneck[0](tokens if queries is None else tokens[:, queries]), []
        for block in self.decoder:
            z = block(z, prototypes)
            decoded.append(z)
        if self.form.joined == "aside":
            mean = torch.stack(decoded).mean(0)
            return prototypes, list(mean.split([group.shape[2] for group in groups], dim=2))
        blocks = rebuilt_by(len(decoded), len(groups))
        return prototypes, [torch.stack([decoded[i] for i in own]).mean(0) for own in blocks]


def joined(groups: Sequence[Any], form: Form) -> Any:
    """Groups (B, N, C_i) of features as tokens (B, N, C); see `Form.joined`."""
    return torch.cat(list(groups), dim=2) if form.joined == "aside" else torch.stack(list(groups)).mean(0)


def total_loss(model: InpFormer, groups: Sequence[Any], queries: Any | None, how: Losses) -> Any:
    """Soft mining loss plus the weighted coherence loss."""
    prototypes, decoded = model(groups, queries)
    encoded = groups if queries is None else [group[:, queries] for group in groups]
    coherence = coherence_loss(joined(groups, model.form), prototypes)
    return soft_mining_loss(encoded, decoded, how.mining) + how.coherence * coherence


def soft_mining_loss(encoded: Sequence[Any], decoded: Sequence[Any], gamma: float) -> Any:
    """Mean over groups and images of 1 - cosine of the flattened maps, hard tokens weighing more.

    The weight (d / mean d)^gamma of a token at distance d acts on the gradient alone; gamma 0 leaves the
    plain cosine.

    Source: section 3.4; the weight on the gradient as in the authors' code.
    """
    losses = []
    for e, d in zip(encoded, decoded, strict=True):
        distance = (1 - functional.cosine_similarity(e, d, dim=2)).detach()
        weight = (distance / distance.mean()).pow(gamma).unsqueeze(2)
        if d.requires_grad:
            d.register_hook(lambda gradient, weight=weight: gradient * weight)
        losses.append((1 - functional.cosine_similarity(e.flatten(1), d.flatten(1), dim=1)).mean())
    return torch.stack(losses).mean()


def coherence_loss(tokens: Any, prototypes: Any) -> Any:
    """Mean distance, 1 - cosine, of each token (B, N, C) to the nearest prototype of its own image.

    Source: section 3.2.
    """
    cosine = functional.normalize(tokens, dim=2) @ functional.normalize(prototypes, dim=2).transpose(1, 2)
    return (1 - cosine).amin(dim=2).mean()


class _Mlp(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.fc1 = nn.Linear(form.channels, form.hidden)
        self.fc2 = nn.Linear(form.hidden, form.channels)

    def forward(self, x: Any) -> Any:
        return self.fc2(functional.gelu(self.fc1(x)))


class _Attention(nn.Module):
    """Softmax over the tokens for the extractor; ReLU of scaled cosines for the decoder (`guided`)."""

    def __init__(self, form: Form, guided: bool) -> None:
        super().__init__()
        self.heads = form.heads
        self.q = nn.Linear(form.channels, form.channels)
        self.kv = nn.Linear(form.channels, 2 * form.channels)
        self.proj = nn.Linear(form.channels, form.channels)
        self.learn_scale = nn.Parameter(torch.ones(form.heads, 1, 1)) if guided else None

    def forward(self, x: Any, y: Any) -> Any:
        batch, rows, channels = x.shape
        size = channels // self.heads
        q = self.q(x).view(batch, rows, self.heads, size).transpose(1, 2)
        k, v = self.kv(y).view(batch, -1, 2, self.heads, size).permute(2, 0, 3, 1, 4)
        if self.learn_scale is None:
            shares = (q @ k.transpose(2, 3) * size**-0.5).softmax(dim=3)
        else:
            q, k = (functional.normalize(t, dim=3, eps=LEAST_NORM) for t in (q, k))
            shares = functional.relu(q @ k.transpose(2, 3) * self.learn_scale)
        return self.proj((shares @ v).transpose(1, 2).reshape(batch, rows, channels))


class _Block(nn.Module):
    def __init__(self, form: Form, guided: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(form.channels, eps=NORM_EPSILON)
        self.attn = _Attention(form, guided)
        self.norm2 = nn.LayerNorm(form.channels, eps=NORM_EPSILON)
        self.mlp = _Mlp(form)
        self.guided = guided

    def forward(self, x: Any, y: Any) -> Any:
        attended = self.attn(self.norm1(x), self.norm1(y))
        x = attended if self.guided else x + attended
        return x + self.mlp(self.norm2(x))


def train_inp_former(
    form: Form,
    groups: Sequence[NDArray[np.float32]],
    plan: Plan,
    how: Losses,
    fit: str,
    checkpoint: Checkpoint,
    report: Report,
) -> dict[str, NDArray[np.float32]]:
    """The weights after training on cached features.

    Args:
        groups: (images, N, C_i) float32 each.

    Raises:
        ConfigError: see `train`.
    """
    cached = [torch.from_numpy(group) for group in groups]
    model = InpFormer(form, plan.seed)
    cells = cached[0].shape[1]

    def loss(indices: Any, generator: Any) -> Any:
        drawn = torch.randperm(cells, generator=generator)[: how.queries]
        return total_loss(model, [group[indices] for group in cached], drawn, how)

    return train(model, loss, len(cached[0]), plan, fit, checkpoint, report)
