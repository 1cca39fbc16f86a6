"""Take the mean off every channel between the blocks of `nano`'s backbone: the same network, easier to quantise.

One scale has to serve all channels of a quantised tensor. Between the inverted-residual blocks the channels of the
start lie around means of their own, so together they span two to five times the range that any one of them needs, and
each gets that much less of the 255 steps. Everything that reads these tensors is a 1 x 1 convolution, which has no
padding, so a mean taken off in front of it can be given back in its bias, exactly.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from boir_train.inference import normalise
from boir_train.model.nano import Nano


@torch.no_grad()
def centred(model: Nano, pictures: Iterable[NDArray[np.uint8]]) -> Nano:
    """Return a network with centred channels that computes what `model` does, up to rounding.

    It is a copy through and through: graphs that were exported from `model` may share memory with its weights.

    Args:
        model: in evaluation mode.
        pictures: uint8 BGR [1, H, W, 3], as the dense graph takes them; the means are theirs.
    """
    model = copy.deepcopy(model)
    blocks = model.backbone.blocks
    means = _means(model, pictures)
    for index, block in enumerate(blocks):
        shift = means[index]
        own = shift - means[index - 1] if block.adds_input else shift
        cast(Tensor, cast(nn.Conv2d, block.project).bias).sub_(own)
        for reader in _readers(model, index):
            cast(Tensor, reader.bias).add_(reader.weight[:, :, 0, 0] @ shift)
    return model


def _readers(model: Nano, index: int) -> list[nn.Conv2d]:
    """The 1 x 1 convolutions that read what block `index` gives out."""
    trunk = model.backbone
    taps = {2: [trunk.lat2], 5: [trunk.lat3], 9: [trunk.lat4], 12: [model.context.from_c4b], 16: [trunk.tail]}
    following = [trunk.blocks[index + 1].expand] if index + 1 < len(trunk.blocks) else []
    return [cast(nn.Conv2d, reader) for reader in following + taps.get(index, [])]


def _means(model: Nano, pictures: Iterable[NDArray[np.uint8]]) -> list[Tensor]:
    """Mean of every channel that each block gives out, over all pictures: one [C] a block."""
    seen: dict[int, list[Tensor]] = {}
    handles = [
        block.register_forward_hook(
            lambda _, __, output, index=index: seen.setdefault(index, []).append(output.mean(dim=(0, 2, 3)))
        )
        for index, block in enumerate(model.backbone.blocks)
    ]
    look_at(model, pictures, handles)
    return [torch.stack(seen[index]).mean(dim=0) for index in range(len(model.backbone.blocks))]


def look_at(model: Nano, pictures: Iterable[NDArray[np.uint8]], handles: Sequence[RemovableHandle]) -> None:
    """Run the backbone on pictures, uint8 BGR [1, H, W, 3], for hooks to see; take the hooks off again."""
    try:
        for picture_bgr in pictures:
            rgb = np.ascontiguousarray(picture_bgr[0, :, :, ::-1])
            model.backbone(torch.from_numpy(normalise(rgb, model.settings))[None])
    finally:
        for handle in handles:
            handle.remove()
