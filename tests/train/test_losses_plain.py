"""The vectorised losses against plain loops over cells and people: same values, same gradients."""

from __future__ import annotations

import pytest
import torch

from boir_train.losses import plain
from boir_train.losses.box import box_loss
from boir_train.losses.embedding import bbox_mask_loss
from boir_train.losses.focal import focal_loss, probability


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _people(side: int, counts: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Boxes [N, 4] (one beyond the map), their cells [N, 2] and counts."""
    generator = _rng(8)
    n = sum(counts)
    boxes = torch.cat(
        [torch.rand(n, 2, generator=generator) * side * 0.7, torch.rand(n, 2, generator=generator) * 6], 1
    )
    boxes[0] = torch.tensor([-1.5, 0.2, 4.0, side + 3.0])
    cells = (torch.rand(n, 2, generator=generator) * side).long()
    cells[0] = torch.tensor([0, side - 1])  # a corner has four neighbours
    return boxes.double(), cells, torch.tensor(counts)


@pytest.mark.parametrize("term", ["focal", "bbox_mask", "box"])
def test_a_loss_is_what_a_plain_loop_computes(term: str) -> None:
    side = 7
    boxes, cells, counts = _people(side, [3, 0, 1])
    target = torch.rand(3, 2, side, side, generator=_rng(9)) * 0.9
    target[0, 0, 2, 3] = target[2, 1, 6, 0] = 1
    mask = (torch.rand(3, 1, side, side, generator=_rng(10)) > 0.3).float()
    forms = {
        "focal": (
            2,
            lambda maps: focal_loss(probability(maps), target, mask),
            lambda maps: plain.focal_loss(probability(maps), target, mask.expand_as(target)),
        ),
        "bbox_mask": (
            6,
            lambda maps: bbox_mask_loss(maps, boxes, counts),
            lambda maps: plain.bbox_mask_loss(maps, boxes, counts),
        ),
        "box": (
            4,
            lambda maps: box_loss(maps, cells, boxes, counts),
            lambda maps: plain.box_loss(maps, cells, boxes, counts),
        ),
    }
    channels, fast, slow = forms[term]
    maps = torch.randn(3, channels, side, side, generator=_rng(11)).double()
    results = []
    for form in (fast, slow):
        leaf = maps.clone().requires_grad_()
        value = form(leaf)
        value.backward()
        results.append((value.detach(), leaf.grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-8, atol=1e-12)
    assert results[0][1].abs().max() > 0
