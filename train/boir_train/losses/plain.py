"""The losses as their formulas read, one cell and one person at a time: slow, and hard to get wrong.

Nothing trains with them. They are what `boir-train speed losses` measures the vectorised forms against, and a second
opinion on their values and gradients. Shapes, arguments and results as in `focal`, `box` and `embedding`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from boir_train.losses.box import EPS


def focal_loss(prob: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """T1.2, element by element; `mask` has the shape of `prob`."""
    found, refused, positives = prob.new_zeros(()), prob.new_zeros(()), 0.0
    for p, g, m in zip(prob.flatten(), target.flatten().tolist(), mask.flatten().tolist(), strict=True):
        if g == 1:
            found = found + m * (1 - p) ** 2 * torch.log(p)
            positives += m
        else:
            refused = refused + m * (1 - g) ** 4 * p**2 * torch.log(1 - p)
    return -(found + refused) / max(positives, 1)


def box_loss(bbox_map: Tensor, coords_yx: Tensor, boxes: Tensor, counts: Tensor) -> Tensor:
    """T1.7 with the anchor order `xy`, person by person and cell by cell."""
    height, width = bbox_map.shape[-2:]
    total, cells, person = bbox_map.new_zeros(()), 0, 0
    for picture, count in enumerate(counts.tolist()):
        own = range(person, person + count)
        empty = not any(boxes[i].any() for i in own)
        for i in own:
            y, x = coords_yx[i].tolist()
            for cy in range(max(y - 1, 0), min(y + 2, height)):
                for cx in range(max(x - 1, 0), min(x + 2, width)):
                    cells += 1
                    if not empty:
                        left, top, right, bottom = bbox_map[picture, :, cy, cx]
                        predicted = (cx - left, cy - top, left + right, top + bottom)
                        total = total + _ciou_loss(predicted, boxes[i].to(bbox_map.dtype).unbind())
        person += count
    return total / max(cells, 1)


def _ciou_loss(predicted: tuple[Tensor, ...], target: tuple[Tensor, ...]) -> Tensor:
    (x1, y1, w1, h1), (x2, y2, w2, h2) = predicted, target
    across = torch.clamp(torch.minimum(x1 + w1, x2 + w2) - torch.maximum(x1, x2), min=0)
    down = torch.clamp(torch.minimum(y1 + h1, y2 + h2) - torch.maximum(y1, y2), min=0)
    tall1, tall2 = h1 + EPS, h2 + EPS
    iou = across * down / (w1 * tall1 + w2 * tall2 - across * down + EPS)
    around_x = torch.maximum(x1 + w1, x2 + w2) - torch.minimum(x1, x2)
    around_y = torch.maximum(y1 + h1, y2 + h2) - torch.minimum(y1, y2)
    apart = ((x1 + w1 / 2 - x2 - w2 / 2) ** 2 + (y1 + h1 / 2 - y2 - h2 / 2) ** 2) / (around_x**2 + around_y**2 + EPS)
    shape = 4 / math.pi**2 * (torch.atan(w2 / tall2) - torch.atan(w1 / tall1)) ** 2
    alpha = (shape / (shape - iou + 1 + EPS)).detach()
    return 1 - (iou - apart - alpha * shape)


def bbox_mask_loss(emb: Tensor, boxes: Tensor, counts: Tensor, *, beta: float = 10.0) -> Tensor:
    """T1.5 (the paper's form, box centre, mean distance, detached soft mask), person by person and cell by cell."""
    _, _, height, width = emb.shape
    total, first = emb.new_zeros(()), 0
    for picture, count in enumerate(counts.tolist()):
        own = boxes[first : first + count].tolist()
        first += count
        if not own:
            continue
        unit = emb[picture] / emb[picture].norm(dim=0, keepdim=True).clamp(min=1e-12)
        cells = {(y, x): unit[:, y, x] for y in range(height) for x in range(width)}
        anchors, pull_in, push_out = [], emb.new_zeros(()), emb.new_zeros(())
        for x, y, w, h in own:
            left, top = _clip(math.floor(x), 0, width - 1), _clip(math.floor(y), 0, height - 1)
            right, bottom = _clip(math.ceil(x + w), left + 1, width), _clip(math.ceil(y + h), top + 1, height)
            centre = _clip(math.floor(y + h / 2), 0, height - 1), _clip(math.floor(x + w / 2), 0, width - 1)
            anchor = cells[centre]
            anchors.append(anchor)
            soft, soft_sum = emb.new_zeros(emb.shape[1]), 0.0
            background, outside = emb.new_zeros(emb.shape[1]), 0
            for (cy, cx), value in cells.items():
                if top <= cy < bottom and left <= cx < right:
                    similarity = math.exp(-beta * _msd(value, anchor).item())
                    soft, soft_sum = soft + similarity * value, soft_sum + similarity
                else:
                    background, outside = background + value, outside + 1
            pull_in = pull_in + _msd(anchor, soft / soft_sum)
            if outside:
                push_out = push_out + torch.exp(-beta * _msd(anchor, background / outside))
        push_inst = emb.new_zeros(())
        for i in range(count):
            for j in range(i + 1, count):
                push_inst = push_inst + torch.exp(-beta * _msd(anchors[i], anchors[j]))
        total = total + (pull_in + push_out) / count + 2 * push_inst / max(count * (count - 1), 1)
    return total


def _msd(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b) ** 2).mean()


def _clip(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)
