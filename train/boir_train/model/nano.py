"""`nano`: BoIR's person head on a small pose-pretrained backbone, with a prior of our own.

BoIR's method does not depend on the backbone (paper, section 3.1). Here the dense heads of the start weights stay at
inference: their keypoint heatmaps and regressed keypoints make the **prior**, an addition of ours that `w32` and `w48`
never have, and BoIR's person head adds its own logits to it:

    logits = gain_k * bottom-up logits + prior(person, k) + person head

The bottom-up logits and the prior say where in stride 4; what the person head has to say, whose limb it is, needs no
such detail, so it works on the mean of 2 x 2 cells: a quarter of the work of what every person costs, at the same AP
(docs/models.md).

`nano-pure` is the same network as the paper would have it: the person head alone, in stride 4. `small` has a second
trunk (`boir_train.model.light_openpose`): its heatmaps are mixed into the bottom-up logits, its features and part
affinity fields are read by the person head as well.

The start is MoveNet MultiPose Lightning (`boir_train.model.nano_start`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boir_sdk.skeleton import Skeleton
from boir_train.losses.focal import probability
from boir_train.model import light_openpose
from boir_train.model.light_openpose import SecondTrunk
from boir_train.model.mobilenet_fpn import FINE_CHANNELS, ContextFeature, MobileNetFPN, PoseHead
from boir_train.model.person_head import PersonHead, feature_vectors
from boir_train.model.settings import ModelSettings

PERSON_CHANNELS = 48
FEATURE_CHANNELS = 2 * PoseHead.hidden_channels + FINE_CHANNELS + ContextFeature.channels
EMBEDDING_CHANNELS = 128
PEOPLE_AT_ONCE = 8  # bounds inference memory


class PosePrior(nn.Module):
    """How likely a cell is a person's keypoint, from where the start's regression puts that keypoint.

    `prior = -T tanh(d / T)`, with d the squared distance in cells over `8 exp(log_width_k) (1 + 0.0125 s)`, s the mean
    squared spread of the person's regressed keypoints: big people may err by more cells. T bounds what the prior can
    forbid, so that a keypoint far from its regression still wins where the heatmaps are sure of it.
    """

    bound = 10.0
    width = 8.0
    spread_gain = 0.0125

    def __init__(self, keypoints: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(keypoints))
        self.log_width = nn.Parameter(torch.zeros(keypoints))

    def forward(self, keypoint_logits: Tensor, regressed_yx: Tensor) -> Tensor:
        """Logits of every person from what the start knows.

        Args:
            keypoint_logits: bottom-up logits of each person's picture [N, K, H, W] (may be expanded).
            regressed_yx: regressed keypoints [N, K, 2] in cells.

        Returns:
            [N, K, H, W].
        """
        height, width = keypoint_logits.shape[-2:]
        return self.gain[:, None, None] * keypoint_logits - self.penalty(regressed_yx, height, width)

    def penalty(self, regressed_yx: Tensor, height: int, width: int) -> Tensor:
        """`T tanh(d / T)` of every cell: regressed keypoints [N, K, 2] -> [N, K, height, width]."""
        kind = {"dtype": regressed_yx.dtype, "device": regressed_yx.device}
        rows, columns = torch.arange(height, **kind), torch.arange(width, **kind)
        spread = (regressed_yx - regressed_yx.mean(dim=1, keepdim=True)).square().sum(dim=2).mean(dim=1)  # [N]
        # d / T is a sum over the axes, so everything but one addition and the tanh happens on rows and columns
        scale = self.bound * self.width * self.log_width.exp() * (1 + self.spread_gain * spread)[:, None]  # [N, K]
        dy = (rows - regressed_yx[:, :, :1]).square() / scale[:, :, None]  # [N, K, H]
        dx = (columns - regressed_yx[:, :, 1:]).square() / scale[:, :, None]  # [N, K, W]
        return self.bound * torch.tanh(dy[:, :, :, None] + dx[:, :, None, :])


class NanoHeads(nn.Module):
    """The start's dense heads on p2; `auxiliary` adds BoIR's embedding and box head (training only)."""

    def __init__(self, keypoints: int, *, auxiliary: bool) -> None:
        super().__init__()
        self.center_head = PoseHead(1)
        self.buk_head = PoseHead(keypoints)
        self.regress_head = PoseHead(2 * keypoints)
        self.offset_head = PoseHead(2 * keypoints)
        if auxiliary:
            self.emb_head = PoseHead(EMBEDDING_CHANNELS)
            self.bbox_head = PoseHead(4)


class Nano(nn.Module):
    """The small network; the same interface as `boir_train.model.boir.BoIR`.

    `head_step` is how many map cells a cell of the person head spans along each axis: 1 for `nano-pure`, which has no
    `prior`, and 2 otherwise. Only `small` has a `second` trunk.
    """

    def __init__(self, preset: str, skeleton: Skeleton, *, auxiliary: bool = False) -> None:
        super().__init__()
        self.settings = ModelSettings(
            preset=preset,
            skeleton=skeleton,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            multiple=32,
            fit_rule="long",
            resample="area",
            default_size=448,
            pool_kernel=3,
            flip="outputs",
            second_look_px=150,
            second_look_from=384,
        )
        self.backbone = MobileNetFPN()
        self.context = ContextFeature()
        self.multihead = NanoHeads(len(skeleton), auxiliary=auxiliary)
        self.prior = None if preset == "nano-pure" else PosePrior(len(skeleton))
        self.head_step = 1 if preset == "nano-pure" else 2
        self.second = SecondTrunk(len(skeleton)) if preset == "small" else None
        features = FEATURE_CHANNELS + (light_openpose.FEATURE_CHANNELS if self.second else 0)
        self.kpt_head = PersonHead(features, PERSON_CHANNELS, len(skeleton))

    def dense(self, x: Tensor) -> dict[str, Tensor]:
        """Every map of every picture, each in its own frame: [B, 3, H, W] -> maps at stride 4, cells h x w.

        Returns:
            `features` [B, 248, h, w] (hidden maps of the keypoint and regression heads, p2, context; of a second trunk
            166 more), `fine` (p2), `center_logits` [B, 1, h, w], `keypoint_logits` [B, K, h, w], `regress` and `offset`
            [B, 2K, h, w] (rows y0, x0, y1, ... in cells).
        """
        p2, c4b, c5 = self.backbone(x)
        heads = self.multihead
        _, center_logits = heads.center_head(p2)
        heatmap_hidden, keypoint_logits = heads.buk_head(p2)
        regress_hidden, regress = heads.regress_head(p2)
        _, offset = heads.offset_head(p2)
        parts = [heatmap_hidden, regress_hidden, p2, self.context(c4b, c5)]
        if self.second is not None:
            seen, heatmaps = self.second.trunk(x)
            keypoint_logits = self.second.fusion(keypoint_logits, heatmaps)
            parts.append(F.interpolate(seen, scale_factor=float(light_openpose.STEP)))
        return {
            "features": torch.cat(parts, dim=1),
            "fine": p2,
            "center_logits": center_logits,
            "keypoint_logits": keypoint_logits,
            "regress": regress,
            "offset": offset,
        }

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """The part that runs once a picture.

        Args:
            x: normalised network picture [V, 3, H, W], sides multiples of 32; with V = 2, view 1 is view 0 mirrored.

        Returns:
            What `dense` returns and `g` [V, D, h / head_step, w / head_step], in each view's own frame; but
            `center_logits` [V, 1, h, w] and `offset` [2K, h, w] (the mean over views) in the unmirrored frame.
        """
        encoded = self.dense(x)
        encoded["g"] = self.shared_maps(encoded["features"])
        offset, centers = encoded["offset"], encoded["center_logits"]
        if len(x) == 2:
            encoded["center_logits"] = torch.stack([centers[0], centers[1].flip(-1)])
            offset = torch.cat([offset[:1], mirror_offset(offset[1:], self.settings.skeleton)])
        encoded["offset"] = offset.mean(dim=0)
        return encoded

    def shared_maps(self, features: Tensor) -> Tensor:
        """What all people share: features [B, C, h, w] -> [B, D, h / head_step, w / head_step]."""
        return F.avg_pool2d(self.kpt_head.conv_down(features), self.head_step)

    def person_logits(self, encoded: dict[str, Tensor], maps: Tensor, image_index: Tensor, yx: Tensor) -> Tensor:
        """Heatmap logits [N, K, h, w] of people whose pictures' `shared_maps` are `maps` [N, D, ...] (or expanded)."""
        vectors = feature_vectors(encoded["features"], image_index, yx)
        own = (yx - (self.head_step - 1) / 2) / self.head_step  # in the head's cells
        logits = F.interpolate(self.kpt_head.logits(maps, vectors, own), scale_factor=float(self.head_step))
        if self.prior is None:
            return logits
        regress = feature_vectors(encoded["regress"], image_index, yx).unflatten(1, (-1, 2))  # [N, K, 2]
        keypoint_logits = encoded["keypoint_logits"].index_select(0, image_index)
        return self.prior(keypoint_logits, regress + yx[:, None, :]) + logits

    def person_heatmaps(self, encoded: dict[str, Tensor], yx: Tensor) -> Tensor:
        """Every person's heatmaps in every view.

        Args:
            encoded: what `encode` returned.
            yx: centres [N, 2] int64, cells, unmirrored frame.

        Returns:
            Clamped probabilities [V, N, K, h, w] in the unmirrored frame; view 1's left and right are still exchanged.
        """
        g = encoded["g"]
        views, _, height, width = encoded["keypoint_logits"].shape
        heat = g.new_empty(views, len(yx), len(self.settings.skeleton), height, width)
        for view in range(views):
            own = yx if view == 0 else torch.stack([yx[:, 0], width - 1 - yx[:, 1]], dim=1)
            for start in range(0, len(yx), PEOPLE_AT_ONCE):
                some = own[start : start + PEOPLE_AT_ONCE]
                index = torch.full_like(some[:, 0], view)
                logits = self.person_logits(encoded, g.index_select(0, index), index, some)
                heat[view, start : start + len(some)] = probability(logits if view == 0 else logits.flip(-1))
        return heat

    def forward(self, x: Tensor, image_index: Tensor, yx: Tensor) -> dict[str, Tensor]:
        """The training form: everything the losses need, as raw outputs.

        Args:
            x: normalised pictures [B, 3, I, I].
            image_index: picture of each person [N] int64.
            yx: centre of each person [N, 2] int64, cells.

        Returns:
            `center_logits` [B, 1, R, R], `keypoint_logits` [B, K, R, R], `regress` and `offset` [B, 2K, R, R],
            `embedding` [B, 128, R, R], `box` [B, 4, R, R] and `person_logits` [N, K, R, R].
        """
        encoded = self.dense(x)
        maps = self.shared_maps(encoded["features"]).index_select(0, image_index)
        fine = encoded.pop("fine")
        person_logits = self.person_logits(encoded, maps, image_index, yx)
        del encoded["features"]
        return {
            **encoded,
            "embedding": self.multihead.emb_head(fine)[1],
            "box": self.multihead.bbox_head(fine)[1],
            "person_logits": person_logits,
        }


def mirror_offset(offset: Tensor, skeleton: Skeleton) -> Tensor:
    """Offsets [B, 2K, h, w] of mirrored pictures -> the frame of the pictures.

    A keypoint at `cell + offset` from the left edge is at `width - cell - offset` from the right one, and its mirrored
    cell is `width - 1 - cell`: the offset there is `1 - offset`.
    """
    yx = offset.unflatten(1, (len(skeleton), 2)).flip(-1)[:, list(skeleton.flip_index)]  # [B, K, 2, h, w]
    return torch.stack([yx[:, :, 0], 1 - yx[:, :, 1]], dim=2).flatten(1, 2)


@torch.no_grad()
def initialise(model: Nano) -> None:
    """Set start weights in place: nothing learnt yet, and BoIR's part adds exactly nothing to the prior.

    Weight scales keep activations level (there is no norm in the trunk); centres and keypoints start rare, and so do
    those of the person head where nothing else says where they are.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for head in (model.multihead.center_head, model.multihead.buk_head):
        nn.init.constant_(head.out.bias, -4.6)
    if model.prior is None:
        nn.init.constant_(model.kpt_head.heatmap_conv.bias, -4.6)
    else:
        nn.init.zeros_(model.kpt_head.heatmap_conv.weight)
    if hasattr(model.multihead, "bbox_head"):
        nn.init.zeros_(model.multihead.bbox_head.out.weight)
        nn.init.ones_(model.multihead.bbox_head.out.bias)


def build(preset: str, skeleton: Skeleton, training: bool) -> Nano:
    """Build the training form of a preset in training mode, or its inference form in evaluation mode."""
    model = Nano(preset, skeleton, auxiliary=training)
    initialise(model)
    return model if training else model.eval()
