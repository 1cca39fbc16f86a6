"""Offset loss: where inside its cell's surroundings a keypoint lies, learned round every annotated keypoint."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from boir_train.losses.cells import Count, alone, full_precision, neighbourhood

BEND = 1.0  # cells; under this error the loss is quadratic, beyond it linear


def offset_loss(
    offset: Tensor, keypoints: Tensor, image_index: Tensor, *, radius: float = 2.5, count: Count = alone
) -> Tensor:
    """Smooth L1 distance between predicted and true offsets on the cells near each annotated keypoint.

    The true offset at cell c of a keypoint at q is q - c, both in cells, so decoding reads q = c + offset wherever
    the heatmap's peak falls within `radius` of the truth. Decoding reads at the peak cell only, hence the small disc.

    Args:
        offset: [B, 2K, H, W], rows y0, x0, y1, x1, ... in cells.
        keypoints: [N, K, 3], x and y in cells, v; only v > 0 counts. A keypoint may lie outside the map.
        image_index: int64 [N].
        radius: Euclidean, in cells, from the keypoint itself.
        count: turns the number of cells into the divisor.

    Returns:
        Scalar, the mean over cells and both coordinates (bend from quadratic to linear at one cell); 0 without cells.
    """
    height, width = offset.shape[-2:]
    truth = full_precision(keypoints[..., [1, 0]])  # [N, K, 2]
    # The rounded keypoint is at most half a cell away, so this square holds the whole disc.
    yx, inside = neighbourhood(truth.round().long(), int(radius + 0.5), height, width)  # [N, K, M, 2], [N, K, M]
    target = truth.unsqueeze(2) - yx
    used = inside & (target.square().sum(-1) <= radius**2) & (keypoints[..., 2] > 0).unsqueeze(-1)

    joints = keypoints.shape[1]
    channel = torch.arange(2 * joints, device=offset.device).reshape(1, joints, 1, 2)
    picture = image_index.reshape(-1, 1, 1, 1)
    predicted = full_precision(offset[picture, channel, yx[..., :1], yx[..., 1:]])  # [N, K, M, 2]
    distance = smooth_l1_loss(predicted, target.to(predicted.dtype), reduction="none", beta=BEND)
    return (distance.sum(-1) * used).sum() / (2 * count(used.sum())).clamp(min=1)
