"""A trained network as the two parts that run on a device (SPEC-model M5), still PyTorch.

The **dense part** runs once a picture: normalised pictures [V, 3, H, W] in (V = 2 in the flip test, view 1 mirrored),
the best people and the maps that all people share out. The **person part** runs on some of those people and gives their
keypoints. Both are exact rearrangements of the network; batch size, height and width stay free in the traced graph and
become static when the runtime compiles it.

Tensors by name; maps have their channels last, as the convolutions leave them and as the person part reads them:
    people    [M, 3]        score, y, x in cells of the M = 30 best local maxima; empty places have score 0
    vectors   [V, M, 3D]    each person's attention vectors, channel part and spatial part, from each view, and the
                            mean over all cells of what the channel part makes of g
    regress   [V, M, 2K]    `nano` only: keypoints regressed at the centre, relative to it, in cells
    g, h      [V, H, W, D]  shared maps (M5.1)
    keypoint_logits [V, H, W, K], offset [V, H, W, 2K]   `nano` only
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
from boir_train.model.nano import Nano, PosePrior, mirror_offset
from boir_train.model.person_head import POSITION_UNIT, PersonHead

MAX_PEOPLE = 30
_EPSILON = 1e-5  # of the instance norms
_BLOCK = 8  # map columns that one convolution channel stands for; every map is so many wide or a multiple


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

    1 x 1 convolutions commute with the bilinear enlargement (M5.4), so the person head's shared maps are made from the
    four branches before it; the neck and the people's vectors need the enlarged feature.
    """

    def __init__(self, model: BoIR, kernel: int) -> None:
        super().__init__()
        self.backbone, self.neck, self.center_head = model.backbone, model.multihead.neck, model.multihead.center_head
        down = model.kpt_head.conv_down.weight.detach()[:, :, 0, 0]  # [D, C]
        self.bias = nn.Parameter(_bias(model.kpt_head.conv_down))
        width = model.backbone.out_channels // 15
        self.down = nn.ParameterList(torch.split(down, [width, 2 * width, 4 * width, 8 * width], dim=1))
        self.shared = SharedMaps(model.kpt_head)
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
        return people, *self.shared(g, _columns(features, index))


class NanoDense(nn.Module):
    """The dense part of `nano`; view 1 stays in its own, mirrored frame, except for the people and the offsets."""

    def __init__(self, model: Nano, kernel: int) -> None:
        super().__init__()
        self.model = model
        self.shared = SharedMaps(model.kpt_head)
        self.decode = CentreDecode(kernel)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Normalised pictures [V, 3, H, W] -> people, vectors, regress, g, h, keypoint_logits, offset."""
        maps = self.model.dense(x)
        prob = probability(maps["center_logits"])
        people, index = self.decode(torch.cat([prob[:1], prob[1:].flip(-1)]))
        width = prob.shape[-1]
        mirrored = index + width - 1 - 2 * (index % width)
        columns, regress = (
            torch.cat([_columns(maps[name][:1], index), _columns(maps[name][1:], mirrored)])
            for name in ("features", "regress")
        )
        logits = self.model.prior.gain[:, None, None] * maps["keypoint_logits"]
        offset = maps["offset"]
        offset = torch.cat([offset[:1], mirror_offset(offset[1:], self.model.settings.skeleton)])
        vectors, g, h = self.shared(self.model.kpt_head.conv_down(maps["features"]), columns)
        return people, vectors, regress, g, h, _channels_last(logits), _channels_last(offset)


class SharedMaps(nn.Module):
    """What the person head makes once a picture, for everybody (M5.1)."""

    def __init__(self, head: PersonHead) -> None:
        super().__init__()
        self.c_attn, self.s_attn = head.c_attn, head.s_attn.atn
        self.channel, self.spatial = map(nn.Parameter, _fuse_weights(head))

    def forward(self, g: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map g [V, D, H, W] and people's feature columns [V, M, C] -> vectors, g, h."""
        h = F.conv2d(g, self.spatial[:, :, None, None])
        g = _channels_last(g)
        # Along rows, then along columns: one long float32 sum would lose digits where the mean is large (M5.2).
        g_mean = g.mean(dim=2).mean(dim=1)[:, None]
        a, s = self.c_attn(columns), self.s_attn(columns)
        return torch.cat([a, s, torch.matmul(a * g_mean, self.channel.t())], dim=2), g, _channels_last(h)


class PositionConv(nn.Module):
    """The 5 x 5 convolution of the spatial attention (M2.4) without ever making its two position planes.

    Likeness: eight neighbouring columns are taken for the channels of one cell, which makes a convolution of 8 to 8
    channels that vector units can fill, without moving a number. Position: the planes are sums of a row and a column
    number, so what the kernel makes of them is a product of small matrices, zero padding included.
    """

    def __init__(self, weight: Tensor) -> None:
        """weight: [1, 3, 5, 5] for likeness, x and y."""
        super().__init__()
        likeness, x, y = weight.detach()[0]
        blocks = torch.zeros(_BLOCK, _BLOCK, 5, 3)  # column out, column in, kernel row, block to the left to the right
        for column in range(_BLOCK):
            for step in range(5):
                block, inside = divmod(column + step - 2 + _BLOCK, _BLOCK)
                blocks[column, inside, :, block] = likeness[:, step]
        self.blocks = nn.Parameter(blocks)
        self.x, self.y = nn.Parameter(x / POSITION_UNIT), nn.Parameter(y / POSITION_UNIT)

    def forward(self, likeness: Tensor, own_yx: Tensor) -> Tensor:
        """Likeness [N, H, W] and centres [N, 2] in cells -> [N, H, W]."""
        height, width = likeness.shape[1:]
        blocks = torch.unflatten(likeness, 2, (-1, _BLOCK)).permute(0, 3, 1, 2)
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

    def __init__(self, head: PersonHead) -> None:
        super().__init__()
        self.conv = PositionConv(head.s_attn.conv.weight)
        self.channel = nn.Parameter(_fuse_weights(head)[0].t().contiguous())
        self.heatmap = nn.Parameter(head.heatmap_conv.weight.detach()[:, :, 0, 0].t().contiguous())
        self.heatmap_bias = nn.Parameter(_bias(head.heatmap_conv))

    def forward(self, own_yx: Tensor, vectors: Tensor, g: Tensor, h: Tensor) -> Tensor:
        """Centres in each view's frame [V, B, 2], vectors [V, B, 3D] and maps -> logits [V, B, H, W, K]."""
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
        heatmap = self.heatmap * torch.rsqrt(variance + _EPSILON).transpose(2, 3)  # [V, B, D, K]
        return torch.unflatten(torch.matmul(F.relu(fused), heatmap) + self.heatmap_bias, 2, size)


class PaperPerson(nn.Module):
    """The person part of `w32` and `w48`."""

    flip_index: Tensor

    def __init__(self, model: BoIR, kernel: int) -> None:
        super().__init__()
        self.logits = PersonLogits(model.kpt_head)
        self.register_buffer("flip_index", torch.tensor(model.settings.skeleton.flip_index))
        self.smooth = SmoothLast(len(model.settings.skeleton), kernel)

    def forward(self, center_yx: Tensor, vectors: Tensor, g: Tensor, h: Tensor) -> Tensor:
        """-> keypoints [B, K, 3]."""
        own = center_yx.expand(vectors.shape[0], -1, -1)
        heat = probability(self.logits(own, vectors, g, h))
        heat = torch.cat([heat[:1], heat[1:].index_select(4, self.flip_index)]).mean(dim=0)
        height, width = heat.shape[1:3]
        heat = self.smooth(heat)
        peak, y, x = _peaks(heat)
        flat = _channels_last(heat).flatten(1, 2)  # [B, P, K]
        dx = _quarter_shift(flat, y * width + x, x, width, step=1)
        dy = _quarter_shift(flat, y * width + x, y, height, step=width)
        return torch.stack([(x + dx) * STRIDE + STRIDE / 2, (y + dy) * STRIDE + STRIDE / 2, peak], dim=2)


class NanoPerson(nn.Module):
    """The person part of `nano`: the prior is added, and offsets refine the peak's cell."""

    flip_index: Tensor

    def __init__(self, model: Nano, kernel: int) -> None:
        super().__init__()
        self.logits = PersonLogits(model.kpt_head)
        self.prior = PriorLast(model.prior)
        self.joints = len(model.settings.skeleton)
        self.register_buffer("flip_index", torch.tensor(model.settings.skeleton.flip_index))
        self.smooth = SmoothLast(self.joints, kernel)

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
        views, height, width = g.shape[:3]
        mirrored = torch.stack([center_yx[:, 0], width - 1 - center_yx[:, 1]], dim=1)
        own = torch.stack([center_yx, mirrored])[:views]  # [V, B, 2]
        regressed = torch.unflatten(regress, 2, (-1, 2)) + own[:, :, None]  # [V, B, K, 2]
        prior = keypoint_logits[:, None] - self.prior(regressed, height, width)
        heat = probability(prior + self.logits(own, vectors, g, h))  # [V, B, H, W, K]
        heat = torch.cat([heat[:1], heat[1:].index_select(4, self.flip_index).flip(3)]).mean(dim=0)
        peak, y, x = _peaks(self.smooth(heat))
        pairs = torch.unflatten(offset.flatten(1, 3), 1, (-1, 2))  # [V, P * K, 2] as y, x
        chosen = ((y * width + x) * self.joints + torch.arange(self.joints)).flatten()
        shift = torch.unflatten(pairs.index_select(1, chosen), 1, (-1, self.joints)).mean(dim=0)  # [B, K, 2]
        return torch.stack([(x + shift[:, :, 1]) * STRIDE, (y + shift[:, :, 0]) * STRIDE, peak], dim=2)


class PriorLast(nn.Module):
    """The penalty of `PosePrior` with channels last, its hyperbolic tangents taken on rows and columns only.

    `d / T` is a sum over the axes, and `tanh(y + x) = (tanh y + tanh x) / (1 + tanh y tanh x)`: with both positive
    nothing cancels.
    """

    def __init__(self, prior: PosePrior) -> None:
        super().__init__()
        self.bound, self.spread_gain = prior.bound, prior.spread_gain
        self.scale = nn.Parameter((prior.bound * prior.width * prior.log_width.exp()).detach())

    def forward(self, regressed_yx: Tensor, height: int, width: int) -> Tensor:
        """Regressed keypoints [V, B, K, 2] in cells -> [V, B, height, width, K]."""
        spread = (regressed_yx - regressed_yx.mean(dim=2, keepdim=True)).square().sum(dim=3).mean(dim=2)  # [V, B]
        scale = (self.scale * (1 + self.spread_gain * spread)[:, :, None])[:, :, None]  # [V, B, 1, K]
        y, x = regressed_yx[:, :, None].unbind(dim=4)  # [V, B, 1, K]
        dy = torch.tanh((torch.arange(height)[:, None] - y).square() / scale)[:, :, :, None]  # [V, B, H, 1, K]
        dx = torch.tanh((torch.arange(width)[:, None] - x).square() / scale)[:, :, None]  # [V, B, 1, W, K]
        return self.bound * (dy + dx) / (1 + dy * dx)


class SmoothLast(nn.Module):
    """`_smooth` of maps with channels last, as one depthwise convolution."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.channels, self.kernel = channels, kernel
        weight = torch.full((channels, 1, kernel, kernel), 0.5 / kernel**2)
        weight[:, :, kernel // 2, kernel // 2] += 0.5
        self.weight = nn.Parameter(weight)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, H, W, C] -> [N, C, H, W]."""
        return F.conv2d(maps.permute(0, 3, 1, 2), self.weight, padding=self.kernel // 2, groups=self.channels)


def dense_part(model: BoIR | Nano, kernel: int) -> PaperDense | NanoDense:
    """The dense part of a network in inference form; `kernel` smooths the centre map (M4.5)."""
    return NanoDense(model, kernel) if isinstance(model, Nano) else PaperDense(model, kernel)


def person_part(model: BoIR | Nano, kernel: int) -> PaperPerson | NanoPerson:
    """The person part of a network in inference form; `kernel` smooths the heatmaps (M4.7)."""
    return NanoPerson(model, kernel) if isinstance(model, Nano) else PaperPerson(model, kernel)


def _peaks(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Maximum, y and x of every map of positive numbers [B, K, H, W], each [B, K]; of equals the first as one reads.

    The best row first, then the place in it: two searches among a few numbers, where one search over all cells would
    go against the order they are kept in. The row is taken out by a mask, because a gather would copy all maps.
    """
    y = maps.amax(dim=3).max(dim=2)[1]
    chosen = (torch.arange(maps.shape[2]) == y[:, :, None]).to(maps.dtype)  # [B, K, H]
    peak, x = (maps * chosen[:, :, :, None]).amax(dim=2).max(dim=2)
    return peak, y, x


def _quarter_shift(flat: Tensor, index: Tensor, at: Tensor, length: Tensor | int, *, step: Tensor | int) -> Tensor:
    """[B, P, K]: a quarter cell to the larger neighbour `step` cells away, 0 at the map's border (M4.7): [B, K]."""
    inside = (at > 0) & (at < length - 1)
    before = flat.gather(1, (index - step).clamp(min=0)[:, None])[:, 0]
    after = flat.gather(1, (index + step).clamp(max=flat.shape[1] - 1)[:, None])[:, 0]
    return torch.where(inside, torch.sign(after - before) * 0.25, torch.zeros_like(before))


def _smooth(maps: Tensor, kernel: int) -> Tensor:
    """Average with the own box mean, zero padding counted: [..., C, H, W]."""
    return (maps + F.avg_pool2d(maps, kernel, 1, kernel // 2)) / 2


def _window_max(maps: Tensor, window: int) -> Tensor:
    return F.max_pool2d(maps, window, 1, window // 2)


def _columns(maps: Tensor, index: Tensor) -> Tensor:
    """[V, C, H, W] at flat cells [M] -> [V, M, C]."""
    return _channels_last(maps).flatten(1, 2).index_select(1, index)


def _channels_last(maps: Tensor) -> Tensor:
    """[V, C, H, W] -> [V, H, W, C]."""
    return maps.permute(0, 2, 3, 1)


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


def _bias(conv: nn.Conv2d) -> Tensor:
    """The bias of a convolution that has one."""
    return cast(Tensor, conv.bias).detach().clone()
