"""StableAdamW: AdamW whose step is bounded per tensor, so that no loss spike throws the weights off."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

MEMORY = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
"""Tensors that the optimiser keeps of each weight."""


class StableAdamW(torch.optim.Optimizer):
    """AdamW with AMSGrad; a tensor's learning rate is divided by max(1, rms(gradient / denominator)).

    Source: Wortsman et al., Stable and low-precision training for large-scale vision-language models,
    NeurIPS 2023, section 3.5; AMSGrad, weight decay and epsilon as INP-Former sets them.
    """

    def __init__(self, weights: Iterable[Any], decay: float, epsilon: float = 1e-10) -> None:
        super().__init__(weights, {"lr": 0.0, "betas": (0.9, 0.999), "decay": decay, "epsilon": epsilon})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step with the learning rate `lr` of each group."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._step(weight, group)

    def _step(self, weight: Any, group: dict[str, Any]) -> None:
        memory, gradient = self.state[weight], weight.grad
        if not memory:
            memory["step"] = 0
            memory.update({name: torch.zeros_like(weight) for name in MEMORY})
        memory["step"] += 1
        first, second = group["betas"]
        mean, square, greatest = (memory[name] for name in MEMORY)
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        torch.maximum(greatest, square, out=greatest)
        denominator = (greatest / (1 - second ** memory["step"])).sqrt_().add_(group["epsilon"])
        rms = (gradient / denominator).square().mean().sqrt().item()
        rate = group["lr"] / max(1.0, rms) if math.isfinite(rms) else math.nan
        weight.mul_(1 - rate * group["decay"])
        weight.addcdiv_(mean, denominator, value=-rate / (1 - first ** memory["step"]))
