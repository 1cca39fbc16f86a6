"""BoIR's person head in the cheaper form of SPEC-model M5.1, as PyTorch modules that are traced for deployment.

What is the same for everybody is made once a picture, and a person is one [D, D] product. Maps have their channels
last: as a product of a tall matrix with a small one, everything is read in the order it is kept in.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boir_train.model.person_head import POSITION_UNIT, PersonHead

_EPSILON = 1e-5  # of the instance norms
_BLOCK = 8  # map columns that one convolution channel stands for; every map is so many wide or a multiple


class SharedMaps(nn.Module):
    """What the person head makes once a picture, for everybody (M5.1)."""

    def __init__(self, head: PersonHead) -> None:
        super().__init__()
        self.c_attn, self.s_attn = head.c_attn, head.s_attn.atn
        self.channel, self.spatial = map(nn.Parameter, _fuse_weights(head))

    def forward(self, g: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map g [V, D, H, W] and people's feature columns [V, M, C] -> vectors, g, h."""
        h = F.conv2d(g, self.spatial[:, :, None, None])
        g = channels_last(g)
        # Along rows, then along columns: one long float32 sum would lose digits where the mean is large (M5.2).
        g_mean = g.mean(dim=2).mean(dim=1)[:, None]
        a, s = self.c_attn(columns), self.s_attn(columns)
        return torch.cat([a, s, torch.matmul(a * g_mean, self.channel.t())], dim=2), g, channels_last(h)


class PositionConv(nn.Module):
    """The 5 x 5 convolution of the spatial attention (M2.4) without ever making its two position planes.

    Likeness: eight neighbouring columns (four where maps are half as wide) are taken for the channels of one cell,
    which makes a convolution of 8 to 8 channels that vector units can fill, without moving a number. Position: the
    planes are sums of a row and a column number, so what the kernel makes of them is a product of small matrices, zero
    padding included.
    """

    def __init__(self, weight: Tensor, block: int) -> None:
        """weight: [1, 3, 5, 5] for likeness, x and y; block: columns taken together."""
        super().__init__()
        self.block = block
        likeness, x, y = weight.detach()[0]
        blocks = torch.zeros(block, block, 5, 3)  # column out, column in, kernel row, block to the left to the right
        for column in range(block):
            for step in range(5):
                where, inside = divmod(column + step - 2 + block, block)
                blocks[column, inside, :, where] = likeness[:, step]
        self.blocks = nn.Parameter(blocks)
        self.x, self.y = nn.Parameter(x / POSITION_UNIT), nn.Parameter(y / POSITION_UNIT)

    def forward(self, likeness: Tensor, own_yx: Tensor) -> Tensor:
        """Likeness [N, H, W] and centres [N, 2] in cells -> [N, H, W]."""
        height, width = likeness.shape[1:]
        blocks = torch.unflatten(likeness, 2, (-1, self.block)).permute(0, 3, 1, 2)
        plane = F.conv2d(blocks, self.blocks, padding=(2, 1)).permute(0, 2, 3, 1).flatten(2)
        inside_y, to_y = _kernel_steps(height, own_yx[:, 0])
        inside_x, to_x = _kernel_steps(width, own_yx[:, 1])
        plane = plane + torch.matmul(torch.matmul(inside_y, self.x), to_x.transpose(1, 2))
        return plane + torch.matmul(to_y, torch.matmul(self.y, inside_x.t()))


class PersonLogits(nn.Module):
    """The person head in the cheaper form of M5.1: one [D, D] product a person, one shared plane h.

    Channels are last throughout: as a product of a tall matrix with a small one, everything is read in the order it is
    kept in. The biases of the two convolutions in front of instance norms cancel there and are left out. The mean of
    the second norm is known before its map is (M5.2), its deviation goes into the heatmap weights after the ReLU, which
    positive factors pass, so the map is written once.
    """

    def __init__(self, head: PersonHead, *, step: int = 1) -> None:
        """step: cells of a row of the map that one cell of the head stands for; the last product writes all of them."""
        super().__init__()
        self.step = step
        self.conv = PositionConv(head.s_attn.conv.weight, _BLOCK // step)
        self.channel = nn.Parameter(_fuse_weights(head)[0].t().contiguous())
        self.heatmap = nn.Parameter(head.heatmap_conv.weight.detach()[:, :, 0, 0].t().repeat(1, step))
        self.heatmap_bias = nn.Parameter(bias(head.heatmap_conv).repeat(step))

    def forward(self, own_yx: Tensor, vectors: Tensor, g: Tensor, h: Tensor) -> Tensor:
        """Centres in each view's frame [V, B, 2], vectors [V, B, 3D] and maps -> logits [V, B, H, step * W, K]."""
        views, people = vectors.shape[:2]
        size = (g.shape[1], g.shape[2])
        g, h = g.flatten(1, 2), h.flatten(1, 2)  # [V, P, D]
        a, s, mean = torch.unflatten(vectors, 2, (3, -1)).unbind(dim=2)  # [V, B, D] each
        likeness = torch.matmul(s, g.transpose(1, 2))  # [V, B, P]
        plane = self.conv(torch.unflatten(likeness.flatten(0, 1), 1, size), own_yx.flatten(0, 1))
        mask = torch.unflatten(F.instance_norm(plane[:, None]).flatten(2), 0, (views, people))  # [V, B, 1, P]
        weight = self.channel * a[:, :, :, None]  # [V, B, D, D]
        mean = mean[:, :, None] + torch.matmul(mask, h[:, None]) / mask.shape[3]  # [V, B, 1, D]
        fused = torch.matmul(g[:, None], weight) + mask.transpose(2, 3) * h[:, None] - mean  # [V, B, P, D]
        variance = torch.matmul(torch.ones_like(mask), fused.square()) / mask.shape[3]  # [V, B, 1, D]
        heatmap = self.heatmap * torch.rsqrt(variance + _EPSILON).transpose(2, 3)  # [V, B, D, step * K]
        logits = torch.matmul(F.relu(fused), heatmap) + self.heatmap_bias
        return torch.unflatten(torch.unflatten(logits, 3, (self.step, -1)).flatten(2, 3), 2, (size[0], -1))


def channels_last(maps: Tensor) -> Tensor:
    """[V, C, H, W] -> [V, H, W, C]."""
    return maps.permute(0, 2, 3, 1)


def bias(conv: nn.Conv2d) -> Tensor:
    """The bias of a convolution that has one."""
    return cast(Tensor, conv.bias).detach().clone()


def _kernel_steps(length: int, own: Tensor) -> tuple[Tensor, Tensor]:
    """For the 5 places that a kernel covers round each cell of an axis: is it on the map, and the way to the centre.

    Args:
        length: cells of the axis.
        own: centres [N].

    Returns:
        [length, 5] ones and zeros, and [N, length, 5] cells, 0 outside the map.
    """
    place = torch.arange(length)[:, None] + torch.arange(-2, 3)
    inside = ((place >= 0) & (place < length)).to(own.dtype)
    return inside, (own[:, None, None] - place) * inside


def _fuse_weights(head: PersonHead) -> tuple[Tensor, Tensor]:
    """The fuse convolution's weight for the channel part and for the spatial part, each [D, D]."""
    fuse = cast(nn.Conv2d, head.fuse_attn[0])
    channel, spatial = fuse.weight.detach()[:, :, 0, 0].chunk(2, dim=1)
    return channel.clone(), spatial.clone()
