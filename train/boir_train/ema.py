"""Exponential moving average of a model's weights: often better than the last weights, and steadier to evaluate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def decay_at(update: int, decay: float) -> float:
    """Decay of the given update (counted from 0): a short memory first, so that the random start is soon forgotten."""
    return min(decay, (1 + update) / (10 + update))


class Ema:
    """Averages of everything a model's state dict holds, updated after every optimiser step.

    Floating values, batch norm statistics among them, are averaged in at least float32; counters are copied.

    Attributes:
        decay: weight of the past once warmed up, 0 up to (not including) 1.
        updates: how many updates were made.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start from the model's present weights, on the model's device."""
        if not 0 <= decay < 1:
            raise ValueError(f"EMA decay is {decay}: must be at least 0 and less than 1")
        self.decay = decay
        self.updates = 0
        self._values = {name: _average_type(value).clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the averages towards the model's present weights."""
        share = 1 - decay_at(self.updates, self.decay)
        averages: list[Tensor] = []
        present: list[Tensor] = []
        for name, value in model.state_dict().items():
            average = self._values[name]
            if average.is_floating_point():
                averages.append(average)
                present.append(value.to(average.dtype))
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, present, share)
        self.updates += 1

    def weights(self) -> dict[str, Tensor]:
        """The averages under the model's names; the tensors are the live ones, copy what is kept."""
        return dict(self._values)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep to continue exactly."""
        return {"updates": self.updates, "decay": self.decay, "values": self.weights()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; the decay stays the one given at construction.

        Raises:
            KeyError: the state lacks a value of this model.
        """
        self.updates = int(state["updates"])
        for name, value in self._values.items():
            value.copy_(state["values"][name])


def _average_type(value: Tensor) -> Tensor:
    low = value.is_floating_point() and value.dtype in (torch.float16, torch.bfloat16)
    return value.detach().float() if low else value.detach()
