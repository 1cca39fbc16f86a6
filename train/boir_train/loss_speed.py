"""How much faster the vectorised losses are than plain loops that compute the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from boir_train.losses import plain
from boir_train.losses.box import box_loss
from boir_train.losses.embedding import bbox_mask_loss
from boir_train.losses.focal import focal_loss, probability

PICTURES, JOINTS, CHANNELS = 2, 17, 128
LEAST_TIME = 0.2  # seconds of repetitions of the fast form

Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Row:
    """One loss, forward and backward.

    Attributes:
        name: of the loss.
        shape: of the map it reads.
        people: in the batch.
        vectorised_s, plain_s: seconds of one forward and backward pass.
        value_difference: relative.
        gradient_difference: largest, over the largest entry of the gradient.
    """

    name: str
    shape: tuple[int, ...]
    people: int
    vectorised_s: float
    plain_s: float
    value_difference: float
    gradient_difference: float


def measure(side: int, people: int, seed: int = 0) -> list[Row]:
    """Time every loss of the paper in both forms on random maps.

    Args:
        side: of the maps, cells. The plain form takes seconds at 32 and minutes at 128.
        people: a picture.
        seed: of maps and people.
    """
    generator = torch.Generator().manual_seed(seed)
    counts = torch.full((PICTURES,), people)
    corner = torch.rand(PICTURES * people, 2, generator=generator) * side * 0.6
    boxes = torch.cat([corner, 2 + torch.rand(PICTURES * people, 2, generator=generator) * side * 0.4], dim=1).double()
    centres = (boxes[:, [1, 0]] + boxes[:, [3, 2]] / 2).long().clamp(max=side - 1)
    target = torch.rand(PICTURES, JOINTS + 1, side, side, generator=generator) * 0.9
    target[:, :, centres[0, 0], centres[0, 1]] = 1
    mask = (torch.rand(PICTURES, 1, side, side, generator=generator) > 0.1).float()
    whole_mask = mask.expand_as(target)

    pairs: list[tuple[str, int, Loss, Loss]] = [
        (
            "focal",
            JOINTS + 1,
            lambda maps: focal_loss(probability(maps), target, mask),
            lambda maps: plain.focal_loss(probability(maps), target, whole_mask),
        ),
        (
            "Bbox Mask Loss",
            CHANNELS,
            lambda maps: bbox_mask_loss(maps, boxes, counts),
            lambda maps: plain.bbox_mask_loss(maps, boxes, counts),
        ),
        (
            "box",
            4,
            lambda maps: box_loss(maps, centres, boxes, counts),
            lambda maps: plain.box_loss(maps, centres, boxes, counts),
        ),
    ]
    rows = []
    for name, channels, fast, slow in pairs:
        maps = torch.randn(PICTURES, channels, side, side, generator=generator)
        if name == "box":
            maps = maps.abs() * side / 8
        fast_s, value, gradient = _timed(fast, maps, LEAST_TIME)
        slow_s, slow_value, slow_gradient = _timed(slow, maps, 0.0)
        rows.append(
            Row(
                name=name,
                shape=tuple(maps.shape),
                people=PICTURES * people,
                vectorised_s=fast_s,
                plain_s=slow_s,
                value_difference=abs(value - slow_value) / abs(slow_value),
                gradient_difference=float((gradient - slow_gradient).abs().max() / slow_gradient.abs().max()),
            )
        )
    return rows


def _timed(loss: Loss, maps: Tensor, least: float) -> tuple[float, float, Tensor]:
    """Seconds of the fastest forward and backward pass, the value, the gradient."""
    best, spent = float("inf"), 0.0
    while True:
        leaf = maps.clone().requires_grad_()
        start = time.perf_counter()
        value = loss(leaf)
        value.backward()
        seconds = time.perf_counter() - start
        best, spent = min(best, seconds), spent + seconds
        if spent >= least:
            return best, float(value.detach()), torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
