"""The person head: one person's feature vector and centre turn the shared map into that person's heatmaps.

Written as in the paper (section 3.3; SPEC-model M2.4), all people at once. Deployment uses a cheaper form of the same
algebra (SPEC-model M5.1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

POSITION_UNIT = 32.0  # relative coordinates are map cells divided by this


class AttentionVector(nn.Module):
    """A person's feature vector -> D raw LayerNorm outputs, of either sign."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.atn = nn.Sequential(nn.Linear(inputs, channels), nn.LayerNorm(channels))

    def forward(self, vectors: Tensor) -> Tensor:
        """[N, C] -> [N, D]."""
        return self.atn(vectors)


class SpatialAttention(nn.Module):
    """Where on the map the person is: likeness to its vector and the way to its centre -> one plane."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.atn = nn.Sequential(nn.Linear(inputs, channels), nn.LayerNorm(channels))
        self.conv = nn.Conv2d(3, 1, 5, padding=2)
        self.norm = nn.InstanceNorm2d(1)

    def forward(self, maps: Tensor, vectors: Tensor, yx: Tensor) -> Tensor:
        """Shared maps [N, D, H, W], vectors [N, C], centres [N, 2] -> mask [N, 1, H, W] of mean 0 and variance 1."""
        s = self.atn(vectors)
        likeness = (s[:, :, None, None] * maps).sum(dim=1)
        planes = torch.stack([likeness, *relative_position(yx, likeness)], dim=1)
        return self.norm(self.conv(planes))


def relative_position(yx: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Centre minus cell, x first, in units of 32 cells.

    Args:
        yx: centres [N, 2], cells.
        like: a tensor [N, H, W] that gives size, type and device.

    Returns:
        The x and the y plane, each [N, H, W].
    """
    count, height, width = like.shape
    center = yx.to(like.dtype)
    rows = torch.arange(height, dtype=like.dtype, device=like.device)
    columns = torch.arange(width, dtype=like.dtype, device=like.device)
    x = (center[:, 1, None] - columns) / POSITION_UNIT  # [N, W]
    y = (center[:, 0, None] - rows) / POSITION_UNIT  # [N, H]
    return x[:, None, :].expand(count, height, width), y[:, :, None].expand(count, height, width)


def feature_vectors(features: Tensor, image_index: Tensor, yx: Tensor) -> Tensor:
    """Each person's column of its picture's feature map: [B, C, H, W], [N], [N, 2] -> [N, C]."""
    return features[image_index, :, yx[:, 0], yx[:, 1]]


class PersonHead(nn.Module):
    """Feature map of C channels -> K heatmap logits for every person, through D shared channels."""

    def __init__(self, inputs: int, channels: int, keypoints: int) -> None:
        super().__init__()
        self.conv_down = nn.Conv2d(inputs, channels, 1)
        self.c_attn = AttentionVector(inputs, channels)
        self.s_attn = SpatialAttention(inputs, channels)
        self.fuse_attn = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1), nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)
        )
        self.heatmap_conv = nn.Conv2d(channels, keypoints, 1)

    def forward(self, features: Tensor, image_index: Tensor, yx: Tensor) -> Tensor:
        """Heatmap logits of all people of a batch.

        Args:
            features: [B, C, H, W].
            image_index: [N] int64, each person's picture.
            yx: [N, 2] int64, each person's centre in cells.

        Returns:
            [N, K, H, W].
        """
        maps = self.conv_down(features).index_select(0, image_index)
        return self.logits(maps, feature_vectors(features, image_index, yx), yx)

    def logits(self, maps: Tensor, vectors: Tensor, yx: Tensor) -> Tensor:
        """The part after sampling: shared maps [N, D, H, W] (may be expanded), vectors [N, C], centres [N, 2]."""
        a = self.c_attn(vectors)
        mask = self.s_attn(maps, vectors, yx)
        fused = self.fuse_attn(torch.cat([a[:, :, None, None] * maps, mask * maps], dim=1))
        return self.heatmap_conv(fused)
