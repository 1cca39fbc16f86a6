"""Box loss: complete IoU between every person's box and the boxes predicted round their cell (SPEC-training T1.7)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from boir_train.losses.cells import Count, alone, full_precision, image_index, neighbourhood, read

BoxAnchor = Literal["xy", "yx"]

EPS = 1e-10


def ciou_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """One minus complete IoU, pair by pair (T1.7).

    Args:
        predicted: [..., 4] x, y, w, h; sizes may be negative, as the head is unbounded.
        target: [..., 4].

    Returns:
        [...] in the inputs' common type; finite also for equal boxes in float32.
    """
    x1, y1, w1, h1 = predicted.unbind(-1)
    x2, y2, w2, h2 = target.unbind(-1)
    tall1, tall2 = h1 + EPS, h2 + EPS  # the published form adds eps to heights only
    right1, bottom1, right2, bottom2 = x1 + w1, y1 + h1, x2 + w2, y2 + h2

    overlap_w = (torch.minimum(right1, right2) - torch.maximum(x1, x2)).clamp(min=0)
    overlap_h = (torch.minimum(bottom1, bottom2) - torch.maximum(y1, y2)).clamp(min=0)
    shared = overlap_w * overlap_h
    iou = shared / (w1 * tall1 + w2 * tall2 - shared + EPS)

    around_w = torch.maximum(right1, right2) - torch.minimum(x1, x2)
    around_h = torch.maximum(bottom1, bottom2) - torch.minimum(y1, y2)
    diagonal = around_w.square() + around_h.square() + EPS
    apart = ((x1 + right1 - x2 - right2).square() + (y1 + bottom1 - y2 - bottom2).square()) / 4

    shape = 4 / math.pi**2 * (torch.atan(w2 / tall2) - torch.atan(w1 / tall1)).square()
    with torch.no_grad():
        # In float32 both can be 0 for a perfect box (T7, point 4): the weight is 0 there, not 0/0.
        rest = shape - iou + 1 + EPS
        alpha = torch.where((shape > 0) & (rest != 0), shape / rest, torch.zeros_like(shape))
    return 1 - (iou - apart / diagonal - alpha * shape)


def box_loss(
    bbox_map: Tensor,
    coords_yx: Tensor,
    boxes: Tensor,
    counts: Tensor,
    *,
    anchor: BoxAnchor = "xy",
    count: Count = alone,
) -> Tensor:
    """Mean CIoU loss over the 3x3 cells round every person (T1.7).

    Args:
        bbox_map: [B, 4, H, W], distances left, top, right, bottom in cells, no activation.
        coords_yx: int64 [N, 2], the people's cells, pictures in order.
        boxes: [N, 4] x, y, w, h in cells. A picture with only zero boxes is one without people (T2.9): its cells count
            in the divisor and nowhere else.
        counts: int64 [B], people per picture, placeholders included.
        anchor: what a cell (y, x) means as (ax, ay): "xy" as in the paper, "yx" transposed as published.
        count: turns the number of cells into the divisor.

    Returns:
        Scalar: sum of 1 - CIoU over the cells, divided by their number; 0 without people.
    """
    picture = image_index(counts)
    yx, inside = neighbourhood(coords_yx, 1, *bbox_map.shape[-2:])  # [N, 9, 2], [N, 9]
    left, top, right, bottom = read(bbox_map, picture, yx).unbind(-1)  # [N, 9] each
    ay, ax = yx.unbind(-1) if anchor == "xy" else yx.flip(-1).unbind(-1)
    predicted = torch.stack([ax - left, ay - top, left + right, top + bottom], dim=-1)  # [N, 9, 4]

    target = full_precision(boxes).to(predicted.dtype).unsqueeze(1)  # [N, 1, 4]
    extent = torch.zeros(len(counts), device=boxes.device, dtype=boxes.dtype)
    peopled = extent.index_add(0, picture, boxes.abs().sum(1))[picture] > 0
    used = inside & peopled.unsqueeze(1)
    return (ciou_loss(predicted, target) * used).sum() / count(inside.sum()).clamp(min=1)
