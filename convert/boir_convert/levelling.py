"""Bring depthwise filters of `nano`'s backbone to like sizes: the same network, easier to quantise.

A few filters of the start are huge, those of channels that hardly fire: in block 1 one reaches 1,121 where half of them
stay under 0.6. NNCF gives every filter at least a hundredth of the largest one's range, lest a filter of zeros have no
scale, so half of the others are left with 6 of 127 steps to each side. Making what such a filter reads larger and the
filter smaller by the same factor changes nothing, as long as the ReLU6 in between doesn't cut it off.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from boir_convert.centring import look_at
from boir_train.model.nano import Nano

LARGEST = 4.0  # times the median that a filter's largest weight is brought down to, where there is room
_CUT = 6.0  # ReLU6
_MOST = 1000.0  # half-precision weights end at 65,504
_MARGIN = 1.5  # pictures to come may excite a channel so much more than the calibration did


@torch.no_grad()
def levelled(model: Nano, pictures: Iterable[NDArray[np.uint8]]) -> Nano:
    """Return a network with depthwise filters of like sizes that computes what `model` does, up to rounding.

    A channel that a picture excites more than `_MARGIN` times as much as any of `pictures` did is cut off earlier.

    Args:
        model: in evaluation mode; it is left as it is.
        pictures: uint8 BGR [1, H, W, 3], as the dense graph takes them; how far channels can be scaled is theirs.
    """
    model = copy.deepcopy(model)
    for (before, depthwise), peak in zip(_pairs(model), _peaks(model, pictures), strict=True):
        size = depthwise.weight.abs().amax(dim=(1, 2, 3))
        wanted = size / (LARGEST * size.median()).clamp(min=1e-9)  # of pruned filters the median may be 0
        room = _CUT / (_MARGIN * peak)  # infinite for a channel that never fired: its filter may shrink all it wants
        scale = torch.minimum(wanted, room).clamp(1, _MOST)
        before.weight.mul_(scale[:, None, None, None])
        cast(Tensor, before.bias).mul_(scale)
        depthwise.weight.div_(scale[:, None, None, None])
    return model


def _pairs(model: Nano) -> list[tuple[nn.Conv2d, nn.Conv2d]]:
    """Of each block, the convolution that its depthwise one reads through a ReLU6, and that one."""
    trunk = model.backbone
    pairs = [(trunk.stem if block.expand is None else block.expand, block.depthwise) for block in trunk.blocks]
    return cast(list[tuple[nn.Conv2d, nn.Conv2d]], pairs)


def _peaks(model: Nano, pictures: Iterable[NDArray[np.uint8]]) -> list[Tensor]:
    """The most that each channel gave its depthwise filter in any picture: one [C] a block, 0 to 6."""
    pairs = _pairs(model)
    peaks = [torch.zeros(depthwise.in_channels) for _, depthwise in pairs]

    def remember(index: int, given: Tensor) -> None:
        torch.maximum(peaks[index], given.amax(dim=(0, 2, 3)), out=peaks[index])

    handles = [
        depthwise.register_forward_pre_hook(lambda _, inputs, index=index: remember(index, inputs[0]))
        for index, (_, depthwise) in enumerate(pairs)
    ]
    look_at(model, pictures, handles)
    return peaks
