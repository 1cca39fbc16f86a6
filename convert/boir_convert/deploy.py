"""A trained network as the two parts that run on a device (SPEC-model M5), still PyTorch.

The **dense part** runs once a picture: normalised pictures [V, 3, H, W] in (V = 2 in the flip test, view 1 mirrored),
the best people and the maps that all people share out. The **person part** runs on some of those people and gives their
keypoints. Both are exact rearrangements of the network; batch size, height and width stay free in the traced graph and
become static when the runtime compiles it.

Tensors by name:
    people    [M, 3]        score, y, x in cells of the M = 30 best local maxima; empty places have score 0
    vectors   [V, M, C]     what each person's attention vectors are made of, from each view
    regress   [V, M, 2K]    `nano` only: keypoints regressed at the centre, relative to it, in cells
    g, h      [V, D, H, W]  shared maps (M5.1)
    keypoint_logits [V, K, H, W], offset [2K, H, W]   `nano` only
    center_yx [B, 2]        the people given to the person part, cells
    keypoints [B, K, 3]     network x, y in pixels, and the smoothed peak
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boir_sdk.decode import STRIDE
from boir_train.losses.focal import probability
from boir_train.model.boir import BoIR
from boir_train.model.hrnet import enlarge
from boir_train.model.nano import Nano, mirror_offset
from boir_train.model.person_head import POSITION_UNIT, PersonHead

MAX_PEOPLE = 30


class CentreDecode(nn.Module):
    """Centre probabilities of all views to the best people (M4.5), with the window chosen by the map's size."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, prob: Tensor) -> tuple[Tensor, Tensor]:
        """[V, 1, H, W] in one frame -> people [M, 3] and their cells' flat index [M]."""
        smoothed = _smooth(prob.mean(dim=0, keepdim=True), self.kernel)
        height, width = smoothed.shape[-2:]
        # Written with arange so that tracing keeps it a function of the shape; compilation folds it to a constant.
        twice_mean = torch.arange(height + width)[-1] + 1
        mx = torch.where(twice_mean > 400, _window_max(smoothed, 5), _window_max(smoothed, 3))
        mx = torch.where(twice_mean > 600, _window_max(smoothed, 7), mx)
        score, index = torch.where(smoothed == mx, smoothed, torch.zeros_like(smoothed)).flatten().topk(MAX_PEOPLE)
        y, x = torch.div(index, width, rounding_mode="floor"), index % width
        return torch.stack([score, y.to(score.dtype), x.to(score.dtype)], dim=1), index


class PaperDense(nn.Module):
    """The dense part of `w32` and `w48`.

    1 x 1 convolutions commute with the bilinear enlargement (M5.4), so the person head's shared maps and vectors are
    made from the four branches before it; only the neck needs the enlarged feature.
    """

    def __init__(self, model: BoIR, kernel: int) -> None:
        super().__init__()
        self.backbone, self.neck, self.center_head = model.backbone, model.multihead.neck, model.multihead.center_head
        down = model.kpt_head.conv_down.weight.detach()[:, :, 0, 0]  # [D, C]
        self.bias = nn.Parameter(_bias(model.kpt_head.conv_down))
        self.spatial = nn.Parameter(_fuse_weights(model.kpt_head)[1])
        width = model.backbone.out_channels // 15
        self.down = nn.ParameterList(torch.split(down, [width, 2 * width, 4 * width, 8 * width], dim=1))
        self.decode = CentreDecode(kernel)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalised pictures [V, 3, H, W] -> people, vectors, g, h."""
        levels = [torch.cat([y[:1], y[1:].flip(-1)]) for y in self.backbone.levels(x)]
        size = (levels[0].shape[2], levels[0].shape[3])
        features = torch.cat([levels[0], *(enlarge(y, size) for y in levels[1:])], dim=1)
        people, index = self.decode(probability(self.center_head(self.neck(features))))
        low = [F.conv2d(y, weight[:, :, None, None]) for y, weight in zip(levels, self.down, strict=True)]
        g = low[0] + self.bias[:, None, None]
        for y in low[1:]:
            g = g + enlarge(y, size)
        h = F.conv2d(g, self.spatial[:, :, None, None])
        return people, _columns(features, index), g, h


class NanoDense(nn.Module):
    """The dense part of `nano`; view 1 stays in its own, mirrored frame, except for the people and the offsets."""

    def __init__(self, model: Nano, kernel: int) -> None:
        super().__init__()
        self.model = model
        self.spatial = nn.Parameter(_fuse_weights(model.kpt_head)[1])
        self.decode = CentreDecode(kernel)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Normalised pictures [V, 3, H, W] -> people, vectors, regress, g, h, keypoint_logits, offset."""
        maps = self.model.dense(x)
        prob = probability(maps["center_logits"])
        people, index = self.decode(torch.cat([prob[:1], prob[1:].flip(-1)]))
        width = prob.shape[-1]
        mirrored = index + width - 1 - 2 * (index % width)
        vectors, regress = (
            torch.cat([_columns(maps[name][:1], index), _columns(maps[name][1:], mirrored)])
            for name in ("features", "regress")
        )
        g = self.model.kpt_head.conv_down(maps["features"])
        h = F.conv2d(g, self.spatial[:, :, None, None])
        offset = maps["offset"]
        offset = torch.cat([offset[:1], mirror_offset(offset[1:], self.model.settings.skeleton)]).mean(dim=0)
        return people, vectors, regress, g, h, self.model.prior.gain[:, None, None] * maps["keypoint_logits"], offset


class PersonLogits(nn.Module):
    """The person head in the cheaper form of M5.1: one [D, D] product a person, one shared plane h.

    The biases of the two convolutions in front of instance norms cancel there and are left out. OpenVINO computes the
    norms with the mean taken off first, so the shared map needs no centring (M5.2, way i).
    """

    def __init__(self, head: PersonHead) -> None:
        super().__init__()
        self.c_attn, self.s_attn = head.c_attn, head.s_attn.atn
        self.conv = nn.Parameter(head.s_attn.conv.weight.detach().clone())
        self.channel = nn.Parameter(_fuse_weights(head)[0])
        self.heatmap = nn.Parameter(head.heatmap_conv.weight.detach()[:, :, 0, 0].clone())
        self.heatmap_bias = nn.Parameter(_bias(head.heatmap_conv)[:, None])

    def forward(self, own_yx: Tensor, vectors: Tensor, g: Tensor, h: Tensor) -> Tensor:
        """Centres in each view's frame [V, B, 2], vectors [V, B, C], maps [V, D, H, W] -> logits [V, B, K, H, W]."""
        views, people = vectors.shape[:2]
        height, width = g.shape[-2:]
        g, h = g.flatten(2), h.flatten(2)  # [V, D, P]
        a, s = self.c_attn(vectors), self.s_attn(vectors)  # [V, B, D]
        likeness = torch.unflatten(torch.matmul(s, g), 2, (height, width))
        y = (own_yx[:, :, :1] - torch.arange(height, dtype=g.dtype)) / POSITION_UNIT  # [V, B, H]
        x = (own_yx[:, :, 1:] - torch.arange(width, dtype=g.dtype)) / POSITION_UNIT  # [V, B, W]
        planes = torch.stack(
            [likeness, x[:, :, None, :].expand_as(likeness), y[:, :, :, None].expand_as(likeness)], dim=2
        )
        plane = F.conv2d(planes.flatten(0, 1), self.conv, padding=2)  # [V * B, 1, H, W]
        mask = torch.unflatten(F.instance_norm(plane).flatten(2), 0, (views, people))  # [V, B, 1, P]
        fused = torch.matmul(self.channel * a[:, :, None, :], g[:, None]) + mask * h[:, None]  # [V, B, D, P]
        active = F.relu(F.instance_norm(fused.flatten(0, 1)))
        logits = torch.matmul(self.heatmap, active) + self.heatmap_bias
        return torch.unflatten(torch.unflatten(logits, 0, (views, people)), 3, (height, width))


class PaperPerson(nn.Module):
    """The person part of `w32` and `w48`."""

    flip_index: Tensor

    def __init__(self, model: BoIR, kernel: int) -> None:
        super().__init__()
        self.logits = PersonLogits(model.kpt_head)
        self.register_buffer("flip_index", torch.tensor(model.settings.skeleton.flip_index))
        self.kernel = kernel

    def forward(self, center_yx: Tensor, vectors: Tensor, g: Tensor, h: Tensor) -> Tensor:
        """-> keypoints [B, K, 3]."""
        own = center_yx.expand(vectors.shape[0], -1, -1)
        heat = probability(self.logits(own, vectors, g, h))
        heat = torch.cat([heat[:1], heat[1:].index_select(2, self.flip_index)]).mean(dim=0)
        heat = _smooth(heat, self.kernel)
        height, width = heat.shape[-2:]
        flat = heat.flatten(2)
        peak, index = flat.max(dim=2)
        y, x = torch.div(index, width, rounding_mode="floor"), index % width
        dx = _quarter_shift(flat, index, x, width, step=1)
        dy = _quarter_shift(flat, index, y, height, step=width)
        return torch.stack([(x + dx) * STRIDE + STRIDE / 2, (y + dy) * STRIDE + STRIDE / 2, peak], dim=2)


class NanoPerson(nn.Module):
    """The person part of `nano`: the prior is added, and offsets refine the peak's cell."""

    flip_index: Tensor

    def __init__(self, model: Nano, kernel: int) -> None:
        super().__init__()
        self.logits = PersonLogits(model.kpt_head)
        self.prior = model.prior
        self.register_buffer("flip_index", torch.tensor(model.settings.skeleton.flip_index))
        self.kernel = kernel

    def forward(
        self,
        center_yx: Tensor,
        vectors: Tensor,
        regress: Tensor,
        g: Tensor,
        h: Tensor,
        keypoint_logits: Tensor,
        offset: Tensor,
    ) -> Tensor:
        """-> keypoints [B, K, 3]; `keypoint_logits` come with the prior's gain already on them."""
        views, people = vectors.shape[:2]
        height, width = g.shape[-2:]
        mirrored = torch.stack([center_yx[:, 0], width - 1 - center_yx[:, 1]], dim=1)
        own = torch.stack([center_yx, mirrored])[:views]  # [V, B, 2]
        regressed = torch.unflatten(regress, 2, (-1, 2)) + own[:, :, None]  # [V, B, K, 2]
        penalty = torch.unflatten(self.prior.penalty(regressed.flatten(0, 1), height, width), 0, (views, people))
        heat = probability(keypoint_logits[:, None] - penalty + self.logits(own, vectors, g, h))
        heat = torch.cat([heat[:1], heat[1:].index_select(2, self.flip_index).flip(-1)]).mean(dim=0)
        peak, index = _smooth(heat, self.kernel).flatten(2).max(dim=2)  # [B, K]
        y, x = torch.div(index, width, rounding_mode="floor"), index % width
        flat = torch.unflatten(offset.flatten(1), 0, (-1, 2))  # [K, 2, P]
        shift = flat.gather(2, index.t()[:, None, :].expand(-1, 2, -1)).permute(2, 0, 1)  # [B, K, 2] as y, x
        return torch.stack([(x + shift[:, :, 1]) * STRIDE, (y + shift[:, :, 0]) * STRIDE, peak], dim=2)


def dense_part(model: BoIR | Nano, kernel: int) -> PaperDense | NanoDense:
    """The dense part of a network in inference form; `kernel` smooths the centre map (M4.5)."""
    return NanoDense(model, kernel) if isinstance(model, Nano) else PaperDense(model, kernel)


def person_part(model: BoIR | Nano, kernel: int) -> PaperPerson | NanoPerson:
    """The person part of a network in inference form; `kernel` smooths the heatmaps (M4.7)."""
    return NanoPerson(model, kernel) if isinstance(model, Nano) else PaperPerson(model, kernel)


def _quarter_shift(flat: Tensor, index: Tensor, at: Tensor, length: Tensor | int, *, step: Tensor | int) -> Tensor:
    """A quarter cell towards the larger neighbour `step` cells away, 0 at the map's border (M4.7): [B, K]."""
    inside = (at > 0) & (at < length - 1)
    before = flat.gather(2, (index - step).clamp(min=0)[:, :, None])[:, :, 0]
    after = flat.gather(2, (index + step).clamp(max=flat.shape[2] - 1)[:, :, None])[:, :, 0]
    return torch.where(inside, torch.sign(after - before) * 0.25, torch.zeros_like(before))


def _smooth(maps: Tensor, kernel: int) -> Tensor:
    """Average with the own box mean, zero padding counted: [..., C, H, W]."""
    return (maps + F.avg_pool2d(maps, kernel, 1, kernel // 2)) / 2


def _window_max(maps: Tensor, window: int) -> Tensor:
    return F.max_pool2d(maps, window, 1, window // 2)


def _columns(maps: Tensor, index: Tensor) -> Tensor:
    """[V, C, H, W] at flat cells [M] -> [V, M, C]."""
    return maps.flatten(2).index_select(2, index).transpose(1, 2)


def _fuse_weights(head: PersonHead) -> tuple[Tensor, Tensor]:
    """The fuse convolution's weight for the channel part and for the spatial part, each [D, D]."""
    fuse = cast(nn.Conv2d, head.fuse_attn[0])
    channel, spatial = fuse.weight.detach()[:, :, 0, 0].chunk(2, dim=1)
    return channel.clone(), spatial.clone()


def _bias(conv: nn.Conv2d) -> Tensor:
    """The bias of a convolution that has one."""
    return cast(Tensor, conv.bias).detach().clone()
