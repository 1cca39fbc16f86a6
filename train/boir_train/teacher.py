"""A frozen network from whose answers another one learns, too."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from boir_sdk.errors import ConfigError
from boir_train.losses.focal import probability
from boir_train.losses.soft import Lesson, mirrored_back


class Teacher:
    """Answers as a network of the `nano` family does."""

    def __init__(self, model: nn.Module, device: torch.device, *, mirror: bool = True) -> None:
        """Take a network in its training form, which stays as it is.

        Args:
            model: the network.
            device: where the pictures are.
            mirror: heatmaps are the mean of a picture's and the mirrored one's, which is better than either and takes
                twice the time.

        Raises:
            ConfigError: it has no bottom-up heatmaps to teach.
        """
        if model.settings.flip != "outputs":
            raise ConfigError(f"model.teacher: {model.settings.preset} mirrors features, not heatmaps; take a nano")
        self._model = model.to(device).eval().requires_grad_(False)
        self._flip_index = model.settings.skeleton.flip_index
        self._mirror = mirror

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Lesson:
        """Answer to normalised pictures [B, 3, I, I]; the coordinates are those of the picture as it is."""
        heatmaps, regress, offset = self._look(images)
        if self._mirror:
            mirrored, *_ = self._look(images.flip(-1))
            heatmaps = (heatmaps + mirrored_back(mirrored, self._flip_index)) / 2
        return Lesson(heatmaps, regress, offset)

    def _look(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = self._model.dense(images)
        heatmaps = probability(torch.cat([maps["keypoint_logits"], maps["center_logits"]], dim=1))
        return heatmaps, maps["regress"], maps["offset"]
