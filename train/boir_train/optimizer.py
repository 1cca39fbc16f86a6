"""Which parameters learn, and how fast (SPEC-training T3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from boir_sdk.errors import ConfigError
from boir_train.config import OptimConfig


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix.rstrip(".") + ".")


def _check_prefixes(prefixes: Iterable[str], names: Sequence[str], key: str) -> None:
    for prefix in prefixes:
        if not any(_under(name, prefix) for name in names):
            raise ConfigError(f"{key}: no parameter of the model is called {prefix!r} or lies under it")


def freeze(model: nn.Module, prefixes: Sequence[str]) -> None:
    """Stop gradients of all parameters under `prefixes` (module paths such as `backbone.stem`).

    Raises:
        ConfigError: a prefix names nothing, or nothing is left to learn.
    """
    _check_prefixes(prefixes, [name for name, _ in model.named_parameters()], "optim.freeze")
    for name, parameter in model.named_parameters():
        if any(_under(name, prefix) for prefix in prefixes):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("optim.freeze leaves no parameter to learn")


def train_mode(model: nn.Module) -> None:
    """Put `model` in training mode, except modules without any learning parameter: they keep their batch statistics."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def make_optimizer(model: nn.Module, settings: OptimConfig) -> torch.optim.AdamW:
    """Make AdamW over the learning parameters, one group for each factor of `settings.lr_scale`.

    A group's factor is kept as its `scale`; weight decay acts on all parameters, norms and biases too.

    Raises:
        ConfigError: a prefix names nothing.
    """
    _check_prefixes(settings.lr_scale, [name for name, _ in model.named_parameters()], "optim.lr_scale")
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matching = [prefix for prefix in settings.lr_scale if _under(name, prefix)]
            scale = settings.lr_scale[max(matching, key=len)] if matching else 1.0
            groups.setdefault(scale, []).append(parameter)
    return torch.optim.AdamW(
        [{"params": parameters, "scale": scale} for scale, parameters in groups.items()],
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the rate times its scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
