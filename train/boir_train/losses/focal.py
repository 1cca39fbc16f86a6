"""Penalty-reduced focal loss on heatmaps (SPEC-training T1.1, T1.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from boir_train.losses.cells import Count, alone, full_precision

FLOOR = 1e-4


def probability(logits: Tensor) -> Tensor:
    """Turn a heatmap head's logits into probabilities (T1.1).

    Args:
        logits: any shape, any float type.

    Returns:
        float32 (float64 stays) in [1e-4, 1 - 1e-4]; a clamped cell passes no gradient.
    """
    return torch.sigmoid(full_precision(logits)).clamp(FLOOR, 1 - FLOOR)


def focal_loss(prob: Tensor, target: Tensor, mask: Tensor | None = None, *, count: Count = alone) -> Tensor:
    """Focal loss with one normaliser for the whole tensor (T1.2).

    Args:
        prob: probabilities of `probability`, e.g. [B, C, H, W].
        target: Gaussians in [0, 1], the same shape; only an exact 1 is a positive.
        mask: 0/1, broadcast over `prob`; cells with 0 count nowhere.
        count: turns the number of positive cells into the normaliser.

    Returns:
        Scalar. Without a positive cell the negative part is returned undivided.
    """
    positive = (target == 1).to(prob.dtype)
    negative = 1 - positive
    if mask is not None:
        positive = positive * mask
        negative = negative * mask
    absent = 1 - prob
    found = positive * absent.square() * prob.log()
    refused = negative * (1 - target.to(prob.dtype)).pow(4) * prob.square() * absent.log()
    return -(found.sum() + refused.sum()) / count(positive.sum()).clamp(min=1)
