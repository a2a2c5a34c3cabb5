"""The training loop: epochs in an order that the seed decides, a checkpoint after each, the same result
whether it ran through or was killed and went on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.errors import ConfigError

from ..checkpoint import Checkpoint, State
from ..method import Report
from .stable_adamw import MEMORY, StableAdamW

F32 = NDArray[np.float32]
Loss = Callable[[Any, Any], Any]
"""From the indices of a batch, (B,) int64, and a seeded generator to the loss of that batch."""


@dataclass(frozen=True)
class Plan:
    """How a network is trained."""

    epochs: int
    batch: int
    rate: float = 1e-3
    """Greatest learning rate: reached linearly, then down a cosine to `last_rate`."""
    last_rate: float = 1e-4
    warm_up: int = 100
    """Steps to the greatest rate."""
    clip: float = 0.1
    """Greatest norm of all gradients together."""
    decay: float = 1e-4
    seed: int = 0


def train(
    module: Any, loss: Loss, samples: int, plan: Plan, fit: str, checkpoint: Checkpoint, report: Report
) -> dict[str, F32]:
    """The weights after the last epoch, by name, float32.

    Args:
        module: a torch module, initialised; it is changed.
        samples: images to draw batches from; an incomplete last batch is left out, as the authors do.
        fit: digest of what decides the result, see `Checkpoint.load`.

    Raises:
        ConfigError: a loss or gradient that is not finite, with the step; a checkpoint that does not fit.
    """
    # One thread: the same result under any load and on any number of cores, and these networks are small.
    torch.set_num_threads(1)
    batch = min(plan.batch, samples)
    steps = samples // batch
    optimiser = StableAdamW(module.parameters(), plan.decay)
    state = checkpoint.load(fit)
    losses = list(state.losses) if state else []
    if state:
        _restore(module, optimiser, state, state.epoch * steps)
    for epoch in range(len(losses), plan.epochs):
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + epoch)
        order = torch.randperm(samples, generator=generator)[: steps * batch].view(steps, batch)
        values = []
        for i, indices in enumerate(order):
            _set_rate(optimiser, plan, epoch * steps + i, steps * plan.epochs)
            values.append(_step(module, optimiser, loss(indices, generator), plan, epoch * steps + i + 1))
        losses.append(sum(values) / steps)
        checkpoint.save(fit, _state(module, optimiser, losses))
        report("train", epoch + 1, plan.epochs, f"loss {losses[-1]:.4f}")
    return {name: _array(tensor) for name, tensor in module.state_dict().items()}


def _step(module: Any, optimiser: StableAdamW, loss: Any, plan: Plan, number: int) -> float:
    optimiser.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(module.parameters(), plan.clip)
    value = float(loss.detach())
    if not (math.isfinite(value) and math.isfinite(float(norm))):
        raise ConfigError(
            f"step {number}: loss is {value}, norm of the gradients {float(norm)}; expected finite numbers; "
            "the state of the last epoch is kept; look at the images, or take a smaller rate"
        )
    optimiser.step()
    return value


def _set_rate(optimiser: StableAdamW, plan: Plan, step: int, steps: int) -> None:
    warm = min(plan.warm_up, steps // 4)
    if step < warm:
        rate = plan.rate * (step + 1) / warm
    else:
        share = (step - warm) / max(1, steps - warm)
        rate = plan.last_rate + (plan.rate - plan.last_rate) * 0.5 * (1 + math.cos(math.pi * share))
    for group in optimiser.param_groups:
        group["lr"] = rate


def _state(module: Any, optimiser: StableAdamW, losses: list[float]) -> State:
    tensors = {f"weights.{name}": _array(t) for name, t in module.state_dict().items()}
    for name, weight in module.named_parameters():
        tensors.update({f"{key}.{name}": _array(optimiser.state[weight][key]) for key in MEMORY})
    return State(len(losses), tensors, tuple(losses))


def _restore(module: Any, optimiser: StableAdamW, state: State, steps: int) -> None:
    def tensor(name: str) -> Any:
        return torch.from_numpy(state.tensors[name].copy())

    module.load_state_dict({name: tensor(f"weights.{name}") for name in module.state_dict()})
    for name, weight in module.named_parameters():
        kept = {key: tensor(f"{key}.{name}") for key in MEMORY}
        optimiser.state[weight] = {"step": steps, **kept}


def _array(tensor: Any) -> F32:
    array: F32 = tensor.detach().cpu().numpy().copy()
    return array
