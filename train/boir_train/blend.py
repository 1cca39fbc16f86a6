"""The weights a run evaluates and keeps: its latest or averaged ones, blended with those it started from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from boir_sdk.errors import ConfigError
from boir_train.optimizer import check_prefixes, is_under


class Blend:
    """Shares of the start's weights by name.

    A straight line in weight space between a start and its fine-tuned form often leads over models better than both
    (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).
    """

    def __init__(self, start: Mapping[str, Tensor], shares: Mapping[str, float]) -> None:
        """Remember the start's weights under the prefixes of `shares` (module paths; the longest one counts).

        Raises:
            ConfigError: a share isn't within 0..1, or a prefix names nothing.
        """
        check_prefixes(shares, list(start), "optim.blend")
        for prefix, share in shares.items():
            if not 0 <= share <= 1:
                raise ConfigError(f"optim.blend: the share of {prefix!r} is {share}, must be from 0 to 1")
        self._start: dict[str, tuple[Tensor, float]] = {}
        for name, value in start.items():
            matching = [prefix for prefix in shares if is_under(name, prefix)]
            if matching and value.is_floating_point():
                self._start[name] = value.detach().clone(), shares[max(matching, key=len)]

    def mix(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights with the start's share in them; those without one are the tensors given."""
        mixed = dict(weights)
        for name, (start, share) in self._start.items():
            mixed[name] = torch.lerp(weights[name], start.to(weights[name].dtype), share)
        return mixed

    def state_dict(self) -> dict[str, Tensor]:
        """The start's weights, for a run that goes on."""
        return {name: start for name, (start, _) in self._start.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the start's weights from `state_dict`; the shares stay.

        Raises:
            KeyError: a weight is missing.
        """
        for name, (start, _) in self._start.items():
            start.copy_(state[name])


@contextmanager
def carrying(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Let `model` carry other weights inside a `with` block; its own return afterwards."""
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights)
    try:
        yield
    finally:
        model.load_state_dict(own)
