"""What the code around a network must know about it: skeleton, normalisation, picture sizes, decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from boir_sdk.skeleton import Skeleton

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Facts of one model; every network carries them as `.settings`.

    Attributes:
        preset: `w32`, `w48`, `nano`, `nano-pure` or `small`.
        skeleton: the keypoint convention of the output.
        mean: subtracted from RGB / 255, one number a channel.
        std: divides what is left, one number a channel.
        multiple: height and width of a network picture are multiples of this, pixels.
        fit_rule: which side of the picture `default_size` speaks of (`boir_sdk.warp.fit`).
        resample: how the picture is resampled (`boir_sdk.warp.fit`).
        default_size: network size if the user names none, pixels.
        pool_kernel: side of the average that smooths centre map and heatmaps, cells, odd.
        flip: what the flip test mirrors back, the backbone's features (SPEC-model M4.4) or the network's outputs.
        second_look_px: people whose keypoints span so many network pixels may also come from a look at the picture in
            half size (`boir_sdk.looks`); 0 for no such look.
        second_look_from: network size, pixels, from which that look is taken unless the user says otherwise.
    """

    preset: str
    skeleton: Skeleton
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    multiple: int
    fit_rule: Literal["short", "long"]
    resample: Literal["bilinear", "area"]
    default_size: int
    pool_kernel: int
    flip: Literal["features", "outputs"]
    second_look_px: int = 0
    second_look_from: int = 0
