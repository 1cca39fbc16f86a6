"""The start of `nano`: the public MoveNet MultiPose Lightning weights (Google, Apache-2.0), laid into our names.

Everything that the start has and `nano` uses is filled; what BoIR adds (person head, context, embedding and box heads)
keeps its initialisation, so the result predicts exactly what the prior alone predicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from boir_sdk.errors import CheckpointError
from boir_sdk.skeleton import COCO17
from boir_train import checkpoint
from boir_train.model.nano import Nano

_HEADS = {
    "heads.center.": "multihead.center_head.",
    "heads.kpt_heatmap.": "multihead.buk_head.",
    "heads.kpt_regress.": "multihead.regress_head.",
    "heads.kpt_offset.": "multihead.offset_head.",
}
_UNUSED = ("heads.box_scale.", "heads.box_offset.")


def is_start(state: Mapping[str, Tensor]) -> bool:
    """Tell whether a state dict is the public start."""
    return all(any(name.startswith(prefix) for name in state) for prefix in _HEADS)


@dataclass(frozen=True, slots=True)
class StartReport:
    """What became of the start: tensors laid over, tensors of the start that `nano` has no place for."""

    filled: int
    unused: int


def load_start(model: Nano, path: str | Path) -> StartReport:
    """Fill `model` in place from the public start weights.

    For a skeleton other than coco17, keypoints with the same name take the start's channels and the others keep their
    initialisation.

    Raises:
        CheckpointError: the file isn't the start, or a tensor is missing or of another shape.
    """
    start = checkpoint.read(path)
    renamed: dict[str, Tensor] = {}
    unused = 0
    for name, tensor in start.items():
        prefix = next((old for old in _HEADS if name.startswith(old)), "")
        if name.startswith(_UNUSED):
            unused += 1
        elif prefix or name.startswith("backbone."):
            renamed[_HEADS.get(prefix, "") + name[len(prefix) :]] = tensor.float()
        else:
            raise CheckpointError(f"{path} is not a start of nano: it holds {name!r}; expected backbone.* and heads.*")
    own = model.state_dict()
    wanted = [name for name in own if name.startswith(("backbone.", *_HEADS.values()))]
    missing = [name for name in wanted if name not in renamed]
    if missing:
        raise CheckpointError(f"{path} is not a start of nano: {len(missing)} tensors are missing, e.g. {missing[0]!r}")
    names = model.settings.skeleton.keypoints
    with torch.no_grad():
        for name in wanted:
            target, source = own[name], renamed[name]
            if target.shape != source.shape and names != COCO17.keypoints:
                source = _by_keypoint(source, target, names)
            if target.shape != source.shape:
                raise CheckpointError(f"{path}: {name} is {tuple(source.shape)}, nano has {tuple(target.shape)}")
            target.copy_(source)
    return StartReport(filled=len(wanted), unused=unused)


def _by_keypoint(source: Tensor, target: Tensor, names: tuple[str, ...]) -> Tensor:
    """Rows of `source` (one or two a coco17 keypoint) put in the order of `names`; rows unknown there from `target`."""
    rows = len(source) // len(COCO17)
    result = target.clone().unflatten(0, (-1, rows))
    for index, name in enumerate(names):
        if name in COCO17.keypoints:
            result[index] = source.unflatten(0, (-1, rows))[COCO17.keypoints.index(name)]
    return result.flatten(0, 1)
