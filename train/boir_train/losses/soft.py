"""Soft targets: heatmaps as another network sees them, beside the annotated ones (distillation).

The annotated heatmaps say 0 of everything that nobody annotated and 1 of a joint that hardly shows. What a network that
has seen more pictures answers on the same picture is a graded opinion on both, and on who is ranked before whom.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from boir_train.losses.cells import Count, alone, full_precision


def soft_loss(logits: Tensor, soft: Tensor, target: Tensor, mask: Tensor, *, count: Count = alone) -> Tensor:
    """Kullback-Leibler divergence of two networks' cells, as of so many coins; 0 where they agree.

    Every cell counts: crowds and people whom nobody annotated, which the mask of the annotated heatmaps leaves out, are
    where the other network has most to say.

    Args:
        logits: of the network that learns, [B, C, H, W].
        soft: probabilities of the other one, the same shape.
        target: annotated heatmaps, for the normaliser of the focal loss (T1.2): the number of exact ones.
        mask: 0/1, broadcast over `logits`: where an exact one of `target` counts.
        count: turns the number of positive cells into the normaliser.

    Returns:
        Scalar.
    """
    logits, soft = full_precision(logits), full_precision(soft)
    cross = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    own = F.binary_cross_entropy(soft, soft, reduction="none")  # its entropy: no gradient, but a zero to read
    positive = ((target == 1) * mask).sum()
    return (cross - own).sum() / count(positive).clamp(min=1)


def mirrored_back(maps: Tensor, flip_index: tuple[int, ...]) -> Tensor:
    """Heatmaps [B, K + 1, H, W] of mirrored pictures -> the frame and the keypoints of the pictures."""
    channels = torch.tensor([*flip_index, len(flip_index)], device=maps.device)
    return maps.flip(-1).index_select(1, channels)
