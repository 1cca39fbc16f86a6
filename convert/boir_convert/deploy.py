"""A trained network as the two parts that run on a device (SPEC-model M5), still PyTorch.

The **dense part** runs once a picture: normalised pictures [V, 3, H, W] in (V = 2 in the flip test, view 1 mirrored),
the best people and the maps that all people share out. The **person part** runs on some of those people and gives their
keypoints. Both are exact rearrangements of the network; batch size, height and width stay free in the traced graph and
become static when the runtime compiles it.

Tensors by name; maps have their channels last, as the convolutions leave them and as the person part reads them:
    people    [M, 3]        score, y, x in cells of the M = 30 best local maxima; empty places have score 0
    vectors   [V, M, 3D]    each person's attention vectors, channel part and spatial part, from each view, and the
                            mean over all cells of what the channel part makes of g
    g, h      [V, H, W, D]  shared maps (M5.1); of `nano` and `small` at half the height and width
    offset_hidden [V, H, W, 96]  not of `w32` and `w48`: what offsets are made of, where a keypoint turns out to be
    regress   [V, M, 2K]         with a prior only: keypoints regressed at the centre, relative to it, in cells
    keypoint_logits [V, H, W, K] with a prior only
    center_yx [B, 2]        the people given to the person part, cells
    keypoints [B, K, 3]     network x, y in pixels, and the smoothed peak
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boir_convert.person_head import PersonLogits, SharedMaps, bias, channels_last
from boir_sdk.decode import STRIDE
from boir_train.losses.focal import probability
from boir_train.model import light_openpose
from boir_train.model.boir import BoIR
from boir_train.model.hrnet import enlarge
from boir_train.model.mobilenet_fpn import FINE_CHANNELS, ContextFeature, PoseHead
from boir_train.model.nano import Nano, PosePrior

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

    1 x 1 convolutions commute with the bilinear enlargement (M5.4), so the person head's shared maps are made from the
    four branches before it; the neck and the people's vectors need the enlarged feature.
    """

    def __init__(self, model: BoIR, kernel: int) -> None:
        super().__init__()
        self.backbone, self.neck, self.center_head = model.backbone, model.multihead.neck, model.multihead.center_head
        down = model.kpt_head.conv_down.weight.detach()[:, :, 0, 0]  # [D, C]
        self.bias = nn.Parameter(bias(model.kpt_head.conv_down))
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
    """The dense part of `nano` and `small`; view 1 stays in its own, mirrored frame, except for the people.

    What only some cells need is made there: 1 x 1 convolutions of the regression head at people's centres, those of the
    offset head by the person part. The feature's parts are never put together: the convolution of their concatenation
    is a sum, and with the mean of `head_step` cells after it one of that stride. The second trunk's cells are those of
    the person head, so its part is neither enlarged nor averaged.
    """

    def __init__(self, model: Nano, kernel: int) -> None:
        super().__init__()
        self.model = model
        self.shared = SharedMaps(model.kpt_head)
        self.decode = CentreDecode(kernel)
        whole, step = model.kpt_head.conv_down.weight.detach(), model.head_step
        parts = [PoseHead.hidden_channels, PoseHead.hidden_channels, FINE_CHANNELS, ContextFeature.channels]
        down = (whole[:, : sum(parts)] / step**2).repeat(1, 1, step, step)
        self.down = nn.ParameterList(torch.split(down, parts, dim=1))
        self.down_second = None if model.second is None else nn.Parameter(whole[:, sum(parts) :])
        self.down_bias = nn.Parameter(bias(model.kpt_head.conv_down))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Normalised pictures [V, 3, H, W] -> people, vectors, g, h, offset_hidden, regress, keypoint_logits."""
        p2, c4b, c5 = self.model.backbone(x)
        heads = self.model.multihead
        prob = probability(heads.center_head(p2)[1])
        people, index = self.decode(torch.cat([prob[:1], prob[1:].flip(-1)]))
        width = prob.shape[-1]
        mirrored = index + width - 1 - 2 * (index % width)
        keypoint_hidden, regress_hidden = heads.buk_head.sep(p2), heads.regress_head.sep(p2)
        features = (keypoint_hidden, regress_hidden, p2, self.model.context(c4b, c5))
        columns = [torch.cat([_columns(y[:1], index), _columns(y[1:], mirrored)]) for y in features]
        g = F.conv2d(features[0], self.down[0], self.down_bias, stride=self.model.head_step)
        for y, weight in zip(features[1:], list(self.down)[1:], strict=True):
            g = g + F.conv2d(y, weight, stride=self.model.head_step)
        keypoint_logits = heads.buk_head.out(keypoint_hidden)
        if self.model.second is not None:
            seen, heatmaps = self.model.second.trunk(x)
            keypoint_logits = self.model.second.fusion(keypoint_logits, heatmaps)
            g = g + F.conv2d(seen, cast(Tensor, self.down_second))
            coarse, coarse_mirrored = (_coarser(i, width, light_openpose.STEP) for i in (index, mirrored))
            columns.append(torch.cat([_columns(seen[:1], coarse), _columns(seen[1:], coarse_mirrored)]))
        vectors, g, h = self.shared(g, torch.cat(columns, dim=2))
        found = (people, vectors, g, h, channels_last(heads.offset_head.sep(p2)))
        if self.model.prior is None:
            return found
        regress = F.linear(columns[1], heads.regress_head.out.weight[:, :, 0, 0], heads.regress_head.out.bias)
        logits = self.model.prior.gain[:, None, None] * keypoint_logits
        return *found, regress, channels_last(logits)


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
        flat = channels_last(heat).flatten(1, 2)  # [B, P, K]
        dx = _quarter_shift(flat, y * width + x, x, width, step=1)
        dy = _quarter_shift(flat, y * width + x, y, height, step=width)
        return torch.stack([(x + dx) * STRIDE + STRIDE / 2, (y + dy) * STRIDE + STRIDE / 2, peak], dim=2)


class NanoPerson(nn.Module):
    """The person part of `nano` and `small`: the prior is added, and offsets refine the peak's cell."""

    flip_index: Tensor

    def __init__(self, model: Nano, kernel: int) -> None:
        super().__init__()
        self.logits = PersonLogits(model.kpt_head, step=model.head_step)
        self.prior = None if model.prior is None else PriorLast(model.prior)
        self.step, self.joints = model.head_step, len(model.settings.skeleton)
        self.register_buffer("flip_index", torch.tensor(model.settings.skeleton.flip_index))
        self.smooth = SmoothLast(self.joints, kernel)
        out = model.multihead.offset_head.out
        weight = torch.unflatten(out.weight.detach()[:, :, 0, 0], 0, (-1, 2))
        constant = torch.unflatten(bias(out), 0, (-1, 2))
        flip = self.flip_index  # view 1 shows the mirrored person's keypoint
        self.offset_weight = nn.Parameter(torch.stack([weight, weight[flip]]))  # [2, K, 2, 96]
        self.offset_bias = nn.Parameter(torch.stack([constant, constant[flip]]))  # [2, K, 2]

    def forward(
        self,
        center_yx: Tensor,
        vectors: Tensor,
        g: Tensor,
        h: Tensor,
        offset_hidden: Tensor,
        regress: Tensor | None = None,
        keypoint_logits: Tensor | None = None,
    ) -> Tensor:
        """-> keypoints [B, K, 3]; `keypoint_logits` come with the prior's gain already on them."""
        views, height, width = offset_hidden.shape[:3]
        mirrored = torch.stack([center_yx[:, 0], width - 1 - center_yx[:, 1]], dim=1)
        own = torch.stack([center_yx, mirrored])[:views]  # [V, B, 2]
        logits = self.logits((own - (self.step - 1) / 2) / self.step, vectors, g, h)  # [V, B, H / step, W, K]
        if self.prior is not None:
            regressed = torch.unflatten(cast(Tensor, regress), 2, (-1, 2)) + own[:, :, None]  # [V, B, K, 2]
            known = cast(Tensor, keypoint_logits)[:, None] - self.prior(regressed, height, width)
            # A row of the head stands for `step` rows of the map: it is added to each, never copied.
            known = torch.unflatten(known, 2, (-1, self.step)) + logits[:, :, :, None]
            logits = known.flatten(2, 3)
        heat = probability(logits)  # [V, B, H, W, K]
        heat = torch.cat([heat[:1], heat[1:].index_select(4, self.flip_index).flip(3)]).mean(dim=0)
        peak, y, x = _peaks(self.smooth(heat))
        return torch.stack([*self._refined(offset_hidden, y, x), peak], dim=2)

    def _refined(self, hidden: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Cells [B, K] of the peaks -> x and y in network pixels, by the mean of what the views say."""
        views, width = hidden.shape[0], hidden.shape[2]
        flat = hidden.flatten(1, 2)
        places = ((y * width + x).flatten(), (y * width + width - 1 - x).flatten())
        at = torch.cat([flat[:1].index_select(1, places[0]), flat[1:].index_select(1, places[1])])
        at = torch.unflatten(at, 1, (-1, self.joints))[:, :, :, None]  # [V, B, K, 1, 96]
        offset = (at * self.offset_weight[:views, None]).sum(dim=4) + self.offset_bias[:views, None]  # [V, B, K, 2]
        dy = offset[:, :, :, 0].mean(dim=0)
        dx = torch.cat([offset[:1, :, :, 1], 1 - offset[1:, :, :, 1]]).mean(dim=0)
        return (x + dx) * STRIDE, (y + dy) * STRIDE


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


def _coarser(index: Tensor, width: Tensor | int, step: int) -> Tensor:
    """Flat cells [M] of a map -> those of the map of `step` times larger cells that they lie in."""
    y, x = torch.div(index, width, rounding_mode="floor"), index % width
    down = torch.div(torch.stack([y, x]), step, rounding_mode="floor")
    return down[0] * (width // step) + down[1]


def _columns(maps: Tensor, index: Tensor) -> Tensor:
    """[V, C, H, W] at flat cells [M] -> [V, M, C]."""
    return channels_last(maps).flatten(1, 2).index_select(1, index)
