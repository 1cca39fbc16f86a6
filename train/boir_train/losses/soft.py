"""Soft targets: what another network sees, beside or instead of the annotations (distillation).

The annotated heatmaps say 0 of everything that nobody annotated and 1 of a joint that hardly shows. What a network that
has seen more pictures answers on the same picture is a graded opinion on both, and on who is ranked before whom. Its
offsets and regressed keypoints are free of the annotators' scatter, which a few thousand pictures don't average out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from boir_train.losses.cells import Count, alone, full_precision


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a teacher answers to a batch.

    Attributes:
        heatmaps: probabilities [B, K + 1, R, R], the centres last.
        regress: keypoints relative to their centre's cell, [B, 2K, R, R], cells.
        offset: keypoints within their own cells, [B, 2K, R, R].
    """

    heatmaps: Tensor
    regress: Tensor
    offset: Tensor


def soft_loss(
    logits: Tensor, soft: Tensor, target: Tensor, mask: Tensor, *, focus: float = 0.0, count: Count = alone
) -> Tensor:
    """Kullback-Leibler divergence of two networks' cells, as of so many coins; 0 where they agree.

    Every cell counts: crowds and people whom nobody annotated, which the mask of the annotated heatmaps leaves out, are
    where the other network has most to say.

    Args:
        logits: of the network that learns, [B, C, H, W].
        soft: probabilities of the other one, the same shape.
        target: annotated heatmaps, for the normaliser of the focal loss (T1.2): the number of exact ones.
        mask: 0/1, broadcast over `logits`: where an exact one of `target` counts.
        focus: exponent of each cell's difference in probability, a factor on its divergence (as in the quality focal
            loss of Li et al., NeurIPS 2020). With 0 the many cells where both see nothing, one a little more than the
            other, outweigh the few where one sees a keypoint.
        count: turns the number of positive cells into the normaliser.

    Returns:
        Scalar.
    """
    logits, soft = full_precision(logits), full_precision(soft)
    cross = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
    own = F.binary_cross_entropy(soft, soft, reduction="none")  # its entropy: no gradient, but a zero to read
    positive = ((target == 1) * mask).sum()
    divergence = cross - own
    if focus:
        divergence = divergence * (logits.sigmoid() - soft).abs().pow(focus)
    return divergence.sum() / count(positive).clamp(min=1)


def soft_distance(values: Tensor, taught: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of two networks' coordinates where the teacher sees what they belong to.

    Args:
        values: of the network that learns, [B, 2K, H, W] (rows y0, x0, y1, ...), cells.
        taught: of the other one, the same shape.
        weight: how sure that one is of the keypoint, or of the person, in each cell: [B, K, H, W] or [B, 1, H, W].

    Returns:
        Scalar, cells; 0 where nothing is seen.
    """
    distance = (full_precision(values) - full_precision(taught)).abs().unflatten(1, (-1, 2)).mean(dim=2)  # [B, K, H, W]
    weight = full_precision(weight).expand_as(distance)
    return (distance * weight).sum() / weight.sum().clamp(min=1e-6)


def mirrored_back(maps: Tensor, flip_index: tuple[int, ...]) -> Tensor:
    """Heatmaps [B, K + 1, H, W] of mirrored pictures -> the frame and the keypoints of the pictures."""
    channels = torch.tensor([*flip_index, len(flip_index)], device=maps.device)
    return maps.flip(-1).index_select(1, channels)
