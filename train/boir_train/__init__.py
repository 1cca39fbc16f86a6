"""Training, evaluation and the reference form of BoIR in PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build_model"]

PRESETS = ("w32", "w48", "nano", "nano-pure", "small")


def build_model(
    preset: str, skeleton: str, training: bool = False, *, init: Literal["fixed", "published"] = "fixed"
) -> nn.Module:
    """Build a network.

    Args:
        preset: `w32`, `w48` (the paper's), `nano`, `nano-pure` or `small`.
        skeleton: `coco17` or `crowdpose14`.
        training: the training form, with auxiliary heads and the start weights of training, in training mode;
            otherwise the inference form in evaluation mode, to be filled from a checkpoint.
        init: start weights of `w32` and `w48` in training (SPEC-training T1.9).

    Returns:
        The network; its `settings` say what the code around it must know.

    Raises:
        ConfigError: preset or skeleton is unknown.
    """
    from boir_sdk.errors import ConfigError
    from boir_sdk.skeleton import get_skeleton

    if preset not in PRESETS:
        raise ConfigError(f"unknown preset {preset!r}: known are {', '.join(PRESETS)}")
    if init not in ("fixed", "published"):
        raise ConfigError(f"unknown init {init!r}: known are fixed, published")
    keypoints = get_skeleton(skeleton)
    if preset not in ("w32", "w48"):
        from boir_train.model import nano

        return nano.build(preset, keypoints, training)
    from boir_train.model.boir import BoIR, initialise

    model = BoIR(preset, keypoints, auxiliary=training)
    if not training:
        return model.eval()
    initialise(model, init)
    return model
