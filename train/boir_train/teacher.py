"""A frozen network whose heatmaps another one learns from, too."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from boir_sdk.errors import ConfigError
from boir_train.losses.focal import probability
from boir_train.losses.soft import mirrored_back


class Teacher:
    """Answers with the mean of what it sees in a picture and in the mirrored one, which is better than either."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        """Take a network in its training form, which stays as it is.

        Raises:
            ConfigError: it has no bottom-up heatmaps to teach.
        """
        if model.settings.flip != "outputs":
            raise ConfigError(f"model.teacher: {model.settings.preset} mirrors features, not heatmaps; take a nano")
        self._model = model.to(device).eval().requires_grad_(False)
        self._flip_index = model.settings.skeleton.flip_index

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Normalised pictures [B, 3, I, I] -> probabilities [B, K + 1, R, R], the centres last."""
        straight, mirrored = self._look(images), self._look(images.flip(-1))
        return (straight + mirrored_back(mirrored, self._flip_index)) / 2

    def _look(self, images: Tensor) -> Tensor:
        maps = self._model.dense(images)
        return probability(torch.cat([maps["keypoint_logits"], maps["center_logits"]], dim=1))
