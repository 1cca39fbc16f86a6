"""Regression loss: where a person's keypoints lie, told at the person's centre (our `nano` only).

The published start regresses keypoints from the centre cell, and `nano`'s prior is built on them. An error counts
relative to the person's size, as OKS counts it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from boir_train.losses.cells import Count, alone, full_precision, read

BEND = 0.1  # of the person's size; under this error the loss is quadratic, beyond it linear
SMALLEST = 4.0  # cells; a smaller person's errors aren't blown up further


def regress_loss(
    regress: Tensor, keypoints: Tensor, boxes: Tensor, image_index: Tensor, yx: Tensor, *, count: Count = alone
) -> Tensor:
    """Smooth L1 distance of regressed to true keypoints over the square root of the box' area.

    Args:
        regress: [B, 2K, H, W], rows y0, x0, y1, ... in cells relative to the cell they are read at.
        keypoints: [N, K, 3], x and y in cells, v; only v > 0 counts.
        boxes: [N, 4], x y w h in cells.
        image_index: int64 [N].
        yx: int64 [N, 2], the cell each person is read at.
        count: turns the number of annotated keypoints into the divisor.

    Returns:
        Scalar, the mean over annotated keypoints and both coordinates; 0 without any.
    """
    predicted = read(regress, image_index, yx).unflatten(1, (-1, 2))  # [N, K, 2]
    target = full_precision(keypoints[..., [1, 0]]) - yx[:, None, :]
    size = full_precision(boxes[:, 2:]).clamp(min=0).prod(dim=1).sqrt().clamp(min=SMALLEST)[:, None, None]
    distance = smooth_l1_loss(predicted / size, (target / size).to(predicted.dtype), reduction="none", beta=BEND)
    seen = keypoints[..., 2] > 0
    distance = torch.where(seen[..., None], distance, torch.zeros_like(distance))
    return distance.sum() / (2 * count(seen.sum())).clamp(min=1)
