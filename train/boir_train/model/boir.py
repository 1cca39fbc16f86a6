"""BoIR as the paper has it: HRNet, neck and heads, person head, and its start weights (SPEC-model M2)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from boir_sdk.skeleton import Skeleton
from boir_train.losses.focal import probability
from boir_train.model.heads import MultiHead
from boir_train.model.hrnet import HRNet
from boir_train.model.person_head import PersonHead, feature_vectors
from boir_train.model.settings import IMAGENET_MEAN, IMAGENET_STD, ModelSettings

WIDTHS = {"w32": 32, "w48": 48}
SIZES = {"w32": 512, "w48": 640}
PEOPLE_AT_ONCE = 6  # bounds inference memory: one person needs up to 60 MB at 640 x 640

INIT_STD = 0.001
RARE_BIAS = -math.log((1 - 0.01) / 0.01)  # a logit whose probability is 0.01: keypoints and centres are rare


class BoIR(nn.Module):
    """The paper's network; `auxiliary` adds the three heads that only training uses."""

    def __init__(self, preset: str, skeleton: Skeleton, *, auxiliary: bool = False) -> None:
        super().__init__()
        self.settings = ModelSettings(
            preset=preset,
            skeleton=skeleton,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            multiple=64,
            fit_rule="short",
            resample="bilinear",
            default_size=SIZES[preset],
            pool_kernel=3,
            flip="features",
        )
        self.backbone = HRNet(WIDTHS[preset])
        channels = self.backbone.out_channels
        self.multihead = MultiHead(channels, len(skeleton), auxiliary=auxiliary)
        self.kpt_head = PersonHead(channels, 2 * WIDTHS[preset], len(skeleton))

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """The part that runs once a picture.

        Args:
            x: normalised network picture [V, 3, H, W], sides multiples of 32; with V = 2, view 1 is view 0 mirrored.

        Returns:
            `features` [V, C, h, w], `neck` [V, 256, h, w], `center_logits` [V, 1, h, w] and `g` [V, D, h, w] at
            stride 4, all in the unmirrored frame (SPEC-model M4.4: the features are mirrored back).
        """
        features = self.backbone(x)
        if len(features) == 2:
            features = torch.stack([features[0], features[1].flip(-1)])
        neck = self.multihead.neck(features)
        center_logits = self.multihead.center_head(neck)
        return {
            "features": features,
            "neck": neck,
            "center_logits": center_logits,
            "g": self.kpt_head.conv_down(features),
        }

    def person_heatmaps(self, encoded: dict[str, Tensor], yx: Tensor) -> Tensor:
        """Every person's heatmaps in every view.

        Args:
            encoded: what `encode` returned.
            yx: centres [N, 2] int64, cells.

        Returns:
            Clamped probabilities [V, N, K, h, w] in the unmirrored frame; view 1's left and right are still exchanged.
        """
        features, g = encoded["features"], encoded["g"]
        views, _, height, width = g.shape
        heat = g.new_empty(views, len(yx), len(self.settings.skeleton), height, width)
        for view in range(views):
            for start in range(0, len(yx), PEOPLE_AT_ONCE):
                some = yx[start : start + PEOPLE_AT_ONCE]
                vectors = feature_vectors(features, torch.full_like(some[:, 0], view), some)
                maps = g[view].expand(len(some), -1, -1, -1)
                heat[view, start : start + len(some)] = probability(self.kpt_head.logits(maps, vectors, some))
        return heat

    def forward(self, x: Tensor, image_index: Tensor, yx: Tensor) -> dict[str, Tensor]:
        """The training form: everything the losses need, as raw outputs.

        Args:
            x: normalised pictures [B, 3, I, I].
            image_index: picture of each person [N] int64.
            yx: centre of each person [N, 2] int64, cells.

        Returns:
            `center_logits` [B, 1, R, R], `keypoint_logits` [B, K, R, R], `embedding` [B, 128, R, R], `box`
            [B, 4, R, R] and `person_logits` [N, K, R, R].
        """
        features = self.backbone(x)
        neck = self.multihead.neck(features)
        return {
            "center_logits": self.multihead.center_head(neck),
            **self.multihead.auxiliary(neck),
            "person_logits": self.kpt_head(features, image_index, yx),
        }


@torch.no_grad()
def initialise(model: BoIR, init: Literal["fixed", "published"] = "fixed") -> None:
    """Set the start weights of training, in place.

    Args:
        model: the training form.
        init: `published` is SPEC-model M2.7 to the letter, where the box head never learns and the embedding head
            starts with all cells alike; `fixed` mends these two as SPEC-training T1.9 recommends.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=INIT_STD)
            if module.bias is not None:
                nn.init.constant_(module.bias, RARE_BIAS if isinstance(module, nn.Conv2d) else 0.0)
            if name.startswith("multihead.bbox_head.") and (init == "published" or name.endswith(".head.1")):
                nn.init.zeros_(module.weight)
        elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.ones_(model.multihead.bbox_head.head[1].bias)
    if init == "fixed":
        nn.init.zeros_(model.multihead.emb_head.head[1].bias)
