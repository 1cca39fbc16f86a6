"""Which parameters learn, and how fast (SPEC-training T3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from boir_sdk.errors import ConfigError
from boir_train.config import OptimConfig


def is_under(name: str, prefix: str) -> bool:
    """Tell whether a parameter is called `prefix`, or lies in the module of that name."""
    return name == prefix or name.startswith(prefix.rstrip(".") + ".")


def check_prefixes(prefixes: Iterable[str], names: Sequence[str], key: str) -> None:
    """Refuse a prefix that names none of `names`.

    Raises:
        ConfigError: which one, of which configuration `key`.
    """
    for prefix in prefixes:
        if not any(is_under(name, prefix) for name in names):
            raise ConfigError(f"{key}: no parameter of the model is called {prefix!r} or lies under it")


def freeze(model: nn.Module, prefixes: Sequence[str]) -> None:
    """Stop gradients of all parameters under `prefixes` (module paths such as `backbone.stem`).

    Raises:
        ConfigError: a prefix names nothing, or nothing is left to learn.
    """
    check_prefixes(prefixes, [name for name, _ in model.named_parameters()], "optim.freeze")
    for name, parameter in model.named_parameters():
        if any(is_under(name, prefix) for prefix in prefixes):
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
    check_prefixes(settings.lr_scale, [name for name, _ in model.named_parameters()], "optim.lr_scale")
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matching = [prefix for prefix in settings.lr_scale if is_under(name, prefix)]
            scale = settings.lr_scale[max(matching, key=len)] if matching else 1.0
            groups.setdefault(scale, []).append(parameter)
    return torch.optim.AdamW(
        [{"params": parameters, "scale": scale} for scale, parameters in groups.items()],
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
    )


def make_relative(optimizer: torch.optim.AdamW, model: nn.Module, prefixes: Sequence[str]) -> None:
    """Let parameters under `prefixes` step relative to their size, as if their batch norms weren't folded into them.

    AdamW's step of each row of such a parameter (one output channel; a vector is one row) is multiplied with the row's
    root mean square at the time of this call, which equals learning the row over that size; weight decay stays what it
    is. A row of zeros counts as its tensor does, a tensor of zeros as 1. The sizes are kept in the groups' `sizes`, so
    they are saved and restored with the optimizer.

    Raises:
        ConfigError: a prefix names nothing.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    check_prefixes(prefixes, list(names.values()), "optim.relative")
    if not prefixes:
        return
    for group in optimizer.param_groups:
        group["sizes"] = [
            _row_size(parameter.detach())
            if any(is_under(names[id(parameter)], prefix) for prefix in prefixes)
            else None
            for parameter in group["params"]
        ]
    before: list[torch.Tensor] = []

    def remember(*_: object) -> None:
        before[:] = [
            parameter.detach().clone()
            for group in optimizer.param_groups
            for parameter, size in zip(group["params"], group["sizes"], strict=True)
            if size is not None
        ]

    @torch.no_grad()
    def shorten(*_: object) -> None:
        old = iter(before)
        for group in optimizer.param_groups:
            keep = 1 - group["lr"] * group["weight_decay"]
            for parameter, size in zip(group["params"], group["sizes"], strict=True):
                if size is not None:
                    decayed = keep * next(old)
                    parameter.copy_(decayed + size.to(parameter.device) * (parameter - decayed))

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(shorten)


def _row_size(parameter: torch.Tensor) -> torch.Tensor:
    """Root mean square of every row, shaped to multiply with the parameter: [C, 1, ...], or a scalar for a vector."""
    whole = parameter.square().mean().sqrt()
    whole = torch.where(whole > 0, whole, torch.ones_like(whole))
    if parameter.dim() < 2:
        return whole
    rows = parameter.square().mean(dim=tuple(range(1, parameter.dim())), keepdim=True).sqrt()
    return torch.where(rows > 0, rows, whole)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the rate times its scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
