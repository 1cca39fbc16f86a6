"""Steps relative to the size of weights whose norms were folded into them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from boir_sdk.errors import ConfigError
from boir_train.config import OptimConfig
from boir_train.optimizer import make_optimizer, make_relative

RATE = 0.01


def step(model: nn.Module, *prefixes: str) -> dict[str, torch.Tensor]:
    """One AdamW step with a gradient of ones: every element of a plain parameter moves by the rate."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = make_optimizer(model, OptimConfig(lr=RATE, weight_decay=0.0))
    make_relative(optimizer, model, prefixes)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {name: before[name] - parameter.detach() for name, parameter in model.named_parameters()}


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1e-4, 1e-4], [3.0, -4.0], [0.0, 0.0]])[:, :, None, None])
        model[0].bias.copy_(torch.tensor([3.0, 4.0, 0.0]))
    return model


def test_a_row_moves_by_the_rate_times_its_size() -> None:
    moved = step(two_layers(), "0")
    sizes = torch.tensor([1e-4, 12.5**0.5])
    torch.testing.assert_close(moved["0.weight"][:2, 0, 0, 0] / RATE, sizes, rtol=1e-3, atol=0)
    # A row of zeros counts as the tensor: it must be able to leave zero.
    assert moved["0.weight"][2, 0, 0, 0] == pytest.approx(RATE * (25 / 6) ** 0.5, rel=1e-3)
    torch.testing.assert_close(moved["0.bias"] / RATE, torch.full((3,), (25 / 3) ** 0.5), rtol=1e-3, atol=0)


def test_other_parameters_move_by_the_rate() -> None:
    moved = step(two_layers(), "0")
    torch.testing.assert_close(moved["1.weight"], torch.full((2, 3, 1, 1), RATE), rtol=1e-3, atol=0)


def test_it_equals_learning_the_weight_over_its_size() -> None:
    """The claim of the docstring, over several steps with changing gradients."""
    torch.manual_seed(1)
    folded, size = nn.Linear(4, 3, bias=False), torch.tensor([[1e-3], [1.0], [50.0]])
    with torch.no_grad():
        folded.weight.copy_(folded.weight / folded.weight.square().mean(1, keepdim=True).sqrt() * size)
    plain = nn.Parameter((folded.weight / size).detach().clone())
    settings = OptimConfig(lr=RATE, weight_decay=0.1)
    first = make_optimizer(folded, settings)
    make_relative(first, folded, ["weight"])
    second = torch.optim.AdamW([plain], lr=RATE, betas=settings.betas, eps=0, weight_decay=0.1)
    first.param_groups[0]["eps"] = 0
    for _ in range(5):
        x, y = torch.randn(8, 4), torch.randn(8, 3)
        for weight, optimizer in ((lambda: folded.weight, first), (lambda: plain * size, second)):
            optimizer.zero_grad()
            (x @ weight().T - y).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(folded.weight, plain * size, rtol=1e-4, atol=1e-6)


def test_frozen_parameters_stay_and_unknown_prefixes_are_named() -> None:
    model = two_layers()
    model[0].weight.requires_grad_(False)
    assert not step(model, "0")["0.weight"].any()
    with pytest.raises(ConfigError, match=r"optim\.relative.*'2'"):
        step(two_layers(), "2")
