"""The second trunk of `small`: keypoint heatmaps and part affinity fields in stride 8, from another family of networks.

The layers are those of Intel's human-pose-estimation-0001 (Apache-2.0), a Lightweight OpenPose (Osokin, 2018):
MobileNetV1 with a dilated end, then two stages, the second of which sees what the first said. Batch norms are folded.
It errs otherwise than the start of `nano`: it sees small people's limbs better and has no idea of a person, which is
what the other trunk and BoIR's person head are for.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FIELDS = 38  # part affinity fields: 19 limbs, x and y
HEATMAPS = 19  # OpenPose's 18 keypoints (with the neck) and the background
CHANNELS = 128
FEATURE_CHANNELS = CHANNELS + FIELDS  # what the person head may read
STEP = 2  # map cells of stride 4 that a cell spans along each axis

# inverted: channels out, stride, dilation of the depthwise convolution
_BLOCKS = (
    (64, 1, 1),
    (128, 2, 1),
    (128, 1, 1),
    (256, 2, 1),
    (256, 1, 1),
    (512, 1, 1),
    (512, 1, 2),
    (512, 1, 1),
    (512, 1, 1),
    (512, 1, 1),
    (512, 1, 1),
)


class _Separable(nn.Module):
    """Depthwise 3 x 3 and pointwise, ReLU after each."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels_in, channels_in, 3, stride, dilation, dilation, groups=channels_in)
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.pointwise(F.relu(self.depthwise(x))))


class _Reduction(nn.Module):
    """512 channels to 128: a 1 x 1 convolution and a residue of three separable layers, ELU after each convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.align = nn.Conv2d(_BLOCKS[-1][0], CHANNELS, 1)
        pairs = [nn.Conv2d(CHANNELS, CHANNELS, 1)]
        for _ in range(3):
            pairs += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS), nn.Conv2d(CHANNELS, CHANNELS, 1)]
        self.residue = nn.ModuleList(pairs)
        self.out = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        aligned = F.elu(self.align(x))
        y = aligned
        for layer in self.residue:
            y = F.elu(layer(y))
        return F.relu(self.out(aligned + y))


class _Refinement(nn.Module):
    """1 x 1, then two 3 x 3 convolutions as a residue, the second one dilated."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels_in, CHANNELS, 1)
        self.first = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.second = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=2, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return x + F.relu(self.second(F.relu(self.first(x))))


class _Output(nn.Module):
    def __init__(self, hidden: int, channels_out: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Conv2d(CHANNELS, hidden, 1), nn.Conv2d(hidden, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.hidden(x)))


class LightOpenPose(nn.Module):
    """Picture to heatmaps, part affinity fields and the feature behind both, in stride 8."""

    def __init__(self, keypoints: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        channels, blocks = 32, []
        for channels_out, stride, dilation in _BLOCKS:
            blocks.append(_Separable(channels, channels_out, stride, dilation))
            channels = channels_out
        self.blocks = nn.Sequential(*blocks)
        self.reduce = _Reduction()
        self.initial = nn.ModuleList([nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(3)])
        self.initial_fields, self.initial_heatmaps = _Output(512, FIELDS), _Output(512, HEATMAPS)
        inputs = [CHANNELS + FIELDS + HEATMAPS, *[CHANNELS] * 4]
        self.refine = nn.Sequential(*(_Refinement(channels_in) for channels_in in inputs))
        self.fields, self.heatmaps = _Output(CHANNELS, FIELDS), _Output(CHANNELS, keypoints)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Look at pictures.

        Args:
            x: normalised as `nano` has them (RGB, -1 to 1), [B, 3, H, W], sides multiples of 8.

        Returns:
            Features [B, 166, H/8, W/8] (128 hidden ones, then the fields), heatmaps [B, K, H/8, W/8], roughly 0 to 1.
        """
        base = self.reduce(self.blocks(F.relu(self.stem(x))))
        y = base
        for layer in self.initial:
            y = F.relu(layer(y))
        hidden = self.refine(torch.cat([self.initial_fields(y), self.initial_heatmaps(y), base], dim=1))
        return torch.cat([hidden, self.fields(hidden)], dim=1), self.heatmaps(hidden)


class KeypointFusion(nn.Module):
    """Bottom-up logits from what two trunks say: a weighted mean of logits, one weight a keypoint.

    The second trunk gives heatmaps in stride 8 that were trained as a regression, so they may leave 0 to 1: they are
    enlarged (bicubic: bilinear costs half a point of AP, docs/models.md), bounded and turned into logits.
    """

    floor = 0.01

    def __init__(self, keypoints: int) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.full((keypoints,), 0.7))

    def forward(self, own: Tensor, heatmaps: Tensor) -> Tensor:
        """Logits [B, K, H, W] of the first trunk, heatmaps [B, K, H/2, W/2] of the second -> logits [B, K, H, W]."""
        enlarged = F.interpolate(heatmaps, scale_factor=float(STEP), mode="bicubic", align_corners=False)
        enlarged = enlarged.clamp(self.floor, 1 - self.floor)
        second = enlarged.log() - (1 - enlarged).log()  # OpenVINO's converter has no logit
        return own + self.share[:, None, None] * (second - own)


class SecondTrunk(nn.Module):
    """What `small` has beside the trunk of `nano`."""

    def __init__(self, keypoints: int) -> None:
        super().__init__()
        self.trunk, self.fusion = LightOpenPose(keypoints), KeypointFusion(keypoints)
